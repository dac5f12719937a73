"""An engine survives whatever a run raises: the jobs of that run end with the error, and all others are as alone."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_onnx import Bark, BarkError, BatchError, NothingSaid, Request, StreamOptions, Vocabulary
from bark_onnx.engine.engine import Engine
from bark_onnx.engine.job import Job, JobState
from bark_onnx.graphs.session import Graph
from utterances import FULL, TEXT, Alone, assert_as_alone, is_empty, lasting, run
from voices import make_voice

RAISED = [BarkError("raised"), RuntimeError("raised"), MemoryError(), KeyboardInterrupt()]


class Runs:
    """Counts the runs of all graphs, and does something before some of them.

    Args:
        before: what to do before a run, by its number or by the name of its graph (once).
    """

    def __init__(self, patch: pytest.MonkeyPatch, before: dict[int | str, Callable[[], None]]) -> None:
        self.count = 0

        def counting(method: Callable[..., Any]) -> Callable[..., Any]:
            def counted(graph: Graph, *arguments: Any) -> Any:
                self.count += 1
                for key in (self.count, graph.name):
                    if key in before:
                        before.pop(key)()
                return method(graph, *arguments)

            return counted

        for name in ("run", "run_bound"):
            patch.setattr(Graph, name, counting(getattr(Graph, name)))


def step(engine: Engine) -> bool:
    """One step; an interrupt is raised to the caller, who goes on here."""
    try:
        return engine.step()
    except KeyboardInterrupt:
        return True


PLANS = st.lists(
    st.tuples(
        st.integers(0, 8),  # which request
        st.integers(0, 100) | st.just(0),  # steps since the one before was submitted
        st.none() | st.integers(0, 300),  # steps until it is cancelled
    ),
    min_size=1,
    max_size=6,
)
FAULTS = st.lists(st.tuples(st.integers(1, 600), st.sampled_from(RAISED)), max_size=4, unique_by=lambda fault: fault[0])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(plan=PLANS, slots=st.integers(1, 4), faults=FAULTS)
def test_random_submits_cancels_and_errors(
    bark: Bark,
    alone: list[Alone],
    plan: list[tuple[int, int, int | None]],
    slots: int,
    faults: list[tuple[int, BaseException]],
) -> None:
    engine = bark.engine(slots=slots)
    hit: list[tuple[Job, BaseException]] = []

    def fault(error: BaseException) -> Callable[[], None]:
        def strike() -> None:
            hit.extend((job, error) for job in engine._work.jobs)
            raise error

        return strike

    jobs: list[tuple[Job, Alone]] = []
    submits: deque[tuple[int, int, int | None]] = deque()
    when = 0
    for which, later, until_cancelled in plan:
        when += later
        submits.append((when, which, until_cancelled))
    cancels: list[tuple[int, Job]] = []
    states: dict[Job, JobState] = {}
    with pytest.MonkeyPatch.context() as patch:
        Runs(patch, {number: fault(error) for number, error in faults})
        now = 0
        while step(engine) or submits:
            while submits and submits[0][0] <= now:
                _, which, until_cancelled = submits.popleft()
                jobs.append((engine.submit(alone[which].request), alone[which]))
                if until_cancelled is not None:
                    cancels.append((now + until_cancelled, jobs[-1][0]))
            for at, job in cancels:
                if at == now:
                    engine.cancel(job)
            for job, _ in jobs:
                assert job.state >= states.get(job, JobState.WAITING)  # it only moves forward
                states[job] = job.state
            now += 1
    errors = dict(hit)
    for job, expected in jobs:
        assert job.ended
        if job in errors:
            assert job.state is JobState.FAILED
            assert job.error is errors[job]
            assert job.speech is None
        elif job.state is JobState.CANCELLED:
            assert (job.speech, job.error) == (None, None)
            semantic = job.semantic_tokens
            np.testing.assert_array_equal(semantic, expected.speech.tokens.semantic[: len(semantic)])
        else:
            assert job.state is JobState.DONE
            assert_as_alone(job, expected)
    assert is_empty(engine)
    assert not engine.step()


def first_run_of(graph: str) -> str:
    return f"{graph}.onnx"


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("stage", ["semantic", "coarse", "fine", "codec"])
@pytest.mark.parametrize("which", [3, 4, 6, 7], ids=["short voice", "full voice", "streaming", "exact"])
def test_a_network_that_raises_once(
    bark: Bark, alone: list[Alone], stage: str, which: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job ends with the error, and the next one on the same engine is right."""
    engine = bark.engine(slots=1)

    def strike() -> None:
        raise error

    Runs(monkeypatch, {f"{stage}.onnx": strike})
    job = engine.submit(alone[which].request)
    raised = 0
    while not job.ended:
        try:
            engine.step()
        except KeyboardInterrupt:
            raised += 1
    assert raised == isinstance(error, KeyboardInterrupt)
    assert job.error is error
    assert job.speech is None
    assert is_empty(engine)
    with pytest.raises(BarkError if raised else type(error)):
        job.result()
    following = engine.submit(alone[which].request)
    run(engine)
    assert_as_alone(following, alone[which])


