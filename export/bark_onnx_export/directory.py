"""A checkpoint's directory, and which of its files may be read.

A checkpoint comes from strangers, so a link is followed only to files of the same checkpoint. In the cache of the
Hugging Face hub every file is such a link: `snapshots/COMMIT/model.safetensors` leads to `blobs/HASH` of the same
repository, and that can be a link to the store that the repositories of a cache share.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bark_onnx.errors import reason

from .weights import CheckpointError

_SHARED_STORE = ".huggingface-shared-blobs"  # the file by which huggingface_hub marks `blobs` of the whole cache
_LFS_BEGINNING = b"version https://git-lfs.github.com/spec/"
LFS_POINTER = "is a Git LFS pointer and not the file itself: run `git lfs pull` where it was cloned"


@dataclass(frozen=True)
class CheckpointDirectory:
    """A directory whose files are read by name.

    Attributes:
        path: where it is.
        name: what an error calls it: the directory's name, or the repository's on the hub.
        advice: what to do when a file is not there.
    """

    path: Path
    name: str
    advice: str = "download it again"
    _roots: tuple[Path, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_roots", _roots(self.path))

    @property
    def names(self) -> frozenset[str]:
        """The files and links at the top, whether they can be read or not."""
        return frozenset(entry.name for entry in self.path.iterdir() if entry.is_symlink() or entry.is_file())

    def has(self, name: str) -> bool:
        """Whether there is a file, or a link by its name, good or broken."""
        return (self.path / name).is_symlink() or (self.path / name).is_file()

    def file(self, name: str) -> Path:
        """The path of a file that may be read.

        Raises:
            CheckpointError: it is missing, a Git LFS pointer, or a link that is broken or leads out of the checkpoint.
        """
        path = self.path / name
        if not self.has(name):
            raise CheckpointError(f"{self.name} has no {name}: {self.advice}")
        if problem := self.problem(path):
            raise CheckpointError(f"{name} of {self.name} {problem}")
        return path

    def problem(self, path: Path, kind: Callable[[Path], bool] = Path.is_file) -> str | None:
        """Why the file (or what else `kind` accepts) at `path` cannot be read, as the end of a sentence; or None."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop, before Python 3.13
            if path.is_symlink():
                return f"is a link that leads nowhere ({path.readlink()}): {self.advice}"
            return f"cannot be read ({reason(error)})"
        if not any(real.is_relative_to(root) for root in self._roots):
            return f"leads out of the checkpoint, to {real}, and was not followed: put the file itself there"
        if not kind(real):
            return "is not a file" if kind is Path.is_file else "is not a directory"
        return LFS_POINTER if is_lfs_pointer(real) else None


def is_lfs_pointer(path: Path) -> bool:
    """Whether this is the small text that Git has in the place of a file in LFS, and leaves there without git-lfs."""
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS_BEGINNING)) == _LFS_BEGINNING
    except OSError:  # a directory, or not to be read: whoever reads it says so
        return False


def _roots(directory: Path) -> tuple[Path, ...]:
    """The real directories that a link in `directory` may lead to: itself, and its blobs if it is a hub's snapshot.

    The stores are not resolved: no real path lies below a `blobs` that is itself a link. huggingface_hub makes no such
    link, and it could lead anywhere.
    """
    real = directory.resolve()
    snapshot = next((path for path in (real, *real.parents) if path.parent.name == "snapshots"), None)
    if snapshot is None:
        return (real,)
    repository = snapshot.parent.parent
    stores = [repository / "blobs"]
    if (repository.parent / "blobs" / _SHARED_STORE).is_file():
        stores.append(repository.parent / "blobs")
    return (real, *stores)
