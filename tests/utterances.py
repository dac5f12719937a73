"""What tests of streams and engines speak: a small model that ends by itself, requests of all kinds, and each alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bark_onnx import AudioChunk, Bark, GenerationOptions, StreamOptions
from bark_onnx.engine.engine import Engine
from bark_onnx.engine.job import Job, Request
from bark_onnx.engine.speech import Speech
from bark_onnx.graphs.session import Graph
from voices import make_voice

TOLERANCE = 1e-5
TEXT = "the world is music"
FULL, SHORT = 500, 60  # semantic tokens of a voice
GREEDY = {"text_temperature": 0.0, "coarse_temperature": 0.0, "fine_temperature": 0.0}


def lasting(tokens: int, **options: Any) -> GenerationOptions:
    """Exactly this many semantic tokens."""
    return GenerationOptions(max_seconds=(tokens - 0.5) / 49.9, allow_early_stop=False, **options)


def streamed(bark: Bark, text: str, **options: Any) -> tuple[list[AudioChunk], Speech]:
    stream = bark.stream(text, **options)
    chunks = list(stream)
    assert stream.speech is not None
    return chunks, stream.speech


def joined(chunks: list[AudioChunk]) -> Any:
    return np.concatenate([chunk.waveform for chunk in chunks])


def assert_whole(bark: Bark, chunks: list[AudioChunk], speech: Speech) -> None:
    """The chunks follow each other and are the speech, which is what its codes sound like."""
    for chunk, following in pairwise(chunks):
        assert following.start == pytest.approx(chunk.start + chunk.duration, abs=1e-9)
    assert chunks[0].start == 0
    assert all(len(chunk.waveform) and chunk.waveform.dtype == np.float32 for chunk in chunks)
    np.testing.assert_array_equal(joined(chunks), speech.waveform)
    np.testing.assert_allclose(speech.waveform, bark.decode(speech.tokens.fine), rtol=0, atol=TOLERANCE)


def assert_same_speech(found: Speech, expected: Speech) -> None:
    """Tokens and samples, exactly."""
    for name in ("semantic", "coarse", "fine"):
        assert np.array_equal(getattr(found.tokens, name), getattr(expected.tokens, name)), name
    assert np.array_equal(found.waveform, expected.waveform)


def counted_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all graphs that run from here on."""
    names: list[str] = []

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(graph: Graph, *arguments: Any) -> Any:
            names.append(graph.name)
            return method(graph, *arguments)

        return counted

    for name in ("run", "run_bound"):
        monkeypatch.setattr(Graph, name, counting(getattr(Graph, name)))
    return names


SAYS_NOTHING = GenerationOptions(min_eos_p=1e-9)


def all_kinds(bark: Bark) -> list[Request]:
    """All kinds: with and without voices, lengths from 3 to 270 tokens and their own ends, whole and streaming."""
    full, short = (make_voice(bark.vocabulary, length) for length in (FULL, SHORT))
    return [
        Request(TEXT, seed=1),
        Request("Hello", seed=2, options=lasting(3)),
        Request(
            "the dog is laughing",
            voice=full,
            seed=3,
            options=lasting(50, text_temperature=1.2, coarse_temperature=0.3),
        ),
        Request(TEXT, voice=short, seed=4, options=lasting(30, **GREEDY)),
        Request(TEXT, voice=full, seed=5, options=lasting(70, sliding_window=33, top_k=10)),
        Request(TEXT, voice=full, seed=6, options=lasting(80), streaming=StreamOptions()),
        Request(TEXT, voice=full, seed=7, options=lasting(60, top_p=0.8), streaming=StreamOptions(exact=True)),
        Request(TEXT, seed=8, options=lasting(270), streaming=StreamOptions(first_seconds=0.3, chunk_seconds=0.5)),
        Request("Suno", voice=short, seed=9, streaming=StreamOptions(fine_context=20)),
    ]


@dataclass
class Alone:
    """What a request becomes by itself."""

    request: Request
    speech: Speech
    starts: list[float] = field(default_factory=list)  # of the chunks


def speak_alone(bark: Bark) -> list[Alone]:
    """Each request of `all_kinds` by itself."""
    results = []
    for request in all_kinds(bark):
        arguments: Any = {"voice": request.voice, "options": request.options, "seed": request.seed}
        if request.streaming is None:
            results.append(Alone(request, bark.generate(request.text, **arguments)))
        else:
            stream = bark.stream(request.text, **arguments, streaming=request.streaming)
            starts = [chunk.start for chunk in stream]
            assert stream.speech is not None
            results.append(Alone(request, stream.speech, starts))
    return results


def assert_as_alone(job: Job, expected: Alone) -> None:
    assert job.error is None
    assert job.speech is not None
    for name, array in expected.speech.tokens.to_prompt().items():
        np.testing.assert_array_equal(job.speech.tokens.to_prompt()[name], array)
    np.testing.assert_allclose(job.speech.waveform, expected.speech.waveform, rtol=0, atol=TOLERANCE)
    assert [chunk.start for chunk in job.chunks] == expected.starts


def run(engine: Engine) -> int:
    """To the end; the number of steps."""
    steps = 0
    while engine.step():
        steps += 1
    return steps


def is_empty(engine: Engine) -> bool:
    lengths = np.concatenate([rows.cache.lengths for rows in (engine._places.semantic, engine._places.coarse)])
    return engine.idle and not lengths.any()
