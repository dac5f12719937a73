"""Writing a bundle: into a temporary directory that takes the bundle's name when everything in it is complete."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bark_onnx.errors import BarkError, reason
from bark_onnx.files import replacing_directory, restore_replaced
from bark_onnx.model.bundle import MANIFEST

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None}  # None: numpy's, for a file that it could not write whole


@contextmanager
def new_directory(target: Path, *, force: bool) -> Iterator[Path]:
    """Yield a temporary directory that becomes `target` when the block ends well, and is deleted when it does not.

    It lies in the nearest directory above the target that exists, hence on the same disk.

    Raises BarkError if the target exists and `force` is not given, if it is not a bundle, or if the disk is full.
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
    """Raise BarkError if a bundle must not take this name."""
    restore_replaced(target)
    if target.is_symlink() and not target.exists():
        raise BarkError(f"{target} is a link to nothing: choose another name")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not force:
        raise BarkError(f"{target} exists already: choose another name, or overwrite it with --force")
    if not (target / MANIFEST).is_file():
        raise BarkError(f"{target} is not a bundle: --force overwrites bundles only")
