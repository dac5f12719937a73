"""Audio that is written as it comes: PCM, WAV headers for a pipe, files that grow; whole or not at all."""

import io
import resource
import shutil
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bark_onnx import BarkError
from bark_onnx.arrays import Waveform
from bark_onnx.audio.files import FORMATS, AudioWriter, encode, pcm, save_audio, wav_header
from synthetic_speech import speech

RATE = 24_000
SPEECH = speech(2.5, seed=1, dbfs=-15, rate=RATE)

WAVEFORMS = arrays.arrays(np.float32, st.integers(0, 300), elements=st.floats(-1.5, 1.5, width=32))


def pieces(waveform: Waveform, seed: int, most: int) -> Iterator[Waveform]:
    stream, start = np.random.default_rng(seed), 0
    while start < len(waveform):
        length = int(stream.integers(0, most))
        yield waveform[start : start + length]
        start += length


@given(WAVEFORMS)
def test_pcm_is_clipped_and_rounded_to_nearest(waveform: Waveform) -> None:
    samples = np.frombuffer(pcm(waveform), "<i2")
    exact = (waveform.astype(np.float64) * 32768).clip(-32768, 32767)
    assert len(samples) == len(waveform)
    assert np.abs(samples - exact).max(initial=0) <= 0.5


def test_pcm_of_known_samples() -> None:
    waveform = np.array([0, 1, -1, 0.5, 1e9, -1e9, 0.6 / 32768, -0.6 / 32768], np.float32)
    assert struct.unpack("<8h", pcm(waveform)) == (0, 32767, -32768, 16384, 32767, -32768, 1, -1)


def test_pcm_of_what_is_no_number_is_silence() -> None:
    assert struct.unpack("<3h", pcm(np.array([np.nan, np.inf, -np.inf], np.float32))) == (0, 32767, -32768)


@pytest.mark.parametrize("waveform", [SPEECH, SPEECH * 8, SPEECH[:1], SPEECH[:0]])
def test_header_and_pcm_are_the_file(waveform: Waveform) -> None:
    assert wav_header(RATE, len(waveform)) + pcm(waveform) == encode(waveform, RATE)


def test_flac_has_the_samples_of_pcm() -> None:
    samples, _ = soundfile.read(io.BytesIO(encode(SPEECH, RATE, "FLAC")), dtype="int16")
    assert samples.astype("<i2").tobytes() == pcm(SPEECH)


def test_a_stream_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    header = wav_header(RATE, None)
    assert header == b"RIFF\xff\xff\xff\xffWAVE" + wav_header(RATE, 0)[12:40] + b"\xff\xff\xff\xff"
    (tmp_path / "stream.wav").write_bytes(header + pcm(SPEECH))
    samples, sample_rate = soundfile.read(tmp_path / "stream.wav", dtype="int16")
    assert (sample_rate, samples.astype("<i2").tobytes()) == (RATE, pcm(SPEECH))


def test_a_wav_header_says_its_rate_and_width() -> None:
    audio_format, channels, rate, byte_rate, block, bits = struct.unpack("<HHIIHH", wav_header(44_100, 7)[20:36])
    assert (audio_format, channels, rate, byte_rate, block, bits) == (1, 1, 44_100, 88_200, 2, 16)


def test_a_wav_header_cannot_say_more_than_four_gigabytes() -> None:
    most = (2**32 - 1 - 36) // 2
    assert len(wav_header(RATE, most)) == 44
    with pytest.raises(BarkError, match="too many for a WAV"):
        wav_header(RATE, most + 1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), most=st.sampled_from([2, 500, 9_000, 40_000]), suffix=st.sampled_from(list(FORMATS)))
def test_pieces_make_the_file_of_the_whole(
    seed: int, most: int, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("audio")
    waveform = SPEECH[: 3_000 if most == 2 else None]
    with AudioWriter(directory / f"pieces{suffix}", RATE) as writer:
        for piece in pieces(waveform, seed, most):
            writer.write(piece)
    save_audio(directory / f"whole{suffix}", waveform, RATE)
    in_pieces, whole = (soundfile.read(directory / f"{name}{suffix}")[0] for name in ("pieces", "whole"))
    assert np.array_equal(in_pieces, whole)
    assert len(whole) == len(waveform)
    if suffix != ".ogg":  # an Ogg stream has a random serial number
        assert (directory / f"pieces{suffix}").read_bytes() == (directory / f"whole{suffix}").read_bytes()


def test_nothing_written_is_an_empty_file(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "empty.wav", RATE):
        pass
    assert (tmp_path / "empty.wav").read_bytes() == wav_header(RATE, 0)


def test_minutes_of_ogg_at_once(tmp_path: Path) -> None:
    """Libsndfile's Vorbis encoder ends the process when it is handed these in one call."""
    waveform = np.zeros(400 * RATE, np.float32)
    save_audio(tmp_path / "long.ogg", waveform, RATE)
    assert soundfile.info(tmp_path / "long.ogg").frames == len(waveform)


def test_the_file_takes_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"old")
    with AudioWriter(path, RATE) as writer:
        writer.write(SPEECH)
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == encode(SPEECH, RATE)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", list(FORMATS))
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path: Path, suffix: str, error: type[BaseException]) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with AudioWriter(path, RATE) as writer:
            writer.write(SPEECH)
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_memory_is_flat(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "long.wav", RATE) as writer:
        writer.write(SPEECH)
        tracemalloc.start()
        for _ in range(100):
            writer.write(SPEECH)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * SPEECH.nbytes
    assert soundfile.info(tmp_path / "long.wav").frames == 101 * len(SPEECH)


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_a_full_disk_is_one_line(tmp_path: Path, suffix: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write() -> None:
        with AudioWriter(tmp_path / f"out{suffix}", RATE) as writer:
            for _ in range(4):
                writer.write(SPEECH)

    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, limits[1]))
    try:
        with pytest.raises(BarkError, match=rf"cannot write .*out\{suffix}: .*is the disk full\?") as raised:
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.__suppress_context__
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    writer = AudioWriter(tmp_path / "none" / "out.wav", RATE)
    with pytest.raises(BarkError, match=r"cannot write .*none/out\.wav: No such file or directory"):
        writer.__enter__()


def test_a_directory_that_vanishes_is_one_line(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()

    def write() -> None:
        with AudioWriter(directory / "out.wav", RATE) as writer:
            writer.write(SPEECH)
            shutil.rmtree(directory)

    with pytest.raises(BarkError, match=r"cannot write .*gone/out\.wav: No such file or directory"):
        write()


def test_a_suffix_that_is_no_format_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BarkError, match="no audio format for the suffix"):
        AudioWriter(tmp_path / "out.doc", RATE)


def test_writing_outside_of_the_with_statement(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "out.wav", RATE) as writer:
        pass
    with pytest.raises(ValueError, match="outside"):
        writer.write(SPEECH)
