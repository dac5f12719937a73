"""Writing a bundle: into a temporary directory that takes the bundle's name when everything in it is complete."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bark_onnx.errors import BarkError, reason
from bark_onnx.files import umask
from bark_onnx.model.bundle import MANIFEST

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None}  # None: numpy's, for a file that it could not write whole


@contextmanager
def new_directory(target: Path, *, force: bool) -> Iterator[Path]:
    """A temporary directory that becomes `target` when the block ends well, and is gone when it does not.

    It lies in the nearest directory above the target that exists, hence on the same disk.

    Raises BarkError if the target exists and `force` is not given, if it is no bundle, or if the disk is full.
    """
    refuse_to_overwrite(target, force=force)
    target = target.resolve()
    place = next(parent for parent in target.parents if parent.exists())
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=".partial", dir=place))
    except OSError as error:
        raise BarkError(f"cannot write to {place}: {reason(error)}") from None
    try:
        yield temporary
        _make_readable(temporary)
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(temporary, target)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise BarkError(f"no room for {target} ({reason(error)}): free some space and export again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_to_overwrite(target: Path, *, force: bool) -> None:
    """Raise BarkError if a bundle must not take this name."""
    if target.is_symlink() and not target.exists():
        raise BarkError(f"{target} is a link to nothing: choose another name")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not force:
        raise BarkError(f"{target} exists already: choose another name, or overwrite it with --force")
    if not (target / MANIFEST).is_file():
        raise BarkError(f"{target} is not a bundle: --force overwrites bundles only")


def _make_readable(directory: Path) -> None:
    """Give everything the permissions that new files and directories have; temporary ones are private."""
    mask = umask()
    directory.chmod(0o777 & ~mask)
    for path in directory.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def _replace(source: Path, target: Path) -> None:
    """Give `source` the name `target`; what had it before goes away only after that."""
    if not target.exists():
        source.rename(target)
        return
    old = source.with_suffix(".old")
    target.rename(old)
    try:
        source.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old)
