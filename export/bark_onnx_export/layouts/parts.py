"""The parts of a checkpoint: where it is, where its codec is, and its tokenizer and voices."""

import warnings
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from bark_onnx.errors import BarkWarning
from bark_onnx.hub.repository import Repository
from bark_onnx.hub.snapshot import Snapshot
from bark_onnx.model.place import look_up

from ..errors import CheckpointError
from ..sources.directory import LFS_POINTER, CheckpointDirectory, is_lfs_pointer
from ..sources.state_files import weight_files
from .choice import DESCRIPTIONS

TOKENIZERS = ("tokenizer.json", "vocab.txt")
VOICES = "speaker_embeddings"


def find_source(
    path_or_repo: str, revision: str | None = None, quiet: bool = False
) -> tuple[CheckpointDirectory, Snapshot | None]:
    """Find a checkpoint: a directory, or a repository on the hub.

    Returns:
        The directory and None; or the directory of a snapshot in the hub's cache, in which only the files of
        `DESCRIPTIONS` are downloaded, and the snapshot.

    Raises:
        CheckpointError: there is neither.
        HubError: the repository cannot be read.
    """
    path = Path(path_or_repo)
    if path.is_dir():
        if revision is not None:
            raise CheckpointError(f"{path_or_repo} is a directory, and --revision is for repositories on the hub")
        return CheckpointDirectory(path, path.resolve().name), None
    repository = None if path.exists() else Repository.parse(path_or_repo, revision)
    if repository is None:
        raise CheckpointError(f"{path_or_repo} is neither a directory nor a name on the hub such as suno/bark-small")
    snapshot = look_up(repository, progress=not quiet)
    return downloaded(snapshot, [name for name in DESCRIPTIONS if name in snapshot.names]), snapshot


def find_codec(codec: str | Path, quiet: bool = False) -> CheckpointDirectory | Path:
    """Find an EnCodec: Meta's file, or the directory of a Hugging Face EncodecModel. One on the hub is downloaded.

    Raises:
        CheckpointError: nothing is there, or files of it are missing.
    """
    path = Path(codec)
    if path.is_dir() or not path.exists():
        if not path.exists() and (isinstance(codec, Path) or Repository.parse(codec) is None):
            raise CheckpointError(
                f"there is no codec at {codec}: give EnCodec's .th file, a directory of Hugging Face's, "
                "or facebook/encodec_24khz to download it from the hub"
            )
        directory, snapshot = find_source(str(codec), quiet=quiet)
        names = directory.names if snapshot is None else snapshot.names
        files = weight_files(directory, names)
        return directory if snapshot is None else downloaded(snapshot, ["config.json", *files])
    if is_lfs_pointer(path):
        raise CheckpointError(f"{path} {LFS_POINTER}")
    return path


def downloaded(snapshot: Snapshot, names: Collection[str]) -> CheckpointDirectory:
    """Download files of a snapshot, and return its directory in the hub's cache. Raises HubError."""
    return CheckpointDirectory(snapshot.download(names), snapshot.label, snapshot.advice)


def asset_files(snapshot: Snapshot, assets: Collection[str]) -> list[str]:
    """Return the files to download besides the weights: one tokenizer, and all voices.

    Warns if the hub was not reached and the cache has only some of the voices.

    Args:
        assets: `tokenizer`, `voices`, or both.
    """
    files: list[str] = []
    if "tokenizer" in assets:
        files += [name for name in TOKENIZERS if name in snapshot.names][:1]
    if "voices" in assets:
        paths = [PurePosixPath(name) for name in snapshot.names if name.startswith(f"{VOICES}/")]
        files += sorted(str(path) for path in paths if path.suffix.lower() in (".npy", ".npz"))
        if snapshot.lacks(f"{VOICES}/*"):
            message = f"only some voices of {snapshot.repository.name} are in the cache: {snapshot.advice}"
            warnings.warn(message, BarkWarning, stacklevel=2)
    return files


def own_tokenizer(directory: CheckpointDirectory) -> Path | None:
    """Return the checkpoint's tokenizer.json, else its vocab.txt, else None. Warns of a file that cannot be read."""
    for name in TOKENIZERS:
        if directory.has(name):
            if not (problem := directory.problem(directory.path / name)):
                return directory.path / name
            warnings.warn(f"{name} of {directory.name} {problem}", BarkWarning, stacklevel=2)
    return None


def own_voices(directory: CheckpointDirectory) -> Path | None:
    """Return the checkpoint's directory of voices, or None. Warns of one that cannot be read."""
    path = directory.path / VOICES
    if not path.is_symlink() and not path.exists():
        return None
    if problem := directory.problem(path, Path.is_dir):
        warnings.warn(f"{VOICES} of {directory.name} {problem}", BarkWarning, stacklevel=2)
        return None
    return path
