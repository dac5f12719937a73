"""Work in one thread: results, errors, and what an interrupt leaves."""

import gc
import signal
import subprocess
import sys
import weakref
from _thread import interrupt_main
from collections.abc import Iterator
from threading import Event, Thread, current_thread, get_ident
from time import sleep

import numpy as np
import pytest

from bark_onnx.graphs.one_thread import OneThread


@pytest.fixture
def thread() -> Iterator[OneThread]:
    thread = OneThread("test")
    yield thread
    thread.close()


@pytest.fixture
def interrupts() -> Iterator[None]:
    """A background job of a shell ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_all_work_is_done_in_one_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if several callers are the first at the same time. Here a thread takes long to begin."""
    start = Thread.start

    def slow(self: Thread) -> None:
        sleep(0.05)
        start(self)

    found, thread = [], OneThread("test")
    callers = [Thread(target=lambda: found.append(thread.run(current_thread))) for _ in range(5)]
    monkeypatch.setattr("bark_onnx.graphs.one_thread.Thread.start", slow)
    for caller in callers:
        start(caller)
    for caller in callers:
        caller.join()
    assert len(found) == 5
    assert set(found) == {thread.run(current_thread)} != {current_thread()}
    thread.close()


def test_an_error_is_raised_and_its_memory_is_freed(thread: OneThread) -> None:
    held = []

    def work() -> None:
        array = np.zeros(10)
        held.append(weakref.ref(array))
        raise MemoryError(str(array.size))

    gc.disable()
    try:
        with pytest.raises(MemoryError, match="10"):
            thread.run(work)
        assert held[0]() is None
    finally:
        gc.enable()


def test_an_interrupt_waits_for_the_work_and_ends_the_call(thread: OneThread, interrupts: None) -> None:
    """At any moment: also while the work is handed over."""
    for _ in range(100):
        ended = Event()

        def work(ended: Event = ended) -> None:
            interrupt_main()
            sleep(0.001)
            ended.set()

        with pytest.raises(KeyboardInterrupt):
            thread.run(work)
        assert ended.is_set()
    assert thread.run(lambda: 3) == 3


def test_work_that_nobody_waits_for_does_not_begin(thread: OneThread, interrupts: None) -> None:
    begun, free, late = Event(), Event(), Event()
    main = get_ident()
    first = Thread(target=thread.run, args=(lambda: (begun.set(), free.wait()),))
    first.start()
    begun.wait()
    Thread(target=lambda: (sleep(0.05), signal.pthread_kill(main, signal.SIGINT))).start()
    with pytest.raises(KeyboardInterrupt):
        thread.run(late.set)
    free.set()
    first.join()
    thread.run(lambda: None)
    assert not late.is_set()


def test_a_process_ends_with_its_thread() -> None:
    code = "from bark_onnx.graphs.one_thread import OneThread; kept = OneThread('test'); print(kept.run(lambda: 5))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "5\n", "")
