"""The ledger of a batch job: which rows have ended, and who speaks which row now. Several processes share it.

    OUT/
      results.jsonl         one line for each row that has ended (`Result`)
      ID.wav ...            the audio
      .bark-onnx/
        job.json            what decides the results (`job.py`)
        locks               empty; byte 0 is locked by who changes the files, and byte LINE by who speaks the row there
        LINE.wav ...        audio that is being written

The locks are those of POSIX (`fcntl`): the kernel frees them when a process ends, however it ends. They belong to a
process, so one process may run a job only once at a time.

Order of a row's end: the audio is written under another name and flushed to the disk (fsync), it gets its name, the
directory is flushed, the result is appended and flushed, and the row's lock is freed. So audio with its final name is
complete, and a row with a result has its audio, also after a power failure. A line of the results that was cut off is
removed before the next one is appended. Audio without a result is made again, with the same bytes.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from ..audio.files import write_all
from ..errors import BarkError, reason
from ..files import replacing
from .result import Result

RESULTS = "results.jsonl"
INSIDE = ".bark-onnx"  # no id begins with a dot
_LOCKS = "locks"
_NO_LINK, _NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BLOCK = 1 << 12  # bytes that are read at a time, from the end, to find the end of a line
_OPEN, _DONE, _FAILED = 0, 1, 2
MOST_LINES = 100_000_000  # of an input: there is a byte for each in memory


class Ledger:
    """The state of a job on the disk. Use it in a `with` statement: what it has claimed is free afterwards.

    Args:
        directory: of the job; it is created.
        last_line: of the input. A result of a later line is an error.

    Raises BarkError, here and in its methods, if the directory cannot be written, or if its file system has no locks.
    """

    def __init__(self, directory: Path, last_line: int = MOST_LINES) -> None:
        self.directory = directory
        self.inside = directory / INSIDE
        self.results = directory / RESULTS
        self.elsewhere: set[int] = set()  # lines that other processes had claimed, and that have no result yet
        self._last_line = last_line
        self._states = bytearray()  # by line
        self._counts = [0, 0, 0]  # of lines by state: counting a million lines for each row takes too long
        self._inode, self._position = 0, 0  # of the results file that was read, and how far
        with self._changing(self.inside):
            names = [path.name for path in directory.iterdir()] if directory.exists() else []
            if names and INSIDE not in names:  # one look, since the same job may begin in another process now
                raise BarkError(f"{directory} has files of something else: give a directory that is empty or new")
            self.inside.mkdir(parents=True, exist_ok=True)
            self._locks = os.open(self.inside / _LOCKS, os.O_CREAT | os.O_RDWR | _NO_LINK, 0o666)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._locks)  # frees all locks

    # which rows have ended

    @property
    def ended(self) -> int:
        """How many rows have a result, as far as it was read."""
        return self._counts[_DONE] + self._counts[_FAILED]

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return self._counts[_FAILED]

    def refresh(self) -> None:
        """Read the results that were added by any process. Raises BarkError for a line that is not a result."""
        try:
            with open_results(self.results) as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._position:  # failed rows were taken out
                    self._inode, self._position = status.st_ino, 0
                    self._states, self._counts = bytearray(len(self._states)), [0, 0, 0]
                file.seek(self._position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # another process is writing it, or was killed then
                    self._note(line)
                    self._position += len(line)
        except FileNotFoundError:
            return
        except OSError as error:
            raise BarkError(f"{self.results} cannot be read: {reason(error)}") from None

    def _note(self, line: bytes) -> None:
        try:
            result = Result.from_json(line)
            if result.line > self._last_line:
                raise ValueError("of another input")
        except ValueError:
            said = line[:40].decode(errors="replace")
            raise BarkError(
                f"{self.results} has a line that is not a result of this job ({said!r}): delete that line"
            ) from None
        missing = result.line + 1 - len(self._states)
        if missing > 0:
            self._states.extend(bytes(max(missing, len(self._states))))
        state = _FAILED if result.failed else _DONE
        self._counts[self._states[result.line]] -= 1
        self._counts[state] += 1
        self._states[result.line] = state
        self.elsewhere.discard(result.line)

    def has_ended(self, line: int) -> bool:
        """Whether the row at a line has a result, as far as it was read."""
        return line < len(self._states) and self._states[line] != _OPEN

    # who speaks which row

    def claim(self, line: int) -> bool:
        """Claim the row at a line for this process. False if it has ended, or another process has claimed it."""
        if self.has_ended(line):
            return False
        if not self._lock(line, wait=False):
            self.elsewhere.add(line)
            return False
        self.refresh()  # it may have ended before it was locked
        if self.has_ended(line):
            self._unlock(line)
            return False
        self.elsewhere.discard(line)
        return True

    def any_is_free(self) -> bool:
        """Whether a row that another process had claimed is free, because that process was stopped."""
        self.refresh()
        for line in sorted(self.elsewhere):
            if self._lock(line, wait=False):
                self._unlock(line)
                return True
        return False

    def end(self, result: Result, name: str | None, content: bytes) -> None:
        """End a row that this process has claimed: write its audio and its result, and free it.

        Args:
            name: of the audio file; None for a row that failed.
            content: of that file.
        """
        if name is not None:
            self._write_audio(result.line, name, content)
        self._append(result)
        self._unlock(result.line)
        self.refresh()

    def _write_audio(self, line: int, name: str, content: bytes) -> None:
        """Write an audio file, whole or not at all, and durably.

        `files.replacing` lists the directory at each call, to delete what killed processes left: with a million files,
        that takes longer than speaking. Here the claim makes the name of the temporary file safe.
        """
        target = self.directory / name
        temporary = self.inside / f"{line}{target.suffix}"
        with self._changing(target):
            try:
                temporary.unlink(missing_ok=True)  # what a killed process left; nothing is written through a link
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            except OSError:
                with suppress(OSError):
                    temporary.unlink()  # it may fill the disk
                raise
            _flush_directory(self.directory)

    def _append(self, result: Result) -> None:
        content = f"{result.to_json()}\n".encode()
        with self.exclusively(), self._changing(self.results), _open_to_append(self.results) as file:
            size = _without_cut_line(file)
            try:
                write_all(file, content)
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.ftruncate(file.fileno(), size)
                raise
            if not size:
                _flush_directory(self.directory)

    def forget_failed(self) -> None:
        """Take the rows that failed out of the results, so that they are spoken again."""
        with self.exclusively():
            self.refresh()
            if not self.failed:
                return
            with (
                self._changing(self.results),
                replacing(self.results) as temporary,
                self.results.open("rb") as old,
                temporary.open("wb") as new,
            ):
                for line in old:
                    if line.endswith(b"\n") and not Result.from_json(line).failed:
                        new.write(line)
                new.flush()
                os.fsync(new.fileno())
            _flush_directory(self.directory)
            self.refresh()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Change the files of the job while no other process does."""
        self._lock(0, wait=True)
        try:
            yield
        finally:
            self._unlock(0)

    @contextmanager
    def _changing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = "; is the disk full? The same command goes on when there is room" * (error.errno in _DISK_FULL)
            raise BarkError(f"cannot write {path}: {reason(error)}{advice}") from None

    def _lock(self, byte: int, *, wait: bool) -> bool:
        """Lock a byte of the file of locks. False if another process has locked it."""
        if sys.platform == "win32":
            return True
        import fcntl

        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, byte)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise BarkError(
                f"{self.directory} is on a file system without locks ({reason(error)}): choose a local disk"
            ) from None
        return True

    def _unlock(self, byte: int) -> None:
        if sys.platform != "win32":
            import fcntl

            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, byte)


def open_results(path: Path) -> BinaryIO:
    """Open a file of results. Raises OSError, also for what is not a plain file, such as a link or a pipe."""
    return cast(BinaryIO, open(path, "rb", opener=_plain_file))


def _open_to_append(path: Path) -> FileIO:
    return open(path, "ab+", buffering=0, opener=_plain_file)


def _plain_file(path: str, flags: int) -> int:
    handle = os.open(path, flags | _NO_LINK | _NO_WAIT, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", path)
    return handle


def _without_cut_line(file: FileIO) -> int:
    """Cut off a last line without an end, which a killed process or a power failure left. Returns the size."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(file.fileno(), end)
    return end


def _flush_directory(directory: Path) -> None:
    """Flush the names in a directory to the disk, where that is possible."""
    if sys.platform == "win32":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
