"""Which jobs go first: those whose listeners have the least audio left to play."""

import math
from dataclasses import replace
from time import monotonic

import numpy as np
import pytest

from bark_onnx import Bark, StreamOptions
from bark_onnx.engine.job import Request
from bark_onnx.engine.lead import AHEAD_SECONDS, ahead, lead
from utterances import FULL, TEXT, Alone, lasting, run
from voices import make_voice

PASSAGE = Request(TEXT, seed=1, options=lasting(30), streaming=StreamOptions())


def test_a_stream_goes_before_whole_utterances_that_wait(bark: Bark) -> None:
    """It waits for a row in each stage, not for all twelve."""
    engine = bark.engine(slots=2)
    whole = [engine.submit(Request(TEXT, seed=seed, options=lasting(60))) for seed in range(12)]
    engine.step()
    stream = engine.submit(Request(TEXT, options=lasting(60), streaming=StreamOptions()))
    while not stream.chunks:
        assert engine.step()
    assert sum(job.ended for job in whole) <= 4
    run(engine)
    assert all(job.speech for job in (stream, *whole))


def test_a_whole_utterance_does_not_wait_for_all_streams_that_come(bark: Bark, alone: list[Alone]) -> None:
    """In neither queue: every second job that begins is the one that has waited longest."""
    engine = bark.engine(slots=2)
    whole = None
    for _ in range(6000):
        while len(engine._places.waiting) < 4:
            engine.submit(alone[8].request)
        whole = whole or engine.submit(alone[1].request)
        assert engine.step()
        if whole.ended:
            assert whole.speech
            return
    pytest.fail("it did not end")


def test_a_new_stream_is_soon_heard(bark: Bark) -> None:
    """Another in its coarse stage, with 900 codes to go, leaves three of four steps to the semantic stage."""
    engine, voice = bark.engine(slots=2), make_voice(bark.vocabulary, FULL)
    first = engine.submit(Request(TEXT, voice=voice, seed=1, options=lasting(300), streaming=StreamOptions()))
    while not first.semantic.ended:
        engine.step()
    second = engine.submit(
        Request(TEXT, voice=voice, seed=2, options=lasting(100), streaming=StreamOptions(first_seconds=0.1))
    )
    steps = 0
    while not second.chunks:
        engine.step()
        steps += 1
    assert 47 < steps < 47 * 4 / 3 + 60
    assert not first.coarse.ended


