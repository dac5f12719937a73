"""The voice that comes with the package: it is there, it says so, and every way of speaking works with it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_onnx import Bark, GenerationOptions, Guards, NarrationOptions, Request, compat
from bark_onnx.model.place import EMBEDDED
from run_command import assert_fails, assert_silent, run

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "export" / "bark_onnx_nano" / "bark-nano"
GREEDY = GenerationOptions(text_temperature=0, coarse_temperature=0, fine_temperature=0)
VOICES = ["en_female", "en_male"]
SENTENCES = (ROOT / "export" / "bark_onnx_nano" / "held_out.txt").read_text(encoding="utf-8").splitlines()
MEGABYTES = {EMBEDDED: 16, CHECKPOINT: 32}


@pytest.fixture(scope="module")
def nano() -> Bark:
    return Bark.load(device="cpu", threads=1)


@pytest.mark.parametrize("directory", list(MEGABYTES), ids=lambda path: path.name)
def test_what_is_shipped_is_small(directory: Path) -> None:
    total = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    assert 10e6 < total < MEGABYTES[directory] * 1e6


def test_marks_are_not_spoken(nano: Bark) -> None:
    plain = nano.generate("It is a good day.", voice="en_male", options=GREEDY, seed=0).duration
    marked = nano.generate("It is a good day. [laughs]", voice="en_male", options=GREEDY, seed=0).duration
    assert abs(marked - plain) < 0.5


def test_a_stream_and_a_batch_say_the_same(nano: Bark) -> None:
    requests = [Request("Good evening.", voice=voice, seed=2, options=GREEDY) for voice in VOICES]
    for request, together in zip(requests, nano.generate_batch(requests), strict=True):
        alone = nano.generate(request.text, voice=request.voice, options=GREEDY, seed=2)
        assert np.array_equal(together.tokens.fine, alone.tokens.fine)
        streamed = nano.stream(request.text, voice=request.voice, options=GREEDY, seed=2)
        chunks = [chunk.waveform for chunk in streamed]
        assert len(chunks) > 2
        assert streamed.speech is not None
        assert np.array_equal(streamed.speech.tokens.coarse, alone.tokens.coarse)


def test_a_long_text_finds_no_fault_with_its_passages(nano: Bark) -> None:
    words = " ".join(SENTENCES[:6])
    narration = NarrationOptions(passage_seconds=6, guards=Guards(retries=1))
    spoken = list(nano.generate_long(words, voice="en_female", seed=4, narration=narration))
    assert len(spoken) > 1
    assert [passage.problems for passage in spoken if passage.problems] == []


def test_say_tells_whose_voice_it_is(tmp_path: Path) -> None:
    result = run("say", "Hello.", "--device", "cpu", "--seed", "7", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, b"")
    line, summary = result.stderr.decode().splitlines()
    assert line == (
        "bark-onnx: this is nano, a demonstration voice; for Bark: bark-onnx export suno/bark-small DIR, "
        "then say --bundle DIR"
    )
    assert summary.endswith("; seed 7")
    waveform, rate = soundfile.read(tmp_path / "out.wav")
    assert 0.3 * rate < len(waveform) < 3 * rate
    assert_silent(run("say", "Hello.", "--quiet", "--seed", "7", "-o", tmp_path / "quiet.wav"))


def test_commands_without_a_bundle_mean_it() -> None:
    assert run("voices").stdout.decode().split() == VOICES
    assert b"bark-nano" in run("info").stdout
    assert run("verify").returncode == 0
    assert_fails(run("say", "Hello.", "-q", "--voice", "v2/en_speaker_6"), "v2/en_speaker_6", "en_female")


def test_a_program_of_suno_s_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat.generation, "models", {})
    monkeypatch.delenv("BARK_ONNX_BUNDLE", raising=False)
    audio = compat.generate_audio("Hello.", history_prompt="en_male", silent=True, seed=1)
    assert isinstance(audio, np.ndarray)
    assert np.abs(audio).max() > 0.05
