"""Read voice presets from a directory: `.npz` files of suno-ai/bark, or the hub's triples of `.npy` files."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bark_onnx.errors import VoiceError, reason
from bark_onnx.model.manifest import is_plain
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.model.voice import VoicePreset

from ..errors import listing
from ..sources.directory import CheckpointDirectory

_PARTS = ("semantic", "coarse", "fine")
_PART = re.compile(r"(.+)_(semantic|coarse|fine)_prompt")

Triple = dict[str, Path]  # the file of each part of a voice


@dataclass
class FoundVoices:
    """The voices of a directory, and what was left out.

    Attributes:
        presets: the voices by name (the relative path without its suffix), sorted.
        left_out: the files and voices that cannot be used, by reason. The reason is the end of a sentence.
    """

    presets: dict[str, VoicePreset] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def problems(self) -> list[str]:
        """Return a sentence for each reason."""
        return [
            f"{listing(names)} {reason}"
            if len(names) == 1
            else f"{len(names)} are left out ({listing(names)}), each {reason}"
            for reason, names in self.left_out.items()
        ]


def read_voices(directory: Path, vocabulary: Vocabulary, *, within: Path | None = None) -> FoundVoices:
    """Read every voice below `directory` that fits the model.

    Args:
        within: the checkpoint to which the directory belongs. Links are followed only inside of it, and into its blobs
            in the hub's cache. None: inside of the directory itself.
    """
    found = FoundVoices()
    checkpoint = CheckpointDirectory(within or directory, directory.name)
    spellings: dict[str, str] = {}
    for name, files in sorted(_voices(directory, checkpoint, found).items()):
        file = f"{name}.npz" if isinstance(files, Path) else name
        if problem := _clash(name, spellings):
            found.left_out[problem].append(file)
            continue
        try:
            voice = VoicePreset.load(files) if isinstance(files, Path) else VoicePreset.load_parts(files)
            voice.check(vocabulary)
        except VoiceError as error:
            problem = str(error).removeprefix(str(files)).lstrip(": ")
            problem = problem if problem.startswith("cannot be ") else f"cannot be used: {problem}"
            found.left_out[problem].append(file)
        else:
            found.presets[name] = voice
    return found


def _clash(name: str, spellings: dict[str, str]) -> str | None:
    """Return why a voice cannot be beside those before it, on a disk that ignores upper and lower case; or None.

    Args:
        spellings: the names of the voices before it and their directories, by the same in lower case. Those of this
            voice are added.
    """
    path = PurePosixPath(name)
    for part in (path, *path.parents[:-1]):
        suffix = ".npz" if part is path else "/"  # a voice and a directory are different things
        other = spellings.setdefault(str(part).casefold() + suffix, str(part))
        if other != str(part):
            return f"has {part} in its name, and another voice has {other}: some disks mix these up, so rename one"
    return None


def _voices(directory: Path, checkpoint: CheckpointDirectory, found: FoundVoices) -> dict[str, Path | Triple]:
    """Return every `.npz` file and every complete triple by the voice's name. Other files are noted as left out."""
    voices: dict[str, Path | Triple] = {}
    triples: dict[str, Triple] = defaultdict(dict)
    incomplete = set()  # names of triples of which a file was left out: they need no second message
    for path in _files(directory, found):
        relative = path.relative_to(directory)
        name = relative.with_suffix("").as_posix()
        single = path.suffix.lower() == ".npz"
        part = None if single else _PART.fullmatch(name)
        problem = checkpoint.problem(path)
        if problem is None and not is_plain(name):
            problem = "cannot go into a bundle: rename it, so that its name is plain"
        elif problem is None and not single and part is None:
            problem = "is not named as a part of a voice (NAME_semantic_prompt.npy, ...)"
        elif problem is None and (name in voices or (part and part[2] in triples[part[1]])):
            problem = "is there twice, with its suffix in upper and lower case"
        if problem is not None:
            found.left_out[problem].append(relative.as_posix())
            incomplete.update([part[1]] if part else [])
        elif part is None:
            voices[name] = path
        else:
            triples[part[1]][part[2]] = path
    for name, triple in triples.items():
        missing = [part for part in _PARTS if part not in triple]
        if name in voices:
            found.left_out["is there as .npz already"].append(f"{name}_*_prompt.npy")
        elif not missing:
            voices[name] = triple
        elif name not in incomplete:
            lacks = f"lacks its {' and its '.join(missing)} part (NAME_{missing[0]}_prompt.npy)"
            found.left_out[lacks].append(name)
    return voices


def _files(directory: Path, found: FoundVoices) -> list[Path]:
    """Return every `.npy`, `.npz` and broken link below a directory, sorted. Links to directories are left out."""

    def refuse(error: OSError) -> None:
        found.left_out[f"cannot be read ({reason(error)})"].append(os.path.relpath(error.filename, directory))

    files = []
    for place, directories, names in os.walk(directory, onerror=refuse):
        for link in (Path(place) / name for name in directories):
            if link.is_symlink():
                found.left_out["is a link to a directory, and was not followed"].append(
                    link.relative_to(directory).as_posix()
                )
        for path in (Path(place) / name for name in names):
            if path.suffix.lower() in (".npy", ".npz") or (path.is_symlink() and not path.exists()):
                files.append(path)
    return sorted(files)
