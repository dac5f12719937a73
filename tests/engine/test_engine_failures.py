"""Engines and batches in which something fails: it fails alone."""

from typing import Any

import numpy as np
import pytest

from bark_onnx import Bark, BarkError, BatchError, GenerationOptions
from bark_onnx.engine.job import Job, Request
from bark_onnx.graphs.fine import FineModel
from bark_onnx.sampling import host
from bark_onnx.sampling.host import HostFine
from bark_onnx.sampling.sequence import Errors, FineWindow, Rule
from utterances import SAYS_NOTHING, TEXT, TOLERANCE, Alone, assert_as_alone, is_empty, lasting, run

# Failures


def spoilt(stage: str, job: Job, patch: pytest.MonkeyPatch) -> None:
    """Logits that are no numbers, for this job alone, at a step in the middle of the stage."""
    count = 0

    def draw(logits: Any, rule: Rule, uniform: float) -> int:
        nonlocal count
        own = uniform == getattr(job, stage).stream.last
        count += own
        return real_draw(logits * np.nan if count == 4 and own else logits, rule, uniform)

    def fill(loop: HostFine, windows: list[FineWindow], given: int) -> Errors:
        model = loop._model
        places = [place for place, window in enumerate(windows) if window.codes is job.fine.window]

        def logits(codes: Any, codebook: int) -> Any:
            made = real_logits(model, codes, codebook)
            made[places] *= np.nan if codebook == 5 else 1
            return made

        with patch.context() as inner:
            inner.setattr(model, "logits", logits)
            return real_fill(loop, windows, given)

    real_draw, real_fill, real_logits = host.draw, HostFine.fill, FineModel.logits
    if stage == "fine":
        patch.setattr(HostFine, "fill", fill)
    else:
        getattr(job, stage).stream = Recorded(getattr(job, stage).stream)
        patch.setattr(host, "draw", draw)


class Recorded:
    """A random stream that remembers its last number, by which a test finds the sequence that took it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last = -1.0

    def random(self) -> float:
        self.last = self._stream.random()
        return self.last


@pytest.mark.parametrize("which", [4, 6, 8], ids=["whole", "exact", "streaming"])
@pytest.mark.parametrize("stage", ["semantic", "coarse", "fine"])
def test_bad_logits_end_one_job_alone(
    bark: Bark, alone: list[Alone], stage: str, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bark.engine(slots=4)
    others = [2, 3, 5, 1]
    jobs = [engine.submit(alone[other].request) for other in others]
    broken = engine.submit(alone[which].request)
    spoilt(stage, broken, monkeypatch)
    run(engine)
    assert broken.speech is None
    assert "not numbers" in str(broken.error)
    assert broken.ended
    for job, other in zip(jobs, others, strict=True):
        assert_as_alone(job, alone[other])
    assert is_empty(engine)


def test_an_utterance_that_ends_at_once_fails_alone(bark: Bark, alone: list[Alone]) -> None:
    engine = bark.engine(slots=1)
    silent = [engine.submit(Request(TEXT, voice=None, seed=seed, options=SAYS_NOTHING)) for seed in range(3)]
    job = engine.submit(alone[5].request)
    run(engine)
    assert all("ended the utterance before it began" in str(one.error) for one in silent)
    assert_as_alone(job, alone[5])


BAD_REQUESTS = {
    "no voice 'nobody'": Request(TEXT, voice="nobody"),
    "text is empty": Request("  "),
    "seed": Request(TEXT, seed=-1),
    "do.*not fit|fit in the model": Request(TEXT, options=GenerationOptions(sliding_window=700)),
}


@pytest.mark.parametrize("complaint", BAD_REQUESTS)
def test_errors_at_submit_change_nothing(bark: Bark, alone: list[Alone], complaint: str) -> None:
    engine = bark.engine(slots=1)
    with pytest.raises(BarkError, match=complaint):
        engine.submit(BAD_REQUESTS[complaint])
    assert not engine.step()
    jobs = [engine.submit(alone[n].request) for n in (5, 1)]
    for _ in range(60):
        engine.step()
    with pytest.raises(BarkError, match=complaint):
        engine.submit(BAD_REQUESTS[complaint])
    run(engine)
    assert_as_alone(jobs[0], alone[5])
    assert_as_alone(jobs[1], alone[1])


# Batches


def test_a_batch_is_in_the_order_of_its_requests(bark: Bark, alone: list[Alone]) -> None:
    """Though the first takes longest, and the third streams."""
    order = [alone[n] for n in (7, 1, 5, 1, 0)]
    speeches = bark.generate_batch([expected.request for expected in order], slots=2)
    assert len(speeches) == len(order)
    for speech, expected in zip(speeches, order, strict=True):
        assert speech.seed == expected.request.seed
        np.testing.assert_array_equal(speech.tokens.fine, expected.speech.tokens.fine)
        np.testing.assert_allclose(speech.waveform, expected.speech.waveform, rtol=0, atol=TOLERANCE)


def test_a_batch_of_nothing(bark: Bark) -> None:
    assert bark.generate_batch([]) == []


def test_drawn_seeds_of_a_batch_are_told(bark: Bark) -> None:
    first, second = bark.generate_batch([Request(TEXT, options=lasting(9))] * 2)
    assert first.seed != second.seed
    for speech in (first, second):
        again = bark.generate(TEXT, options=lasting(9), seed=speech.seed)
        np.testing.assert_array_equal(again.tokens.semantic, speech.tokens.semantic)


def test_a_batch_error_has_the_others_speeches(bark: Bark, alone: list[Alone]) -> None:
    silent = Request(TEXT, voice=None, seed=1, options=SAYS_NOTHING)
    with pytest.raises(BatchError, match=r"^2 of 4 utterances failed; request 1: the model ended") as raised:
        bark.generate_batch([alone[2].request, silent, alone[3].request, silent], slots=2)
    assert raised.value.errors.keys() == {1, 3}
    assert raised.value.speeches[1::2] == [None, None]
    for speech, expected in zip(raised.value.speeches[::2], (alone[2], alone[3]), strict=True):
        assert speech is not None
        np.testing.assert_array_equal(speech.tokens.fine, expected.speech.tokens.fine)


def test_a_batch_with_a_bad_request_names_it_and_does_the_others(bark: Bark, alone: list[Alone]) -> None:
    requests = [alone[1].request, Request(TEXT, voice="nobody"), Request(" "), alone[3].request]
    with pytest.raises(BatchError, match=r"^2 of 4 utterances failed; request 1: no voice 'nobody'") as raised:
        bark.generate_batch(requests)
    assert raised.value.errors.keys() == {1, 2}
    assert "empty" in str(raised.value.errors[2])
    for speech, expected in zip(raised.value.speeches[::3], (alone[1], alone[3]), strict=True):
        assert speech is not None
        np.testing.assert_array_equal(speech.tokens.fine, expected.speech.tokens.fine)
