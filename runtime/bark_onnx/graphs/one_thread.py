"""One thread for all work of a kind, for libraries that keep state for each thread."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, TypeVar
from weakref import finalize

T = TypeVar("T")


class OneThread:
    """A thread that begins with the first work, and ends with this object.

    An executor of `concurrent.futures` would do, but an interrupt (Ctrl-C) inside its `submit` leaves work behind that
    nobody waits for, or a thread for which the process waits for ever at its end.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._starting = Lock()
        self._end = finalize(self, self._calls.put, None)

    def run(self, work: Callable[[], T]) -> T:
        """Do work in the thread, and return what it returns or raise what it raises.

        An interrupt of the calling thread ends the call, but not before the work has ended if it has begun: it uses the
        caller's memory.
        """
        call = _Call(work)
        try:
            self._start()
            self._calls.put(call)
            call.ended.wait()
        finally:
            call.give_up()
        result: T = call.result()
        return result

    def _start(self) -> None:
        """Start the thread, unless it runs."""
        with self._starting:  # several callers may be the first
            if self._thread is None:
                thread = Thread(target=_serve, args=(self._calls,), name=self._name, daemon=True)
                try:
                    thread.start()
                finally:
                    if thread.ident is not None:  # also if an interrupt came while it began
                        self._thread = thread

    def close(self) -> None:
        """End the thread after the work that it does."""
        self._end()
        if self._thread is not None:
            self._thread.join()


class _Call:
    """Work that is waited for."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work: Callable[[], Any] | None = work
        self._lock = Lock()  # guards the next two
        self._begun = False
        self._given_up = False
        self._value: Any = None
        self._error: BaseException | None = None
        self.ended = Event()

    def do(self) -> None:
        """Do the work, unless nobody waits for it any more."""
        with self._lock:
            if self._given_up:
                return
            self._begun = True
        assert self._work is not None
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error
        self._work = None
        self.ended.set()

    def give_up(self) -> None:
        """Keep the work from beginning; if it has begun, wait for its end."""
        with self._lock:
            self._given_up = True
            begun = self._begun
        if begun:
            self.ended.wait()

    def result(self) -> Any:
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error  # its traceback has this frame: a cycle, which would keep the work's memory


def _serve(calls: "SimpleQueue[_Call | None]") -> None:
    while (call := calls.get()) is not None:
        call.do()
        del call  # until the next one comes
