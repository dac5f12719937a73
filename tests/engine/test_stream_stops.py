"""A consumer that stops early, streams that fail: the work stops, and nothing is left behind."""

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from bark_onnx import Bark, BarkError, GenerationOptions, SpeechStream, Worker
from utterances import FULL, TEXT, counted_runs, lasting, streamed
from voices import make_voice


def dropping(stream: SpeechStream) -> None:
    for _ in stream:
        break


def closing(stream: SpeechStream) -> None:
    next(stream)
    stream.close()
    stream.close()
    assert list(stream) == []
    assert stream.speech is None


def stopping(stream: SpeechStream) -> None:
    next(stream)
    assert [(said.text, said.complete) for said in stream.stop()] == [(TEXT, False)]
    assert list(stream) == []


def raising(stream: SpeechStream) -> None:
    def consume() -> None:
        with stream:
            for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()


def wait_until_idle(worker: Worker) -> None:
    """Until the engine has no job, and a second more: nothing may begin again."""
    end = monotonic() + 60
    while not worker._engine.idle or worker.unfinished:
        assert monotonic() < end
        sleep(0.01)


@pytest.mark.parametrize("stop", [dropping, closing, stopping, raising])
def test_a_consumer_that_stops_stops_the_work(
    bark: Bark, monkeypatch: pytest.MonkeyPatch, stop: Callable[[SpeechStream], None]
) -> None:
    """No row stays in use, the worker is free for the next stream, and that is right."""
    arguments: Any = {"voice": make_voice(bark.vocabulary, FULL), "options": lasting(700), "seed": 7}
    expected = streamed(bark, TEXT, **arguments | {"options": lasting(100)})[1]
    (worker,) = bark._idle_workers.kept
    runs = counted_runs(monkeypatch)
    stop(bark.stream(TEXT, **arguments))
    wait_until_idle(worker)
    assert runs.count("semantic.onnx") < 700
    assert bark._idle_workers.kept == [worker]
    again = streamed(bark, TEXT, **arguments | {"options": lasting(100)})[1]
    np.testing.assert_array_equal(again.tokens.fine, expected.tokens.fine)
    np.testing.assert_array_equal(again.waveform, expected.waveform)


def test_abandoned_streams_leave_nothing(bark: Bark) -> None:
    """Whether they were closed or dropped, and however many there were at a time; an engine's caches have 0.8 MB."""

    def abandon(count: int, close: bool) -> None:
        streams = [
            bark.stream(TEXT, voice=make_voice(bark.vocabulary, FULL), options=lasting(100), seed=7)
            for _ in range(count)
        ]
        for stream in streams:
            next(stream)
            if close:
                stream.close()

    abandon(1, close=True)
    (kept,) = bark._idle_workers.kept
    threads = threading.active_count()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for close in (True, False):
        for _ in range(5):
            abandon(1, close)
            assert bark._idle_workers.kept == [kept]
        abandon(3, close)
        assert len(bark._idle_workers.kept) == 1
        (kept,) = bark._idle_workers.kept
    end = monotonic() + 60
    while threading.active_count() > threads:
        assert monotonic() < end
        sleep(0.01)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 1_600_000  # of one engine that is kept; there were 16


def test_streams_side_by_side(bark: Bark) -> None:
    """Taken in turns, with a whole utterance between their chunks."""
    voice, options = make_voice(bark.vocabulary, FULL), lasting(90)
    expected = [streamed(bark, TEXT, voice=voice, options=options, seed=seed)[1] for seed in (1, 2)]
    streams = [bark.stream(TEXT, voice=voice, options=options, seed=seed) for seed in (1, 2)]
    for _ in zip_longest(*streams):
        bark.generate(TEXT, options=lasting(10), seed=3)
    for stream, speech in zip(streams, expected, strict=True):
        assert stream.speech is not None
        np.testing.assert_array_equal(stream.speech.tokens.fine, speech.tokens.fine)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"text": TEXT, "voice": "nobody"}, "no voice 'nobody'"),
        ({"text": " "}, "empty"),
        ({"text": TEXT, "seed": 2**64}, "seed"),
        ({"text": TEXT, "options": GenerationOptions(sliding_window=700)}, "sliding_window 700"),
    ],
)
def test_a_stream_that_cannot_be_begun(bark: Bark, arguments: dict[str, Any], complaint: str) -> None:
    """The error comes with the call, and the worker is kept."""
    streamed(bark, TEXT, voice=None, options=lasting(5))
    idle = list(bark._idle_workers.kept)
    with pytest.raises(BarkError, match=complaint):
        bark.stream(**arguments)
    assert bark._idle_workers.kept == idle


def test_a_stream_that_fails(bark: Bark) -> None:
    """The error comes again and again, and the worker is kept."""
    streamed(bark, TEXT, voice=None, options=lasting(5))
    idle = len(bark._idle_workers.kept)
    assert idle > 0
    stream = bark.stream(TEXT, voice=None, options=GenerationOptions(min_eos_p=1e-9), seed=7)
    for _ in range(2):
        with pytest.raises(BarkError, match="before it began"):
            next(stream)
    assert len(bark._idle_workers.kept) == idle
    assert streamed(bark, TEXT, voice=None, options=lasting(5), seed=7)[1].tokens.semantic.size == 5


def test_a_model_that_nobody_has_any_more_is_freed_after_a_stream(bundle: Path) -> None:
    """The thread that is kept for the next stream ends, and does not keep the networks in memory."""
    bark = Bark.load(bundle, threads=1)
    assert list(bark.stream(TEXT, options=lasting(20), seed=7))
    networks, (worker,) = weakref.ref(bark._networks), bark._idle_workers.kept
    thread = worker._thread
    del bark, worker
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    gc.collect()
    assert networks() is None
