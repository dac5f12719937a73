"""A consumer that stops early, streams that fail: the work stops, and nothing is left behind."""

import tracemalloc
import weakref
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest

from bark_onnx import Bark, BarkError, GenerationOptions, SpeechStream
from bark_onnx.engine.engine import Engine
from utterances import FULL, TEXT, counted_runs, lasting, streamed
from voices import make_voice


def breaking_out(stream: SpeechStream) -> None:
    for _ in stream:
        break


def closing(stream: SpeechStream) -> None:
    next(stream)
    stream.close()
    stream.close()


def raising(stream: SpeechStream) -> None:
    def consume() -> None:
        with stream:
            for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()


@pytest.mark.parametrize("stop", [breaking_out, closing, raising])
def test_a_consumer_that_stops_stops_the_work(
    bark: Bark, monkeypatch: pytest.MonkeyPatch, stop: Callable[[SpeechStream], None]
) -> None:
    """What the first chunk needs has been done; the next stream is right, and does its own work only."""
    arguments: Any = {"voice": make_voice(bark.vocabulary, FULL), "options": lasting(200), "seed": 7}
    runs = counted_runs(monkeypatch)
    expected = streamed(bark, TEXT, **arguments)[1]
    undisturbed = list(runs)
    runs.clear()
    stream = bark.stream(TEXT, **arguments)
    assert runs == []
    stop(stream)
    done = len(runs)
    assert runs.count("semantic.onnx") < 60
    if stop is not breaking_out:
        assert list(stream) == []
    assert stream.speech is None
    again = streamed(bark, TEXT, **arguments)[1]
    assert runs[done:] == undisturbed
    np.testing.assert_array_equal(again.tokens.fine, expected.tokens.fine)
    np.testing.assert_array_equal(again.waveform, expected.waveform)


def test_abandoned_streams_leave_nothing(bark: Bark) -> None:
    """Whether they were closed or dropped; an engine's caches alone are 0.8 MB."""

    def abandon(close: bool) -> weakref.ref[Engine]:
        stream = bark.stream(TEXT, voice=make_voice(bark.vocabulary, FULL), options=lasting(100), seed=7)
        next(stream)
        assert stream._engine is not None
        engine = weakref.ref(stream._engine)
        if close:
            stream.close()
        return engine

    kept = abandon(close=True)()
    assert kept in bark._idle_engines
    idle = len(bark._idle_engines)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(5):
        assert abandon(close=True)() is kept
    assert len(bark._idle_engines) == idle
    bark._idle_engines.clear()
    kept = None
    for _ in range(5):
        assert abandon(close=False)() is None
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 400_000


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
    """The error comes with the call, and the engine is kept."""
    streamed(bark, TEXT, voice=None, options=lasting(5))
    idle = list(bark._idle_engines)
    with pytest.raises(BarkError, match=complaint):
        bark.stream(**arguments)
    assert bark._idle_engines == idle


def test_a_stream_that_fails(bark: Bark) -> None:
    """The error comes again and again, and the engine is kept."""
    streamed(bark, TEXT, voice=None, options=lasting(5))
    idle = len(bark._idle_engines)
    assert idle > 0
    stream = bark.stream(TEXT, voice=None, options=GenerationOptions(min_eos_p=1e-9), seed=7)
    for _ in range(2):
        with pytest.raises(BarkError, match="before it began"):
            next(stream)
    assert len(bark._idle_engines) == idle
    assert streamed(bark, TEXT, voice=None, options=lasting(5), seed=7)[1].tokens.semantic.size == 5