def test_a_stream_that_is_ahead_of_its_listener_waits_for_one_that_is_not(
    bark: Bark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time stands still, so that a stream is ahead by all audio that it has made."""
    for module in ("lead", "schedule", "stage_steps"):
        monkeypatch.setattr(f"bark_onnx.engine.{module}.monotonic", lambda: 1.0)
    engine, voice = bark.engine(slots=2), make_voice(bark.vocabulary, FULL)
    streaming = StreamOptions(first_seconds=0.1)
    first, second = (
        Request(TEXT, voice=voice, seed=seed, options=lasting(200), streaming=streaming) for seed in (1, 2)
    )
    early = engine.submit(first)
    while lead(early, 1.0) < AHEAD_SECONDS:
        assert engine.step()
    late, codes = engine.submit(second), early.coarse.length
    while lead(late, 1.0) < AHEAD_SECONDS:
        assert engine.step()
        if late.semantic.tokens:
            assert ahead([early, late]) == ({early} if lead(late, 1.0) < AHEAD_SECONDS else set())
    assert early.coarse.length - codes <= 1  # before the second had begun
    while engine.step():
        pass
    for job in (early, late):
        alone = bark.generate(TEXT, voice=voice, seed=job.seed, options=lasting(200))
        np.testing.assert_array_equal(job.result().tokens.coarse, alone.tokens.coarse)


def test_nobody_waits_for_streams_that_are_all_ahead_and_whole_utterances_have_no_lead(bark: Bark) -> None:
    engine = bark.engine(slots=2)
    whole = engine.submit(Request(TEXT, options=lasting(5)))
    stream = engine.submit(Request(TEXT, options=lasting(5), streaming=StreamOptions()))
    assert (lead(whole, 0.0), lead(stream, 0.0)) == (math.inf, -math.inf)
    assert ahead([whole, stream]) == ahead([whole]) == ahead([]) == set()


def test_a_passage_that_is_not_due_yet_can_wait(bark: Bark) -> None:
    """Its listener plays the passages before it, and then goes on with what has been made of it."""
    engine, now = bark.engine(slots=1), monotonic()
    later = replace(PASSAGE, due=now + 100)
    job, first = engine.submit(later), engine.submit(PASSAGE)
    assert (lead(job, now), lead(job, now + 99), lead(job, now + 101)) == (100, 1, -1)
    assert ahead([job, first]) == {job}
    engine.cancel(first)
    while not job.chunks:
        assert engine.step()
    assert job.chunked is not None
    assert lead(job, now) == pytest.approx(100 + job.chunked.seconds)
    late = engine.submit(replace(PASSAGE, due=now - 1))
    engine.cancel(job)
    while not late.chunks:
        assert engine.step()
    assert late.first_audio is not None
    assert late.chunked is not None
    assert lead(late, late.first_audio) == late.chunked.seconds  # after a silence, it plays from its first chunk on


def test_a_listener_who_plays_twice_as_fast_has_half_as_much_time_left(
    bark: Bark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time stands still. Of two streams with as much audio, only the one that is played slower can wait."""
    for module in ("lead", "schedule", "stage_steps"):
        monkeypatch.setattr(f"bark_onnx.engine.{module}.monotonic", lambda: 1.0)
    engine = bark.engine(slots=2)
    slow, fast = (
        engine.submit(Request(TEXT, seed=1, options=lasting(120), streaming=StreamOptions(playback_speed=speed)))
        for speed in (1, 2)
    )
    run(engine)
    assert slow.chunked is not None
    assert lead(slow, 1.0) == 2 * lead(fast, 1.0) == slow.chunked.seconds
    assert [chunk.duration for chunk in slow.chunks] == [chunk.duration for chunk in fast.chunks]
    assert lead(fast, 1.0) < AHEAD_SECONDS < lead(slow, 1.0)
    assert ahead([slow, fast]) == {slow}


def test_first_audio_is_made_before_later_passages_and_these_in_the_order_in_which_they_are_due(bark: Bark) -> None:
    engine, now = bark.engine(slots=1), monotonic()
    running = engine.submit(PASSAGE)
    engine.step()
    due = {name: replace(PASSAGE, due=now + seconds) for name, seconds in (("later", 60), ("soon", 30), ("late", -5))}
    jobs = {name: engine.submit(request) for name, request in due.items()}
    jobs["whole"] = engine.submit(replace(PASSAGE, streaming=None))
    jobs["new"] = engine.submit(PASSAGE)
    order = []
    while engine.step():
        order += [name for name, job in jobs.items() if job.state > 0 and name not in order]
    # After one that overtakes others comes the one that has waited longest.
    assert order == ["new", "later", "late", "soon", "whole"]
    assert running.speech


def test_a_passage_that_is_not_due_leaves_the_steps_to_a_stream_that_plays(bark: Bark) -> None:
    """Semantic steps for each step of the coarse stage, while a stream is in its coarse stage and another begins."""

    def shares(due: float | None) -> float:
        engine, voice = bark.engine(slots=2), make_voice(bark.vocabulary, FULL)
        request = Request(TEXT, voice=voice, seed=1, options=lasting(200), streaming=StreamOptions())
        first = engine.submit(request)
        while not first.semantic.ended:
            engine.step()
        second, codes = engine.submit(replace(request, seed=2, due=due)), first.coarse.length
        while len(second.semantic.tokens) < 60:
            engine.step()
        return 60 / (first.coarse.length - codes)

    assert shares(None) > 2 * shares(monotonic() + 100)


@pytest.mark.parametrize(
    ("streaming", "alone"),
    [(StreamOptions(), True), (StreamOptions(first_seconds=0.3), False), (StreamOptions(exact=True), False)],
)
def test_the_codes_of_a_short_first_chunk_are_made_without_the_other_rows(
    bark: Bark, monkeypatch: pytest.MonkeyPatch, streaming: StreamOptions, alone: bool
) -> None:
    """A stream that plays waits for so few steps; for the codes of a longer chunk it would wait too long."""
    monkeypatch.setattr("bark_onnx.engine.lead.AHEAD_SECONDS", math.inf)
    engine, voice = bark.engine(slots=2), make_voice(bark.vocabulary, FULL)
    request = Request(TEXT, voice=voice, seed=1, options=lasting(300), streaming=StreamOptions())
    playing = engine.submit(request)
    while not playing.semantic.ended:
        engine.step()
    opening = engine.submit(replace(request, seed=2, streaming=streaming))
    while not opening.coarse.in_window:
        engine.step()
    codes = playing.coarse.length, opening.coarse.length
    while not opening.chunks:
        engine.step()
    assert opening.coarse.length - codes[1] >= 8
    assert (playing.coarse.length == codes[0]) == alone


def test_streams_that_begin_together_have_their_first_audio_one_after_another(bark: Bark) -> None:
    engine, voice = bark.engine(slots=3), make_voice(bark.vocabulary, FULL)
    request = Request(TEXT, voice=voice, options=lasting(100), streaming=StreamOptions())
    jobs = [engine.submit(replace(request, seed=seed)) for seed in range(3)]
    for place, job in enumerate(jobs):
        while not job.chunks:
            assert engine.step()
        assert not any(later.coarse.in_window for later in jobs[place + 1 :])
