"""A checkpoint's directory, and the rule for which of its files may be read.

A checkpoint can come from anyone, so a link is followed only to files of the same checkpoint. In the cache of the
Hugging Face hub every file is such a link: `snapshots/COMMIT/model.safetensors` leads to `blobs/HASH` of the same
repository. That file can again be a link, to the store that all repositories of a cache share.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bark_onnx.errors import reason

from ..errors import CheckpointError

_SHARED_STORE = ".huggingface-shared-blobs"  # huggingface_hub puts this file into a store that the whole cache shares
_LFS_BEGINNING = b"version https://git-lfs.github.com/spec/"
LFS_POINTER = "is a Git LFS pointer and not the file itself: run `git lfs pull` where it was cloned"


@dataclass(frozen=True)
class CheckpointDirectory:
    """A directory whose files are read by name.

    Attributes:
        path: the directory.
        name: its name in errors: the directory's own, or the name of the repository on the hub.
        advice: what an error tells the user to do if a file is missing.
    """

    path: Path
    name: str
    advice: str = "download it again"
    _roots: tuple[Path, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_roots", _roots(self.path))

    @property
    def names(self) -> frozenset[str]:
        """The files and links at the top of the directory, including those that cannot be read."""
        return frozenset(entry.name for entry in self.path.iterdir() if entry.is_symlink() or entry.is_file())

    def has(self, name: str) -> bool:
        """Whether the directory has a file or a link of this name, including a broken link."""
        return (self.path / name).is_symlink() or (self.path / name).is_file()

    def file(self, name: str) -> Path:
        """Return the path of a file that may be read.

        Raises:
            CheckpointError: the file is missing, is a Git LFS pointer, or is a link that is broken or leads out of the
                checkpoint.
        """
        path = self.path / name
        if not self.has(name):
            raise CheckpointError(f"{self.name} has no {name}: {self.advice}")
        if problem := self.problem(path):
            raise CheckpointError(f"{name} of {self.name} {problem}")
        return path

    def problem(self, path: Path, kind: Callable[[Path], bool] = Path.is_file) -> str | None:
        """Return why `path` cannot be read, as the end of a sentence that begins with its name; None if it can.

        Args:
            kind: `Path.is_file` or `Path.is_dir`: what `path` must be.
        """
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            if path.is_symlink():
                return f"is a link that leads nowhere ({path.readlink()}): {self.advice}"
            return f"cannot be read ({reason(error)})"
        if not any(real.is_relative_to(root) for root in self._roots):
            return f"leads out of the checkpoint, to {real}, and was not followed: put the file itself there"
        if not kind(real):
            return "is not a file" if kind is Path.is_file else "is not a directory"
        return LFS_POINTER if is_lfs_pointer(real) else None


def is_lfs_pointer(path: Path) -> bool:
    """Whether this is a Git LFS pointer: the small text that a clone without git-lfs has in place of a large file."""
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS_BEGINNING)) == _LFS_BEGINNING
    except OSError:  # a directory, or a file that cannot be read: the code that needs it raises the error
        return False


def _roots(directory: Path) -> tuple[Path, ...]:
    """Return the real directories that links in `directory` may lead to: itself, and for a hub's snapshot its blobs.

    The stores are not resolved. If `blobs` is itself a link, no real path is below it, so nothing in it is accepted:
    huggingface_hub makes no such link, and it could lead anywhere.
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
