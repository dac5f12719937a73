"""Writing files and directories whole or not at all.

A result is written under a temporary name beside its place and renamed at the end. The temporary is deleted when

- the writing raises: on the way out of the `with` statement;
- a signal ends the command (SIGTERM, SIGHUP): by `remove_unfinished`, which the signal handler calls;
- the process could not do it itself (SIGKILL, a crash): by the next write to the same place.

The last must not delete what another process is still writing. So every process holds a lock (`flock`) on each of its
temporaries. The kernel releases the lock when the process ends, in whatever way it ends, so a temporary that can be
locked has no writer any more. An age says less (a long text is written for hours), and so does a process id in the name
(ids are used again, and mean nothing on another machine or in another container). Where locks do not work, such as on
Windows and on some network file systems, leftovers stay.
"""

import atexit
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LONGEST = 40  # characters of the result's name in the temporary's: with 4 bytes each, they fit in a name of 255 bytes
_PARTIAL, _OLD = ".partial", ".old"  # suffixes of directories: a new one being written, and one being replaced

# What to do with this process's temporaries if it ends now: delete them, or give a replaced directory its name back.
# Process-wide, since a signal ends the process. The id tells a forked child that they are not its own.
_unfinished: dict[Path, Path | None] = {}
_owner = os.getpid()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: yield the path to write to, which takes the name `path` at the end.

    A link is followed: the file that it leads to is replaced. The permissions are those of the file that was there, or
    those of any new file. What is not a plain file, such as a device or a pipe, cannot be replaced: `path` itself is
    yielded then.

    Raises OSError.
    """
    target = plain_file(path)
    if target is None:
        yield path
        return
    with _temporary(target, target.suffix, directory=False) as (temporary, mode):
        yield temporary
        _set_mode(temporary, mode)
        temporary.replace(target)


def check_replaceable(path: Path) -> None:
    """Raise the OSError that `replacing` would raise: create its temporary file, and delete it."""
    target = plain_file(path)
    if target is not None:
        with _temporary(target, target.suffix, directory=False):
            pass


@contextmanager
def replacing_directory(target: Path) -> Iterator[Path]:
    """Write a directory whole or not at all: yield a directory to fill, which takes the name `target` at the end.

    It lies in the nearest directory above the target that exists, hence on the same disk. Permissions are as for
    `replacing`, for everything in it too.

    Raises OSError.
    """
    target = target.resolve()
    place = next(parent for parent in target.parents if parent.exists())
    with _temporary(place / target.name, _PARTIAL, directory=True, like=target) as (temporary, mode):
        yield temporary
        for path in temporary.rglob("*"):
            _set_mode(path, mode if path.is_dir() else mode & 0o666)
        _set_mode(temporary, mode)
        target.parent.mkdir(parents=True, exist_ok=True)
        _rename_directory(temporary, target)


def restore_replaced(target: Path) -> None:
    """Give a directory its name back, if a process was killed in the moment in which it replaced it."""
    _remove_leftovers(target.resolve(), _OLD, target.resolve())


@contextmanager
def temporary_directory(beside: Path) -> Iterator[Path]:
    """A directory for intermediate files, next to the path `beside`; deleted at the end. Raises OSError."""
    with _temporary(beside, _PARTIAL, directory=True) as (temporary, _):
        yield temporary


def plain_file(path: Path) -> Path | None:
    """The file that `path` leads to, whether or not it exists yet; None for anything else, such as a device or a pipe.

    An open file without a name is not a plain file either: `/dev/stdout` may lead to one.
    """
    real = Path(os.path.realpath(path))
    try:
        status = path.stat()
        plain = stat.S_ISREG(status.st_mode) and os.path.samestat(status, real.stat())
    except FileNotFoundError:
        plain = not path.exists()
    return real if plain else None


def remove_unfinished() -> None:
    """Delete the temporaries of this process, because it ends."""
    for path, name in list(_unfinished.items()) if os.getpid() == _owner else []:
        _remove(path, name)


atexit.register(remove_unfinished)  # Ctrl-C may come between creating a temporary and entering its `with` statement


def temporary_names(stem: str, suffix: str) -> str:
    """A regular expression for the names of temporaries of files with this stem, itself one, and this suffix."""
    return rf"\.{stem}-bark-onnx-[0-9a-f]{{16}}{re.escape(suffix)}"


def cache_directory() -> Path:
    """The directory of files that can be made again: BARK_ONNX_CACHE, or `bark-onnx` in the user's cache directory."""
    own, users = os.environ.get("BARK_ONNX_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(users) if users else Path.home() / ".cache") / "bark-onnx"


@contextmanager
def _temporary(target: Path, suffix: str, *, directory: bool, like: Path | None = None) -> Iterator[tuple[Path, int]]:
    """Create a temporary beside `target`: its path, and the permissions that it must have at the end.

    They are those of `like` (of the target, if it is not given) where that exists, and else what the kernel gives to
    new files. To ask for the umask means to change it for a moment, in which another thread may create a file.
    """
    _remove_leftovers(target, suffix)
    kept = _mode(like or target)
    path, lock = _create(target, suffix, directory=directory, private=kept is not None)
    try:
        mode = _mode(path) if kept is None else kept
        assert mode is not None
        _set_mode(path, mode | (0o700 if directory else 0o600))  # with some umasks not even its owner could write to it
        yield path, mode
    finally:
        _remove(path, None)
        if lock is not None:
            os.close(lock)


def _create(target: Path, suffix: str, *, directory: bool, private: bool) -> tuple[Path, int | None]:
    """Create a temporary and lock it: its path and the lock."""
    while True:
        path = target.with_name(f".{_stem(target, suffix)}-bark-onnx-{secrets.token_hex(8)}{suffix}")
        _unfinished[path] = None  # before it exists, since a signal may come at any time
        try:
            if directory:
                path.mkdir(0o700 if private else 0o777)
            else:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600 if private else 0o666))
        except OSError:  # after KeyboardInterrupt it may exist
            del _unfinished[path]
            raise
        lock = _lock(path, wait=True)
        if path.exists():
            return path, lock
        del _unfinished[path]  # taken for a leftover by another process, before it was locked
        if lock is not None:
            os.close(lock)


