"""The voice that comes with the package: it is there, it says so, and a recogniser hears the words."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_onnx import Bark, GenerationOptions, Guards, NarrationOptions, Request, compat
from bark_onnx.model.bundle import EMBEDDED, Bundle
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from bark_onnx_nano.judging.recognise import recognise, word_errors
from bark_onnx_nano.text.sentences import held_out
from bark_onnx_nano.units import voice_of
from run_command import assert_fails, assert_silent, run

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "export" / "bark_onnx_nano" / "bark-nano"
GREEDY = GenerationOptions(text_temperature=0, coarse_temperature=0, fine_temperature=0)
UNITS_OF = {"en_female": "slt", "en_male": "rms"}
WORD_ERRORS = {"en_female": 0.6, "en_male": 0.25}
MEGABYTES = {EMBEDDED: 16, CHECKPOINT: 32}


@pytest.fixture(scope="module")
def nano() -> Bark:
    return Bark.load(device="cpu", threads=1)


@pytest.mark.parametrize("directory", list(MEGABYTES), ids=lambda path: path.name)
def test_what_is_shipped_is_small(directory: Path) -> None:
    total = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    assert 10e6 < total < MEGABYTES[directory] * 1e6


def test_the_bundle_is_what_export_makes_of_the_checkpoint(nano: Bark, tmp_path: Path) -> None:
    export_bundle(open_checkpoint(str(CHECKPOINT)), tmp_path / "nano", ExportOptions("int8"))
    again, shipped = Bundle.open(tmp_path / "nano").manifest, nano.bundle.manifest
    assert (again.model, again.precisions, again.sizes, again.vocabulary) == (
        shipped.model, shipped.precisions, shipped.sizes, shipped.vocabulary
    )  # fmt: skip
    assert list(again.files) == list(shipped.files)
    own = Bark.load(tmp_path / "nano", device="cpu", threads=1)
    said, expected = (bark.generate("Good morning.", voice="en_male", options=GREEDY, seed=1) for bark in (own, nano))
    for name in ("semantic", "coarse", "fine"):
        assert np.array_equal(getattr(said.tokens, name), getattr(expected.tokens, name))


@pytest.mark.parametrize("voice", UNITS_OF)
def test_a_recogniser_hears_the_words(nano: Bark, voice: str) -> None:
    """As few sentences tell: the model card has the figures of all."""
    sentences = held_out()[::12]
    speeches = [nano.generate(sentence, voice=voice, options=GREEDY, seed=0) for sentence in sentences]
    heard = [recognise(speech.waveform, speech.sample_rate) for speech in speeches]
    assert word_errors(sentences, heard).rate < WORD_ERRORS[voice]
    assert {voice_of(speech.tokens.semantic) for speech in speeches} == {UNITS_OF[voice]}


def test_marks_are_not_spoken(nano: Bark) -> None:
    plain = nano.generate("It is a good day.", voice="en_male", options=GREEDY, seed=0).duration
    marked = nano.generate("It is a good day. [laughs]", voice="en_male", options=GREEDY, seed=0).duration
    assert abs(marked - plain) < 0.5


def test_a_stream_and_a_batch_say_the_same(nano: Bark) -> None:
    requests = [Request("Good evening.", voice=voice, seed=2, options=GREEDY) for voice in UNITS_OF]
    for request, together in zip(requests, nano.generate_batch(requests), strict=True):
        alone = nano.generate(request.text, voice=request.voice, options=GREEDY, seed=2)
        assert abs(together.duration - alone.duration) < 0.25  # int8 activations share a scale in a batch
        streamed = nano.stream(request.text, voice=request.voice, options=GREEDY, seed=2)
        chunks = [chunk.waveform for chunk in streamed]
        assert len(chunks) > 2
        assert streamed.speech is not None
        assert np.array_equal(streamed.speech.tokens.coarse, alone.tokens.coarse)


def test_a_long_text_finds_no_fault_with_its_passages(nano: Bark) -> None:
    words = " ".join(held_out()[:6])
    narration = NarrationOptions(passage_seconds=6, guards=Guards(retries=1))
    spoken = list(nano.generate_long(words, voice="en_female", seed=4, narration=narration))
    assert len(spoken) > 1
    assert [passage.problems for passage in spoken if passage.problems] == []


def test_say_tells_whose_voice_it_is(tmp_path: Path) -> None:
    result = run("say", "Hello.", "--device", "cpu", "--seed", "7", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, b"")
    assert result.stderr.decode().splitlines() == [
        "bark-onnx: this is nano, the small demonstration voice that comes with bark-onnx; for Bark's own, once: "
        "bark-onnx export suno/bark-small DIR --precision int8, and then say --bundle DIR"
    ]
    waveform, rate = soundfile.read(tmp_path / "out.wav")
    assert 0.3 * rate < len(waveform) < 3 * rate
    assert_silent(run("say", "Hello.", "--quiet", "--seed", "7", "-o", tmp_path / "quiet.wav"))


def test_commands_without_a_bundle_mean_it() -> None:
    assert run("voices").stdout.decode().split() == list(UNITS_OF)
    assert b"bark-nano" in run("info").stdout
    assert run("verify").returncode == 0
    assert_fails(run("say", "Hello.", "-q", "--voice", "v2/en_speaker_6"), "v2/en_speaker_6", "en_female")


def test_a_program_of_suno_s_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "_loaded", None)
    monkeypatch.delenv("BARK_ONNX_BUNDLE", raising=False)
    audio = compat.generate_audio("Hello.", history_prompt="en_male", silent=True, seed=1)
    assert isinstance(audio, np.ndarray)
    assert np.abs(audio).max() > 0.05
