"""A bundle: one directory that holds everything needed to speak, checked against its manifest.

    manifest.json                                    see manifest.py
    semantic.onnx coarse.onnx fine.onnx codec.onnx   (large weights are in NAME.onnx.data beside the graph)
    semantic.step.onnx coarse.step.onnx              `mixed` only: the graphs of decode steps
    semantic.quantize_cache.onnx coarse.quantize_cache.onnx
                                                     int8, int4, mixed: from a prefill's KV cache to a decode step's
    semantic.sampler.onnx ...                        bundles for GPUs only: the graphs that sample tokens (SAMPLERS)
    tokenizer.json
    voices/v2/en_speaker_6.npz ...

To open a bundle is to compare every file with the manifest; one error names all files that are missing or changed. A
bundle on the Hugging Face hub is downloaded first.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import BundleError, reason
from ..hub.repository import Repository
from .manifest import MANIFEST, MAX_MANIFEST_BYTES, TOKENIZER, VOICES, FileEntry, Manifest, graph_file
from .place import bundle_directory, look_up, named_repository, no_bundle


@dataclass(frozen=True, repr=False)
class Bundle:
    """A directory and its manifest, checked against each other.

    Args:
        repository: where the bundle is on the hub, at this commit; None for one that is only a directory.
    """

    directory: Path
    manifest: Manifest
    repository: Repository | None = None

    def __repr__(self) -> str:
        return f"<Bundle {self.manifest.model}, {self.manifest.precision}, in {self.repository or self.directory.name}>"

    @classmethod
    def open(cls, bundle: str | Path | None = None, *, progress: bool = False) -> "Bundle":
        """Read the manifest, and check the size and the hash of every file that it lists.

        Args:
            bundle: a directory that `bark-onnx export` wrote; `~` in it is the home directory. Or a bundle on the
                Hugging Face hub, `org/name` or `org/name@revision`: the files that its manifest lists are downloaded,
                unless the hub's cache has them. A directory of that name goes before the hub. None, or the name `nano`
                where no directory has it, is the embedded bundle.
            progress: show a download on standard error, if that is a terminal.

        Raises:
            BundleError: the bundle is incomplete or changed.
            HubError: the hub cannot be read.
        """
        directory = bundle_directory(bundle)
        repository = named_repository(directory)
        if repository is not None:
            return cls._on_hub(repository, progress)
        opened = cls(directory, _read_manifest(directory, directory))
        if problems := opened.problems():
            raise BundleError(f"{directory} is damaged: {problems}; copy the bundle again or export it again")
        return opened

    @classmethod
    def _on_hub(cls, repository: Repository, progress: bool) -> "Bundle":
        """Download a bundle into the hub's cache, or find it there."""
        snapshot = look_up(repository, progress)
        if MANIFEST not in snapshot.files:
            export = f"if it is a checkpoint of Bark, export it first: `bark-onnx export {repository} DIR`"
            advice = snapshot.advice if snapshot.cached else export
            raise BundleError(f"{snapshot.label} is not a bundle (no {MANIFEST}); {advice}")
        if (snapshot.files[MANIFEST].bytes or 0) > MAX_MANIFEST_BYTES:
            raise BundleError(f"{MANIFEST} of {repository} is over {MAX_MANIFEST_BYTES >> 20} MiB: not a manifest")
        directory = snapshot.download([MANIFEST])
        manifest = _read_manifest(directory, snapshot.label)
        snapshot.check({name: (entry.bytes, entry.sha256) for name, entry in manifest.files.items()})
        snapshot.download([MANIFEST, *manifest.files])
        opened = cls(directory, manifest, Repository(repository.name, snapshot.commit))
        if problems := opened.problems():
            cache = directory.parents[1]  # models--ORG--NAME, with all its snapshots and the files that they share
            raise BundleError(f"{repository} is damaged in the cache: {problems}; delete {cache} and download it again")
        return opened

    def problems(self) -> str:
        """Compare every file with the manifest's size and hash. Return all that differ as a list in words."""
        with ThreadPoolExecutor() as pool:
            found = pool.map(self._problem_with, self.manifest.files.items())
        return "; ".join(problem for problem in found if problem)

    def _problem_with(self, item: tuple[str, FileEntry]) -> str | None:
        name, entry = item
        path = self.directory / name
        try:
            if path.stat().st_size != entry.bytes:
                return f"{name} has {path.stat().st_size} bytes instead of {entry.bytes}"
            if hash_file(path) != entry.sha256:
                return f"{name} has another hash than the manifest says"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({reason(error)})"
        return None

    def graph(self, stage: str, part: str | None = None) -> Path:
        """The path of a graph; see `graph_file`."""
        return self.directory / graph_file(stage, part)

    @property
    def tokenizer(self) -> Path:
        return self.directory / TOKENIZER

    @property
    def voices(self) -> dict[str, Path]:
        """Voice names, such as `v2/en_speaker_6`, to their files."""
        names = (PurePosixPath(name) for name in self.manifest.files)
        return {
            name.relative_to(VOICES).with_suffix("").as_posix(): self.directory / name
            for name in sorted(names)
            if name.is_relative_to(VOICES)
        }


def _read_manifest(directory: Path, label: Path | str) -> Manifest:
    """Read a bundle's manifest. Raises BundleError, which gives the bundle the name `label` if the text is wrong."""
    path = directory / MANIFEST
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for its writer
            raise BundleError(f"{path} is not a plain file")
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{path} is over {MAX_MANIFEST_BYTES >> 20} MiB: not a manifest")
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise no_bundle(directory, MANIFEST) from None
    except (OSError, ValueError) as error:  # ValueError: no text in UTF-8, or a path with a null character
        raise BundleError(f"{path} cannot be read: {reason(error)}") from None
    try:
        return Manifest.from_json(text)
    except BundleError as error:
        raise BundleError(f"{label}: {error}") from None


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(directory: Path) -> dict[str, FileEntry]:
    """Every file below `directory`, as a manifest lists them."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(directory).as_posix(): FileEntry(path.stat().st_size, hash_file(path)) for path in paths}
