"""Writing a bundle: into a temporary directory that takes the bundle's name when everything in it is complete."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bark_onnx.bundle import MANIFEST
from bark_onnx.errors import BarkError
from bark_onnx.files import umask


@contextmanager
def new_directory(target: Path, *, force: bool) -> Iterator[Path]:
    """A temporary directory beside `target` that becomes it when the block ends well, and is gone when it does not.

    Raises BarkError if the target exists and `force` is not given, or if it is anything but a bundle.
    """
    refuse_to_overwrite(target, force=force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise BarkError(f"cannot write to {target.parent}: {error.strerror}") from None
    try:
        yield temporary
        _make_readable(temporary)
        _replace(temporary, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise BarkError(f"no room for {target} ({error.strerror}): free some space and export again") from None
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make_readable(directory: Path) -> None:
    """Give everything the permissions that new files and directories have; temporary ones are private."""
    mask = umask()
    directory.chmod(0o777 & ~mask)
    for path in directory.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def refuse_to_overwrite(target: Path, *, force: bool) -> None:
    """Raise BarkError if a bundle must not take this name."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not force:
        raise BarkError(f"{target} exists already: choose another name, or overwrite it with --force")
    if not (target / MANIFEST).is_file():
        raise BarkError(f"{target} is not a bundle: --force overwrites bundles only")


def _replace(source: Path, target: Path) -> None:
    """Give `source` the name `target`; what had it before goes away only after that."""
    if not target.exists():
        source.rename(target)
        return
    old = source.with_suffix(".old")
    target.rename(old)
    try:
        source.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)
