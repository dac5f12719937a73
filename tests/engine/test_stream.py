"""Streaming: the tokens of `generate` sooner, in chunks that depend on nothing but the options.

Tokens and codes exactly, waveforms within 1e-5.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bark_onnx import AudioChunk, Bark, BarkError, GenerationOptions, StreamOptions, VoicePreset
from bark_onnx.arrays import IntArray
from bark_onnx.engine.job import Request
from bark_onnx.engine.stream import ChunkedAudio, buffering
from bark_onnx.sampling.distribution import draw, random_stream
from bark_onnx.stages.coarse import CoarseSequence
from bark_onnx.stages.fine import FineSequence, fine_codes
from bark_onnx.stages.semantic import SemanticSequence
from tiny import SPACE
from utterances import FULL, GREEDY, SHORT, TEXT, TOLERANCE, assert_whole, joined, lasting, streamed
from voices import make_voice, voice_or_none

TINY_WINDOWS = replace(SPACE, fine_window=64, fine_history=32)


# The tokens of `generate`

CASES: dict[str, tuple[int, GenerationOptions]] = {
    "own end, no voice": (0, GenerationOptions()),
    "own end, voice": (FULL, GenerationOptions()),
    "greedy": (SHORT, GenerationOptions(**GREEDY)),
    "one token": (SHORT, lasting(1)),
    "at the first window, no voice": (0, lasting(256)),
    "over the first window, no voice": (0, lasting(330)),
    "greedy, over the first window": (SHORT, lasting(260, **GREEDY)),
    "short voice": (SHORT, lasting(300)),
    "full voice": (FULL, lasting(200)),
    "top-k and top-p": (FULL, lasting(120, top_k=20, top_p=0.9)),
    "odd window": (FULL, lasting(90, sliding_window=61)),
    "short odd windows and history": (FULL, lasting(70, sliding_window=7, max_coarse_history=101)),
    "longest windows": (FULL, lasting(180, sliding_window=138)),
    "long windows": (FULL, lasting(300, sliding_window=368, max_coarse_history=400)),
    "least history": (FULL, lasting(300, max_coarse_history=60)),
}


@pytest.mark.parametrize("exact", [False, True], ids=["chunks", "exact"])
@pytest.mark.parametrize("case", CASES)
def test_tokens_are_those_of_generate(bark: Bark, case: str, exact: bool) -> None:
    voice_length, options = CASES[case]
    voice = voice_or_none(bark.vocabulary, voice_length)
    expected = bark.generate(TEXT, voice=voice, options=options, seed=7)
    chunks, speech = streamed(bark, TEXT, voice=voice, options=options, seed=7, streaming=StreamOptions(exact=exact))
    np.testing.assert_array_equal(speech.tokens.semantic, expected.tokens.semantic)
    np.testing.assert_array_equal(speech.tokens.coarse, expected.tokens.coarse)
    np.testing.assert_array_equal(speech.tokens.fine[:2], expected.tokens.coarse)
    assert speech.seed == 7
    assert_whole(bark, chunks, speech)
    if exact:
        np.testing.assert_array_equal(speech.tokens.fine, expected.tokens.fine)
        np.testing.assert_allclose(speech.waveform, expected.waveform, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("window", "history", "tokens"), [(208, 560, 139), (368, 400, 123), (368, 400, 245)])
def test_an_end_right_behind_a_window(
    bark: Bark, monkeypatch: pytest.MonkeyPatch, window: int, history: int, tokens: int
) -> None:
    """The end token comes when whole windows cover all that has been said: no window is left that could be the last."""
    take = SemanticSequence.take

    def ending(sequence: SemanticSequence, choice: int) -> None:
        if len(sequence.tokens) == tokens:
            sequence.ended = True
        else:
            take(sequence, choice)

    monkeypatch.setattr(SemanticSequence, "take", ending)
    options = lasting(400, sliding_window=window, max_coarse_history=history)
    voice = make_voice(bark.vocabulary, FULL)
    assert bark.vocabulary.coarse_length(tokens) % window == 0
    chunks, speech = streamed(bark, TEXT, voice=voice, options=options, seed=7)
    np.testing.assert_array_equal(
        speech.tokens.coarse, bark.generate(TEXT, voice=voice, options=options, seed=7).tokens.coarse
    )
    assert_whole(bark, chunks, speech)


# When a coarse window begins


def spoken_along(bark: Bark, voice: VoicePreset | None, options: GenerationOptions) -> list[tuple[int, int]]:
    """Of each window: the codes before it, and the semantic tokens that there were."""
    engine, found = bark.engine(slots=1), []
    job = engine.submit(Request(TEXT, voice=voice, seed=7, options=options, streaming=StreamOptions()))
    begin = job.coarse.begin_window

    def recorded() -> Any:
        found.append((job.coarse.length, len(job.semantic.tokens)))
        return begin()

    job.coarse.begin_window = recorded  # type: ignore[method-assign]
    while engine.step():
        pass
    return found


@pytest.mark.parametrize(("voice_length", "new"), [(0, 256), (SHORT, 197), (208, 48), (FULL, 47)])
def test_a_window_begins_as_soon_as_it_sees_its_tokens(bark: Bark, voice_length: int, new: int) -> None:
    """256 tokens without a voice; fewer by what is seen of one: 59 tokens of the short, 209 at most.

    Any earlier, and the window's prompt would be another. It holds for every window until the end is known.
    """
    voice, options, tokens = voice_or_none(bark.vocabulary, voice_length), lasting(320), 320
    windows = spoken_along(bark, voice, options)
    assert windows[0] == (0, new)
    semantic = bark.semantic(TEXT, voice=voice, options=options, seed=7).tolist()

    def prompts(count: int) -> list[IntArray]:
        """Of all windows, with only so many tokens heard, whatever the sequence says of that."""
        sequence = CoarseSequence(voice, options, bark.vocabulary, 1024, random_stream(7, "coarse"))
        sequence.feed(semantic[:count], ended=False)
        made = []
        for _ in windows:
            made.append(sequence.begin_window())
            while sequence.in_window:
                sequence.take(draw(flat, sequence.rule, sequence.stream.random()))
        return made

    flat = np.zeros(128, np.float32)
    codes = bark.vocabulary.coarse_length(tokens)
    assert [length for length, _ in windows] == list(range(0, codes, 60))
    expected = prompts(tokens)
    for index, (length, count) in enumerate(windows):
        if count < tokens:
            np.testing.assert_array_equal(prompts(count)[index], expected[index])
            earlier = prompts(count - 1)
            assert not np.array_equal(earlier[index], expected[index]), length
    assert sum(count < tokens for _, count in windows) >= 3 or voice is None


# Chunks


def test_chunks_grow_to_their_longest(bark: Bark) -> None:
    options = StreamOptions(first_seconds=0.2, growth=2, chunk_seconds=1.0)
    chunks, _ = streamed(
        bark, TEXT, voice=make_voice(bark.vocabulary, FULL), options=lasting(300), seed=7, streaming=options
    )
    frames = [len(chunk.waveform) / 320 for chunk in chunks]
    assert frames[:-1] == [15, 30, 60, 75, 75, 75, 75]
    assert frames[-1] == 45


@pytest.mark.parametrize(
    ("options", "first", "longest"),
    [
        (StreamOptions(first_seconds=0.5), 38, 75),
        (StreamOptions(first_seconds=0.01), 7, 75),  # the codec's least
        (StreamOptions(first_seconds=0.08, growth=10), 7, 75),
        (StreamOptions(first_seconds=0.3, growth=1), 22, 22),
        (StreamOptions(first_seconds=3, chunk_seconds=0.6), 45, 45),
        (StreamOptions(chunk_seconds=3, growth=4), 8, 225),
        (StreamOptions(first_seconds=1e-6, growth=3), 7, 75),
        (StreamOptions(first_seconds=0.01, chunk_seconds=0.01, growth=10), 7, 1),  # frame by frame
    ],
)
def test_first_and_longest_chunk(bark: Bark, options: StreamOptions, first: int, longest: int) -> None:
    count = 300 if longest > 1 else 256
    chunks, speech = streamed(
        bark, TEXT, voice=make_voice(bark.vocabulary, FULL), options=lasting(count), seed=7, streaming=options
    )
    frames = [len(chunk.waveform) // 320 for chunk in chunks]
    assert frames[0] == first
    assert max(frames[1:]) == longest
    assert_whole(bark, chunks, speech)


def test_the_fine_context_is_what_a_chunk_sees_of_the_past(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []  # of each chunk: the frames before it and its own
    begin = FineSequence.begin_chunk

    def recorded(sequence: FineSequence, frames: int, context: int) -> None:
        begin(sequence, frames, context)
        seen.append((sequence.window.shape[1] - frames, frames))

    monkeypatch.setattr(FineSequence, "begin_chunk", recorded)
    for context, voice_length, before in ((40, FULL, [40, 40, 40]), (40, 0, [0, 20, 40]), (0, FULL, [0, 0, 0])):
        options = StreamOptions(first_seconds=20 / 75, growth=1.5, fine_context=context)
        streamed(
            bark,
            TEXT,
            voice=voice_or_none(bark.vocabulary, voice_length),
            options=lasting(60),
            seed=7,
            streaming=options,
        )
        assert seen[:3] == list(zip(before, [20, 30, 40], strict=True))
        seen.clear()


def fed(bark: Bark, options: StreamOptions, voice: VoicePreset | None, coarse: IntArray, cuts: list[int]) -> Any:
    """Chunks and codes of coarse codes that come in these portions, with small fine windows."""
    fine = FineSequence(voice, GenerationOptions(), TINY_WINDOWS, random_stream(7, "fine"))
    chunked, chunks = ChunkedAudio(bark._loops.fine, bark._networks.codec, fine, options, TINY_WINDOWS), []
    for start, stop in pairwise([0, *cuts, coarse.shape[1]]):
        fine.feed(coarse[:, start:stop], ended=stop == coarse.shape[1])
        while chunked.can_advance:
            chunked.advance()
            chunk = chunked.decode()
            chunks += [chunk] if chunk is not None else []
    assert chunked.ended
    return chunks, fine.codes()


PORTIONS = st.integers(1, 300).flatmap(
    lambda frames: st.tuples(st.just(frames), st.lists(st.integers(0, frames - 1), max_size=12).map(sorted))
)
VOICES = st.sampled_from([0, 5, 20, SHORT])  # under, about and over the small windows' 32 frames of history


@settings(max_examples=50, deadline=None)
@given(PORTIONS, VOICES, st.sampled_from([0, 10, 40]))
def test_chunks_do_not_depend_on_when_codes_come(
    bark: Bark, portions: tuple[int, list[int]], voice_length: int, context: int
) -> None:
    frames, cuts = portions
    coarse = np.random.default_rng(frames).integers(0, 64, (2, frames))
    options, voice = StreamOptions(fine_context=context, chunk_seconds=0.4), voice_or_none(TINY_WINDOWS, voice_length)
    at_once, expected = fed(bark, options, voice, coarse, [])
    chunks, codes = fed(bark, options, voice, coarse, cuts)
    assert [chunk.start for chunk in chunks] == [chunk.start for chunk in at_once]
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(joined(chunks), joined(at_once))
    np.testing.assert_allclose(joined(chunks), bark.decode(codes), rtol=0, atol=TOLERANCE)


@settings(max_examples=80, deadline=None)
@given(PORTIONS, VOICES)
@example((64, [32]), 0)
@example((96, [64, 95]), 0)
@example((160, list(range(160))), 20)
def test_exact_codes_of_many_windows(bark: Bark, portions: tuple[int, list[int]], voice_length: int) -> None:
    frames, cuts = portions
    coarse = np.random.default_rng(frames).integers(0, 64, (2, frames))
    voice = voice_or_none(TINY_WINDOWS, voice_length)
    whole = FineSequence(voice, GenerationOptions(), TINY_WINDOWS, random_stream(7, "fine"))
    whole.feed(coarse, ended=True)
    *_, expected = fine_codes(bark._loops.fine, whole)
    chunks, codes = fed(bark, StreamOptions(exact=True), voice, coarse, cuts)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_allclose(joined(chunks), bark.decode(expected), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("voice_frames", "frames"), [(0, 1600), (300, 1300), (512, 1100)])
def test_exact_codes_of_published_windows(bark: Bark, voice_frames: int, frames: int) -> None:
    """Sound comes before the last codes do: all but what windows still to come may change."""
    space, rng = bark.vocabulary, np.random.default_rng(frames)
    codes = rng.integers(0, 64, (8, max(1, voice_frames)))
    voice = VoicePreset(np.zeros(200, np.int64), codes[:2], codes) if voice_frames else None
    coarse = rng.integers(0, 64, (2, frames))
    fine = FineSequence(voice, GenerationOptions(), space, random_stream(7, "fine"))
    chunked = ChunkedAudio(bark._loops.fine, bark._networks.codec, fine, StreamOptions(exact=True), space)
    chunks, start = [], 0
    while not chunked.ended:
        assert start < frames
        stop = min(frames, start + int(rng.integers(1, 200)))
        fine.feed(coarse[:, start:stop], ended=stop == frames)
        start = stop
        while chunked.can_advance:
            chunked.advance()
            chunk = chunked.decode()
            chunks += [(chunk, start)] if chunk is not None else []
    np.testing.assert_array_equal(fine.codes(), bark.fine(coarse, voice=voice, seed=7))
    waveform = joined([chunk for chunk, _ in chunks])
    np.testing.assert_allclose(waveform, bark.decode(fine.codes()), rtol=0, atol=TOLERANCE)
    assert chunks[0][1] < frames


# Options and advice


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"first_seconds": 0}, "first_seconds must be over 0, not 0"),
        ({"first_seconds": float("nan")}, "first_seconds"),
        ({"growth": 0.99}, "growth must be 1 to 10, not 0.99"),
        ({"growth": 11}, "growth"),
        ({"chunk_seconds": 0}, "chunk_seconds"),
        ({"chunk_seconds": 5.1}, "chunk_seconds must be over 0 and at most 5, not 5.1"),
        ({"fine_context": -1}, "fine_context must be at least 0, not -1"),
        ({"growth": 0, "fine_context": -1}, "growth .*; fine_context"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BarkError, match=complaint):
        StreamOptions(**options)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 2), st.floats(0, 3)), min_size=1, max_size=8))
def test_buffering_is_the_shortest_wait_without_a_gap(steps: list[tuple[float, float]]) -> None:
    """Steps: the seconds of a chunk, and the seconds until it came."""
    starts = np.cumsum([0, *(seconds for seconds, _ in steps)])[:-1]
    chunks = [AudioChunk(np.zeros(1, np.float32), start, 24_000) for start in starts]
    arrivals = np.cumsum([came for _, came in steps]) + 5
    wait = buffering(chunks, arrivals.tolist())

    def runs_dry(wait: float) -> bool:
        return bool((arrivals[0] + wait + starts < arrivals - 1e-9).any())

    assert wait >= 0
    assert not runs_dry(wait)
    assert wait == 0 or runs_dry(wait - 1e-6)


def test_buffering_of_nothing() -> None:
    assert buffering([], []) == 0
