"""Write a bundle whole or not at all: into a temporary directory, which gets the bundle's name at the end."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bark_onnx.errors import BarkError, reason
from bark_onnx.files import replacing_directory, restore_replaced
from bark_onnx.model.manifest import MANIFEST

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None}  # numpy raises an OSError without errno for a short write


@contextmanager
def new_directory(target: Path, *, force: bool) -> Iterator[Path]:
    """Yield a temporary directory. It becomes `target` at the end of the block, or is deleted if the block raises.

    It is in the nearest directory above the target that exists, and so on the same disk.

    Raises:
        BarkError: the target exists and `force` is false, the target is not a bundle, it cannot be written, or the disk
            is full.
    """
    refuse_to_overwrite(target, force=force)
    begun = False
    try:
        with replacing_directory(target) as temporary:
            begun = True
            yield temporary
    except OSError as error:
        if not begun:
            raise BarkError(f"cannot write {target}: {reason(error)}") from None
        if error.errno not in _NO_ROOM:
            raise
        raise BarkError(f"no room for {target} ({reason(error)}): free some space and export again") from None


def refuse_to_overwrite(target: Path, *, force: bool) -> None:
    """Raise BarkError if a bundle must not be written to `target`."""
    restore_replaced(target)
    if target.is_symlink() and not target.exists():
        raise BarkError(f"{target} is a link to nothing: choose another name")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not force:
        raise BarkError(f"{target} exists already: choose another name, or overwrite it with --force")
    if not (target / MANIFEST).is_file():
        raise BarkError(f"{target} is not a bundle: --force overwrites bundles only")
