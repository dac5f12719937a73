"""Voice presets: the tokens of an utterance, which the stages take as their history in order to speak in its voice.

The file format is suno-ai/bark's `.npz` with three integer arrays: semantic_prompt [S], coarse_prompt [2, T] and
fine_prompt [8, T]. Suno's repository on the hub has three `.npy` files instead: NAME_semantic_prompt.npy and so on.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from ..arrays import IntArray
from ..errors import VoiceError, reason, warn
from ..files import replacing
from .archive import read_arrays
from .vocabulary import Vocabulary

_ARRAYS = {"semantic": "semantic_prompt", "coarse": "coarse_prompt", "fine": "fine_prompt"}
_MAX_TOKENS = 1 << 20  # in one array: about half an hour of fine codes. The stages read only the last seconds


@dataclass(frozen=True, eq=False, repr=False)
class VoicePreset:
    """The tokens of one utterance.

    Args:
        semantic: [S] semantic tokens.
        coarse: [2, T] coarse codes.
        fine: [8, T] fine codes, the coarse ones first.

    Raises VoiceError if an array has another shape, or holds anything but integers of at least 0.
    """

    semantic: IntArray
    coarse: IntArray
    fine: IntArray

    def __post_init__(self) -> None:
        problems = []
        for name, dimensions in (("semantic", 1), ("coarse", 2), ("fine", 2)):
            try:
                array = np.asarray(getattr(self, name))
            except Exception:  # a tensor's library has errors of its own
                problems.append(f"{name} is not an array")
                continue
            if array.dtype.kind not in "iu":
                problems.append(f"{name} holds {array.dtype}, not integers")
            elif array.ndim != dimensions or not 0 < array.size <= _MAX_TOKENS:
                problems.append(
                    f"{name} has shape {array.shape}, expected {'[S]' if dimensions == 1 else '[codebooks, T]'}"
                )
            elif array.min() < 0 or array.max() >= 1 << 63:
                problems.append(f"{name} holds negative or huge tokens")
            else:
                array = array.astype(np.int64)
                array.flags.writeable = False
                object.__setattr__(self, name, array)
        if problems:
            raise VoiceError("not a voice preset: " + "; ".join(problems))

    def __repr__(self) -> str:
        return f"<VoicePreset of {len(self.semantic)} semantic tokens, {self.fine.shape[1]} frames>"

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "VoicePreset":
        """Read a voice from its file or its files. Nothing in them is executed.

        Args:
            path: a file in the format of `.npz`, with or without that suffix; or the beginning of the names of three
                `.npy` files, which `_semantic_prompt.npy`, `_coarse_prompt.npy` and `_fine_prompt.npy` follow. `~` is
                the home directory.

        Raises VoiceError that names the file.
        """
        path = _path(path)
        found = path if os.path.isfile(path) else _files(path)  # noqa: PTH113  as below
        if found is None:
            raise VoiceError(f"{path}: no such voice file")
        return cls._load_file(found) if isinstance(found, Path) else cls.load_parts(found)

    @classmethod
    def _load_file(cls, path: Path) -> "VoicePreset":
        if path.exists() and not path.is_file():  # to open a pipe would wait for its writer
            raise VoiceError(f"{path}: not a plain file")
        try:
            with path.open("rb") as file:
                return cls.read(file)
        except FileNotFoundError:
            raise VoiceError(f"{path}: no such voice file") from None
        except VoiceError as error:
            raise VoiceError(f"{path}: {error}") from None
        except (OSError, ValueError) as error:  # ValueError: a path with a null character
            raise VoiceError(f"{path} cannot be read as a voice preset: {reason(error)}") from None

    @classmethod
    def read(cls, file: BinaryIO, most_tokens: int = _MAX_TOKENS) -> "VoicePreset":
        """Read a voice from an open file in the format of `.npz`, which may be hostile.

        Args:
            most_tokens: in one array. A longer one is refused before memory is taken for it.

        Raises VoiceError.
        """
        return cls.from_prompt(read_arrays(file, _ARRAYS.values(), most_tokens))

    @classmethod
    def load_parts(cls, files: Mapping[str, Path]) -> "VoicePreset":
        """Read a voice from three `.npy` files: of `semantic`, `coarse` and `fine`. Raises VoiceError."""
        arrays = {}
        for part, path in files.items():
            try:  # mapped into memory, so that a header of a huge array costs nothing
                arrays[part] = np.load(path, mmap_mode="r", allow_pickle=False)
            except Exception as error:  # a hostile file can raise anything
                raise VoiceError(f"{path.name} cannot be read ({reason(error)})") from None
        return cls(**arrays)

    @classmethod
    def from_prompt(cls, prompt: Mapping[str, Any]) -> "VoicePreset":
        """Make one from suno-ai/bark's dictionary of `semantic_prompt`, `coarse_prompt` and `fine_prompt`.

        Other keys are ignored. Raises VoiceError.
        """
        if not isinstance(prompt, Mapping):
            raise VoiceError(f"a voice's prompt is a dictionary of arrays, not {type(prompt).__name__}")
        missing = [key for key in _ARRAYS.values() if key not in prompt]
        if missing:
            raise VoiceError(f"not a voice preset: {', '.join(missing)} missing")
        return cls(**{name: prompt[key] for name, key in _ARRAYS.items()})

    def to_prompt(self) -> dict[str, IntArray]:
        """Return suno-ai/bark's dictionary of the three arrays."""
        return {key: getattr(self, name) for name, key in _ARRAYS.items()}

    def save(self, path: str | PathLike[str]) -> None:
        """Write an `.npz` file, which suno-ai/bark and transformers read too. It is written whole or not at all.

        Raises VoiceError for another suffix, or if the file cannot be written.
        """
        path = _path(path)
        if path.suffix.lower() != ".npz":
            raise VoiceError(f"{path}: the name of a voice preset must end in .npz")
        arrays: dict[str, Any] = {**self.to_prompt()}
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **arrays)
        except OSError as error:
            raise VoiceError(f"cannot write {path}: {reason(error)}") from None

    def check(self, vocabulary: Vocabulary) -> None:
        """Raise VoiceError if the tokens do not fit a model's vocabulary."""
        problems = []
        if self.semantic.max() >= vocabulary.semantic_size:
            problems.append(f"semantic token {self.semantic.max()} of {vocabulary.semantic_size}")
        for name, array, rows in (
            ("coarse", self.coarse, vocabulary.coarse_codebooks),
            ("fine", self.fine, vocabulary.fine_codebooks),
        ):
            if array.shape[0] != rows:
                problems.append(f"{array.shape[0]} {name} codebooks instead of {rows}")
            if array.max() >= vocabulary.codebook_size:
                problems.append(f"{name} code {array.max()} of {vocabulary.codebook_size}")
        if problems:
            raise VoiceError("the voice does not fit this model: " + "; ".join(problems))

    def warn_if_uneven(self, vocabulary: Vocabulary) -> None:
        """Warn if the lengths of the arrays do not fit together.

        The reference refuses such a voice. It works here, since the voices that people make by cloning are often such.
        """
        frames = vocabulary.coarse_per_semantic / vocabulary.coarse_codebooks
        found = self.coarse.shape[1] / len(self.semantic)
        rounding = 1.5 / len(self.semantic)  # the number of frames is whole, which matters in a short utterance
        if round(found, 1) != round(frames, 1) and abs(found - frames) > rounding:
            warn(
                f"the voice has {found:.2f} coarse frames for a semantic token instead of {frames:.2f}: "
                "what it says may lose its timing"
            )