@pytest.mark.parametrize("stage", ["semantic", "coarse", "fine", "codec"])
@pytest.mark.parametrize("which", [4, 6], ids=["whole", "streaming"])
@pytest.mark.parametrize("in_a_thread", [False, True])
def test_cancel_during_a_run(
    bark: Bark, alone: list[Alone], stage: str, which: int, in_a_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another thread does it: the job does not come back, and others are as alone."""
    engine = bark.engine(slots=2)
    job, other = engine.submit(alone[which].request), engine.submit(alone[1].request)

    def cancel() -> None:
        if in_a_thread:
            thread = threading.Thread(target=engine.cancel, args=(job,))
            thread.start()
            thread.join(10)
            assert not thread.is_alive()
        else:
            engine.cancel(job)
        assert job.state is JobState.CANCELLED

    Runs(monkeypatch, {f"{stage}.onnx": cancel})
    run(engine)
    assert (job.state, job.speech, job.error) == (JobState.CANCELLED, None, None)
    assert_as_alone(other, alone[1])
    assert is_empty(engine)


def test_an_interrupt_of_work_frees_all_rows(bark: Bark, alone: list[Alone], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only those of the run that it hit: the caller may never make another step."""

    def strike() -> None:
        raise KeyboardInterrupt

    engine = bark.engine(slots=2)
    jobs = [engine.submit(alone[which].request) for which in (4, 1)]
    Runs(monkeypatch, {20: strike})
    with pytest.raises(KeyboardInterrupt):
        engine.work(jobs)
    assert all(job.ended for job in jobs)
    assert is_empty(engine)


def test_an_interrupt_of_the_handling_of_an_interrupt(bark: Bark, alone: list[Alone]) -> None:
    """A second Ctrl-C can cut off what the first one began; the next step ends the jobs of that run."""
    engine = bark.engine(slots=1)
    job = engine.submit(alone[4].request)
    for _ in range(20):
        engine.step()
    engine._work.jobs = [job]  # as a run leaves it that never came back
    following = engine.submit(alone[1].request)
    run(engine)
    assert job.state is JobState.FAILED
    assert "interrupted" in str(job.error)
    assert_as_alone(following, alone[1])
    assert is_empty(engine)


@pytest.mark.parametrize("streaming", [None, StreamOptions(), StreamOptions(exact=True)])
def test_tokens_for_less_than_a_frame(
    bark: Bark, streaming: StreamOptions | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are no speech: the job ends, and a batch has a place for it."""
    monkeypatch.setattr(Vocabulary, "coarse_length", lambda self, tokens: 2 * (tokens // 5))
    request = Request(TEXT, options=lasting(3), seed=1, streaming=streaming)
    engine = bark.engine(slots=1)
    job = engine.submit(request)
    run(engine)
    assert isinstance(job.error, NothingSaid)
    assert is_empty(engine)
    with pytest.raises(BatchError) as raised:
        bark.generate_batch([request, Request(TEXT, options=lasting(9), seed=2)])
    assert isinstance(raised.value.errors[0], NothingSaid)
    assert raised.value.speeches[0] is None
    assert raised.value.speeches[1] is not None
    with pytest.raises(NothingSaid):
        bark.generate(TEXT, options=lasting(3), seed=1)


def test_a_single_stage_that_raises_leaves_a_usable_bark(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = make_voice(bark.vocabulary, FULL)
    expected = bark.generate(TEXT, voice=voice, options=lasting(40), seed=3)

    def strike() -> None:
        raise RuntimeError("raised")

    for graph in ("semantic.onnx", "coarse.onnx", "fine.onnx", "codec.onnx"):
        with monkeypatch.context() as patch:
            Runs(patch, {graph: strike})
            with pytest.raises(RuntimeError, match="raised"):
                bark.generate(TEXT, voice=voice, options=lasting(40), seed=3)
        again = bark.generate(TEXT, voice=voice, options=lasting(40), seed=3)
        np.testing.assert_array_equal(again.tokens.fine, expected.tokens.fine)
