"""Engines: every utterance as it would have been alone, whoever else is there and whatever becomes of them.

Tokens, codes and chunk boundaries exactly, waveforms within 1e-5. The requests are chosen once, since rows that run
together round their logits differently, by 1e-6: about one draw in a million could fall on either side.
"""

from collections import deque
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_onnx import Bark, BarkError
from bark_onnx.engine.job import Job, JobState, Request
from bark_onnx.graphs.decoder import CausalDecoder
from utterances import (
    TEXT,
    Alone,
    assert_as_alone,
    counted_runs,
    is_empty,
    lasting,
    run,
)

# As alone

PLANS = st.lists(
    st.tuples(
        st.integers(0, 8),  # which request
        st.integers(0, 200) | st.just(0),  # steps since the one before was submitted
        st.none() | st.integers(0, 400),  # steps until it is cancelled
    ),
    min_size=2,
    max_size=7,
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(plan=PLANS, slots=st.integers(1, 4))
def test_random_submits_and_cancels(
    bark: Bark, alone: list[Alone], plan: list[tuple[int, int, int | None]], slots: int
) -> None:
    engine, step, when = bark.engine(slots=slots), 0, 0
    submits: deque[tuple[int, int, int | None]] = deque()
    for which, later, until_cancelled in plan:
        when += later
        submits.append((when, which, until_cancelled))
    jobs: list[tuple[Job, Alone]] = []
    cancels: list[tuple[int, Job]] = []
    while engine.step() or submits:
        while submits and submits[0][0] <= step:
            _, which, until_cancelled = submits.popleft()
            jobs.append((engine.submit(alone[which].request), alone[which]))
            if until_cancelled is not None:
                cancels.append((step + until_cancelled, jobs[-1][0]))
        for job in [job for at, job in cancels if at == step]:
            engine.cancel(job)
            assert job.ended
        step += 1
    for job, expected in jobs:
        if job.state is JobState.CANCELLED:
            semantic, coarse = job.semantic_tokens, job.coarse_codes
            np.testing.assert_array_equal(semantic, expected.speech.tokens.semantic[: len(semantic)])
            np.testing.assert_array_equal(coarse, expected.speech.tokens.coarse[:, : coarse.shape[1]])
            assert [chunk.start for chunk in job.chunks] == expected.starts[: len(job.chunks)]
            assert job.speech is None
        else:
            assert_as_alone(job, expected)
    assert is_empty(engine)
    assert not engine.step()


@pytest.mark.parametrize("slots", [1, 3, 9])
def test_all_at_once(bark: Bark, alone: list[Alone], slots: int) -> None:
    engine = bark.engine(slots=slots)
    jobs = [engine.submit(expected.request) for expected in alone]
    run(engine)
    for job, expected in zip(jobs, alone, strict=True):
        assert_as_alone(job, expected)


def test_an_engine_takes_more_after_it_was_done(bark: Bark, alone: list[Alone]) -> None:
    engine = bark.engine(slots=2)
    for expected in (alone[5], alone[3], alone[5]):
        job = engine.submit(expected.request)
        run(engine)
        assert_as_alone(job, expected)


def test_cancelled_twice_is_cancelled(bark: Bark, alone: list[Alone]) -> None:
    engine = bark.engine(slots=2)
    job, done = engine.submit(alone[0].request), engine.submit(alone[1].request)
    engine.cancel(job)
    engine.cancel(job)
    assert job.state is JobState.CANCELLED
    run(engine)
    engine.cancel(done)
    assert done.state is JobState.DONE
    assert_as_alone(done, alone[1])


def test_an_engine_without_slots(bark: Bark) -> None:
    with pytest.raises(BarkError, match="at least 1 slot, not 0"):
        bark.engine(slots=0)


# Rows


def test_finished_rows_are_taken_at_once(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside one of 60 tokens, twelve of 5 have gone through the other row: 60 steps of both, not twelve rounds."""
    engine, widths = bark.engine(slots=2), []
    decode_step = CausalDecoder.decode_step

    def counted(decoder: CausalDecoder, cache: Any, tokens: Any, rows: Any) -> Any:
        widths.append(len(rows) if cache is engine._places.semantic.cache else 0)
        return decode_step(decoder, cache, tokens, rows)

    monkeypatch.setattr(CausalDecoder, "decode_step", counted)
    jobs = [engine.submit(Request(TEXT, voice=None, seed=n, options=lasting(5 if n else 60))) for n in range(13)]
    run(engine)
    assert all(job.speech for job in jobs)
    assert sum(widths) == 59 + 12 * 4  # the first token comes with the prefill
    assert sum(width > 0 for width in widths) == 59


def test_no_more_than_its_slots(bark: Bark, alone: list[Alone]) -> None:
    """And the coarse stage of whole utterances runs full where it can."""
    engine = bark.engine(slots=3)
    for expected in alone[:5]:
        engine.submit(expected.request)
    seen = set()
    while engine.step():
        seen.add((len(engine._places.semantic.jobs), len(engine._places.coarse.jobs)))
        assert engine._places.semantic.cache.rows == engine._places.coarse.cache.rows == 3
        rows = [*engine._places.semantic.jobs, *engine._places.coarse.jobs]
        assert set(rows) <= {0, 1, 2}
    assert max(semantic for semantic, _ in seen) == max(coarse for _, coarse in seen) == 3


# In between


def test_tokens_and_chunks_are_seen_as_they_come(bark: Bark, alone: list[Alone]) -> None:
    """A token at a time, and sound while there is semantic work to do."""
    engine, expected = bark.engine(slots=2), alone[7]
    job = engine.submit(expected.request)
    engine.submit(alone[0].request)
    heard_early, before = 0, (0, 0)
    while engine.step():
        semantic, coarse = job.semantic_tokens, job.coarse_codes
        assert 0 <= len(semantic) - before[0] <= 1
        assert 0 <= coarse.shape[1] - before[1] <= 1
        np.testing.assert_array_equal(semantic, expected.speech.tokens.semantic[: len(semantic)])
        np.testing.assert_array_equal(coarse, expected.speech.tokens.coarse[:, : coarse.shape[1]])
        before = len(semantic), coarse.shape[1]
        heard_early = heard_early or (len(job.chunks) and len(semantic))
    assert before == (270, expected.speech.tokens.coarse.shape[1])
    assert 256 <= heard_early < 270
    assert_as_alone(job, expected)


def test_timings_are_the_time_that_the_networks_took(
    bark: Bark, alone: list[Alone], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that counts their runs: all jobs together have all of them, and each is charged its own stages."""
    runs = counted_runs(monkeypatch)
    monkeypatch.setattr("bark_onnx.engine.work.perf_counter", lambda: float(len(runs)))
    engine = bark.engine(slots=3)
    jobs = [engine.submit(expected.request) for expected in alone]
    run(engine)
    assert sum(sum(job.timings.values()) for job in jobs) == pytest.approx(len(runs))
    for job in jobs:
        assert all(job.timings[stage] > 0 for stage in ("semantic", "coarse", "fine"))
        assert job.speech is not None
        assert job.speech.timings == job.timings
    assert jobs[7].timings["semantic"] > jobs[1].timings["semantic"]


# Nobody waits for ever


def test_a_steady_supply_of_streams_does_not_pile_up_between_the_stages(bark: Bark, alone: list[Alone]) -> None:
    """The semantic stage is faster than the coarse stage; new jobs wait in the queue, where limits count them."""
    engine = bark.engine(slots=1)
    for _ in range(6000):
        while len(engine._places.waiting) < 2:
            engine.submit(alone[8].request)
        assert engine.step()
        assert len(engine._places.between) <= engine.slots + 1


@pytest.mark.parametrize("supply", [[1], [3], [5], [8], [0, 5, 2, 8, 6]], ids=str)
@pytest.mark.parametrize("slots", [1, 3])
def test_a_constant_supply_keeps_nobody_waiting(bark: Bark, alone: list[Alone], supply: list[int], slots: int) -> None:
    """There is always a new job waiting, and each still ends within the steps of a few of its kind and of the first."""
    engine, kinds = bark.engine(slots=slots), cycle(supply)
    steps_alone = {kind: sum(np.size(part) for part in tokens_of(alone[kind])) for kind in {4, 5, *supply}}
    bound = 2 * (slots + 1) * (max(steps_alone.values()) + steps_alone[4] + steps_alone[5])
    ages: dict[int, tuple[Job, int]] = {n: (engine.submit(alone[n].request), 0) for n in (4, 5)}
    number, ended = 10, 0
    for step in range(3 * bound):
        while len(engine._places.waiting) < 2:
            ages[number] = engine.submit(alone[next(kinds)].request), step
            number += 1
        assert engine.step()
        for n, (job, since) in list(ages.items()):
            assert step - since <= bound, n
            if job.ended:
                assert job.speech is not None
                ended += 1
                del ages[n]
        if ended > 8 and not ages.keys() & {4, 5}:
            return
    pytest.fail(f"{ended} ended, and {ages.keys() & {4, 5}} did not")


def tokens_of(expected: Alone) -> tuple[Any, Any]:
    return expected.speech.tokens.semantic, expected.speech.tokens.coarse
