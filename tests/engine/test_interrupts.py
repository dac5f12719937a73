"""Ctrl-C between two runs of one step: no run was hit, so every job goes on. All on nano."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import pytest

from bark_onnx import Bark, GenerationOptions, Request, StreamOptions
from bark_onnx.engine.job import Job, JobState
from bark_onnx.engine.work import Work

OPTIONS = GenerationOptions(max_seconds=0.3, allow_early_stop=False)


@pytest.mark.parametrize("number", [1, 2])  # the first chunk's, and the last one's
@pytest.mark.parametrize("streaming", [None, StreamOptions(), StreamOptions(exact=True)])
def test_between_the_fine_model_and_the_codec(
    streaming: StreamOptions | None, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request("Hello.", options=OPTIONS, seed=1, streaming=streaming)
    real, codec_runs = Work.on, 0

    def on(work: Work, stage: str, jobs: Sequence[Job]) -> AbstractContextManager[None]:
        nonlocal codec_runs
        codec_runs += stage == "codec"
        if stage == "codec" and codec_runs == number:
            raise KeyboardInterrupt
        return real(work, stage, jobs)

    with Bark.load(device="cpu", threads=1) as bark:
        expected = bark.engine(slots=1).run([request])[0].result()
        monkeypatch.setattr(Work, "on", on)
        engine = bark.engine(slots=1)
        job, interrupts, more = engine.submit(request), 0, True
        while more:
            try:
                more = engine.step()
            except KeyboardInterrupt:
                interrupts += 1
        assert interrupts == (number <= codec_runs)
        assert job.state is JobState.DONE, job.error
        np.testing.assert_array_equal(job.result().waveform, expected.waveform)
        assert engine.idle