def _lock(path: Path, *, wait: bool) -> int | None:
    """Lock a temporary until the returned handle is closed; None if its writer has locked it, or locks do not work."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _remove_leftovers(target: Path, suffix: str, name: Path | None = None) -> None:
    """Delete the temporaries of a target whose writers are gone; or rename one to `name`, if that does not exist."""
    pattern = re.compile(temporary_names(re.escape(_stem(target, suffix)), suffix))
    try:
        with os.scandir(target.parent) as entries:
            found = [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
    except OSError:
        return  # a directory that can be written to, but not listed
    for path in found:
        lock = _lock(path, wait=False)
        if lock is not None:
            _remove(path, name)
            os.close(lock)


def _remove(path: Path, name: Path | None) -> None:
    """Delete a temporary if it is still there; or rename it to `name`, if that does not exist."""
    with suppress(OSError):
        if name is not None and not name.exists():
            path.rename(name)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    _unfinished.pop(path, None)


def _rename_directory(source: Path, target: Path) -> None:
    """Give `source` the name `target`; what had the name is deleted after that."""
    if not target.exists():
        source.rename(target)
        return
    old = source.with_suffix(_OLD)
    lock = _lock(target, wait=True)
    _unfinished[old] = target
    try:
        target.rename(old)
        source.rename(target)
    finally:
        _remove(old, target)
        if lock is not None:
            os.close(lock)


def _stem(target: Path, suffix: str) -> str:
    """What the names of a target's temporaries begin with: its own name, without the suffix that follows anyway."""
    name = target.name.removesuffix(suffix)
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _mode(path: Path) -> int | None:
    """The permissions of what is at a path; None if there is nothing."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _set_mode(path: Path, mode: int) -> None:
    """Change the permissions, if they are others: not every file system can."""
    if _mode(path) != mode:
        path.chmod(mode)
