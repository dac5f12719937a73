"""AAC through PyAV: what a player finds is the speech, at each rate, whole and streamed, and it comes early."""

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bark_onnx import BarkError
from bark_onnx.arrays import Waveform
from bark_onnx.audio import pyav
from bark_onnx.audio.aac import AAC_RATES, FRAME, adts_header
from bark_onnx.audio.encoder import StreamEncoder, encode
from bark_onnx.audio.files import AudioWriter
from synthetic_speech import speech

RATE = 24_000
SPEECH = speech(2.5, seed=1, dbfs=-20, rate=RATE)
FFPROBE = shutil.which("ffprobe")


def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed."""
    monkeypatch.setitem(sys.modules, "av.filter", None)


def streamed(waveforms: list[Waveform], output_rate: int | None = None) -> bytes:
    with StreamEncoder("aac", RATE, output_rate) as encoder:
        return b"".join([*(encoder.push(waveform) for waveform in waveforms), encoder.finish()])


def decoded(content: bytes, rate: int) -> Waveform:
    """What PyAV reads."""
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(content)) as file:
        (stream,) = file.streams
        assert (file.format.name, stream.rate, stream.channels, stream.profile) == ("aac", rate, 1, "LC")
        return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(stream)])


@pytest.fixture(autouse=True)
def has_pyav(request: pytest.FixtureRequest) -> None:
    if "monkeypatch" not in request.fixturenames:
        pytest.importorskip("av")


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, RATE, 44_100, 48_000, 96_000])
def test_a_player_finds_the_speech_one_frame_later(rate: int) -> None:
    expected = np.frombuffer(encode(SPEECH, RATE, "pcm", rate), "<i2") / np.float32(32768)
    read = decoded(encode(SPEECH, RATE, "aac", rate), rate)
    assert FRAME <= len(read) - len(expected) < 2 * FRAME  # the delay, and a last frame that is full
    at = [np.dot(read[late : late + 4000], expected[:4000]) for late in range(FRAME - 30, FRAME + 30)]
    assert np.argmax(at) + FRAME - 30 == FRAME
    heard = read[FRAME : FRAME + len(expected)]
    assert np.corrcoef(heard, expected)[0, 1] > 0.98
    assert np.sqrt(np.mean(heard**2) / np.mean(expected**2)) == pytest.approx(1, abs=0.02)


def test_a_stream_is_the_file_and_does_not_depend_on_the_pieces() -> None:
    whole = encode(SPEECH, RATE, "aac")
    rng = np.random.default_rng(0)
    for lengths in ([1] * 1500, rng.integers(0, 3000, 50), [FRAME] * 10):
        assert streamed(np.split(SPEECH, np.cumsum(lengths))) == whole


@pytest.mark.parametrize("length", [0, 1, FRAME - 1, FRAME, FRAME + 1])
def test_short_ones_are_complete(length: int) -> None:
    read = decoded(encode(SPEECH[:length], RATE, "aac"), RATE)
    assert FRAME + length <= len(read) <= 2 * FRAME + length


def test_what_came_within_130_ms_is_sound() -> None:
    with StreamEncoder("aac", RATE) as encoder:
        early = encoder.push(SPEECH[: RATE * 13 // 100])
    read = decoded(early, RATE)
    assert np.abs(read[FRAME:]).max() > 0.3 * np.abs(SPEECH[:FRAME]).max()


def test_samples_that_are_not_numbers_are_silence() -> None:
    waveform = np.full(RATE, np.nan, np.float32)
    waveform[RATE // 2] = np.inf
    read = decoded(encode(waveform, RATE, "aac"), RATE)
    assert np.abs(read[: RATE // 4]).max() < 0.01


def test_a_header_says_how_to_read_its_frame() -> None:
    """The bits of a header by hand: 0xFFF, MPEG-4, no checksum; LC, 24 kHz (6), mono; 7 + 300 bytes; a varying rate."""
    bits = f"{int.from_bytes(adts_header(24_000, 300), 'big'):056b}"
    assert bits == "11111111111100010101100001000000001001100111111111111100"
    assert [AAC_RATES.index(rate) for rate in (96_000, 44_100, 8_000)] == [0, 4, 11]


@pytest.mark.skipif(FFPROBE is None, reason="ffprobe is not installed")
def test_ffprobe_reads_it(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "out.aac", RATE) as writer:
        writer.write(SPEECH)
    command = [str(FFPROBE), "-v", "error", "-show_entries", "stream=codec_name,profile,sample_rate,channels"]
    shown = subprocess.run([*command, tmp_path / "out.aac"], capture_output=True, text=True, timeout=60, check=True)
    assert re.findall(r"=(\w+)", shown.stdout) == ["aac", "LC", "24000", "1"]


def test_without_pyav_it_is_a_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_pyav(monkeypatch)
    advice = (
        r"^aac needs PyAV: in a checkout of bark-onnx, run pip install '\.\[av\]' \(with its wheel: 'WHEEL\[av\]'\)$"
    )
    with pytest.raises(BarkError, match=advice):
        StreamEncoder("aac", RATE)
    with pytest.raises(BarkError, match=advice):
        AudioWriter(tmp_path / "out.aac", RATE)
    assert not pyav.has_pyav()
    assert len(encode(SPEECH, RATE, "pcm")) == 2 * len(SPEECH)


def test_an_error_of_ffmpegs_is_a_line() -> None:
    av = pytest.importorskip("av")

    advice = r"^cannot write aac: .*Invalid argument.* \(PyAV .*, libavcodec .*\)$"
    with pytest.raises(BarkError, match=advice), pyav.one_line("cannot write aac"):
        raise av.FFmpegError(22, "Invalid argument")