def _path(path: object) -> Path:
    if isinstance(path, (str, PathLike)):
        return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises if there is no such user
    raise VoiceError(f"the path of a voice must be a string or a Path, not {type(path).__name__}")


def _files(path: Path) -> Path | dict[str, Path] | None:
    """The `.npz` file, or the three `.npy` files by part, that a caller's path leads to; None if there are none."""
    if path.suffix.lower() == ".npz":
        return path
    single = Path(f"{path}.npz")
    if os.path.isfile(single):  # noqa: PTH113  Path.is_file raises for a name that is too long
        return single
    parts = {part: Path(f"{path}_{array}.npy") for part, array in _ARRAYS.items()}
    return parts if any(map(os.path.isfile, parts.values())) else None


Voice: TypeAlias = VoicePreset | str | PathLike[str] | Mapping[str, Any]
"""A voice that a caller gives: a preset, a name in the bundle, a path (`VoicePreset.load`), or the dictionary of
suno-ai/bark (`VoicePreset.from_prompt`)."""


def open_voice(voice: Voice, voices: Mapping[str, Path]) -> VoicePreset:
    """Return the preset that a caller's voice means.

    Args:
        voices: the files of the bundle's voices by name.

    Raises VoiceError if it cannot be found or read, or is not a voice.
    """
    if isinstance(voice, VoicePreset):
        return voice
    if isinstance(voice, (str, PathLike)):
        return VoicePreset.load(find_voice(voice, voices))
    if isinstance(voice, Mapping):
        return VoicePreset.from_prompt(voice)
    raise VoiceError(
        f"a voice is a name, a path, a VoicePreset or a dictionary of its arrays, not {type(voice).__name__}"
    )


def checked_voice(voice: Voice, voices: Mapping[str, Path], vocabulary: Vocabulary) -> VoicePreset:
    """As `open_voice`, checked against a model. Raises VoiceError."""
    preset = open_voice(voice, voices)
    preset.check(vocabulary)
    return preset


def succession(voice: VoicePreset, before: VoicePreset, vocabulary: Vocabulary) -> VoicePreset:
    """Join the end of a voice and the end of the utterance before, as a history for the next utterance.

    The stages read about as much of one as of the other. If `before` is short, they read more of the voice.
    """
    ratio = vocabulary.coarse_per_semantic / vocabulary.coarse_codebooks
    tokens = min(len(before.semantic), vocabulary.max_semantic_history(vocabulary.max_coarse_history) // 2)
    frames = round(tokens * ratio)
    return VoicePreset(
        np.concatenate([voice.semantic, before.semantic[len(before.semantic) - tokens :]]),
        np.concatenate([voice.coarse, before.coarse[:, -frames:]], axis=1),
        np.concatenate([voice.fine, before.fine[:, -frames:]], axis=1),
    )


def find_voice(name: str | PathLike[str], voices: Mapping[str, Path]) -> Path:
    """Return what `VoicePreset.load` reads, given a voice's name in the bundle or its path.

    Raises VoiceError that suggests similar names.
    """
    name = fspath(name)
    if name in voices:
        return voices[name]
    path = _path(name)
    if (found := _files(path)) is not None:
        return found if isinstance(found, Path) else path
    if path.suffix.lower() == ".npy":
        raise VoiceError(f"no voice {name!r}: of three .npy files, give what their names begin with, as in DIR/NAME")
    near = difflib.get_close_matches(name, voices, n=3, cutoff=0.5)
    if near:
        advice = f"did you mean {' or '.join(near)}?"
    elif voices:
        names = f"{', '.join(list(voices)[:3])}{' ...' if len(voices) > 3 else ''}"
        advice = f"the bundle has {len(voices)}: {names}; there is no voice file of this name either"
    else:
        advice = "the bundle has no voices; give the path of an .npz file"
    raise VoiceError(f"no voice {name!r}: {advice}")
