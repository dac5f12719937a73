"""Writing audio: samples as bytes, WAV streams of unknown length, and files that are written whole or not at all."""

import io
import os
import re
import resource
import shutil
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from audio_formats import READABLE, WRITABLE
from audio_pages import ogg_pages
from bark_onnx import BarkError
from bark_onnx.arrays import Waveform
from bark_onnx.audio import files
from bark_onnx.audio.encoder import StreamEncoder, encode
from bark_onnx.audio.files import AudioWriter, format_of
from bark_onnx.audio.formats import FORMATS, SUFFIXES
from bark_onnx.audio.samples import pcm, wav_header
from synthetic_speech import speech

RATE = 24_000
SPEECH = speech(2.5, seed=1, dbfs=-15, rate=RATE)
WRITABLE_SUFFIXES = [f".{name}" for name in WRITABLE]

WAVEFORMS = arrays.arrays(np.float32, st.integers(0, 300), elements=st.floats(-1.5, 1.5, width=32))


def pieces(waveform: Waveform, seed: int, most: int) -> Iterator[Waveform]:
    stream, start = np.random.default_rng(seed), 0
    while start < len(waveform):
        length = int(stream.integers(0, most))
        yield waveform[start : start + length]
        start += length


def write(target: Path, *waveforms: Waveform) -> None:
    with AudioWriter(target, RATE) as writer:
        for waveform in waveforms:
            writer.write(waveform)


# Samples as bytes


@given(WAVEFORMS)
def test_pcm_is_clipped_and_rounded_to_nearest(waveform: Waveform) -> None:
    samples = np.frombuffer(pcm(waveform), "<i2")
    exact = (waveform.astype(np.float64) * 32768).clip(-32768, 32767)
    assert len(samples) == len(waveform)
    assert np.abs(samples - exact).max(initial=0) <= 0.5


def test_pcm_of_known_samples() -> None:
    waveform = np.array([0, 1, -1, 0.5, 1e9, -1e9, 0.6 / 32768, -0.6 / 32768], np.float32)
    assert struct.unpack("<8h", pcm(waveform)) == (0, 32767, -32768, 16384, 32767, -32768, 1, -1)


def test_pcm_of_nan_is_silence_and_of_infinity_full_scale() -> None:
    assert struct.unpack("<3h", pcm(np.array([np.nan, np.inf, -np.inf], np.float32))) == (0, 32767, -32768)


@pytest.mark.parametrize("waveform", [SPEECH, SPEECH * 8, SPEECH[:1], SPEECH[:0]])
def test_a_wav_file_is_a_header_with_sizes_and_the_samples(waveform: Waveform) -> None:
    content = encode(waveform, RATE)
    sizes = struct.unpack("<I", content[4:8]) + struct.unpack("<I", content[40:44])
    assert sizes == (36 + 2 * len(waveform), 2 * len(waveform))
    assert content[44:] == pcm(waveform)


def test_flac_has_the_samples_of_pcm() -> None:
    samples, _ = soundfile.read(io.BytesIO(encode(SPEECH, RATE, "flac")), dtype="int16")
    assert samples.astype("<i2").tobytes() == pcm(SPEECH)


# Streams of unknown length


def test_a_wav_stream_begins_as_a_wav_file_but_without_sizes() -> None:
    header, of_file = wav_header(RATE), encode(SPEECH, RATE)[:44]
    assert header == b"RIFF\xff\xff\xff\xffWAVE" + of_file[12:40] + b"\xff\xff\xff\xff"


def test_a_wav_header_has_the_sample_rate_and_width() -> None:
    audio_format, channels, rate, byte_rate, block, bits = struct.unpack("<HHIIHH", wav_header(44_100)[20:36])
    assert (audio_format, channels, rate, byte_rate, block, bits) == (1, 1, 44_100, 88_200, 2, 16)


def test_a_wav_stream_is_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "stream.wav").open("wb") as file, StreamEncoder("wav", RATE) as encoder:
        for piece in pieces(SPEECH, 1, 9_000):
            file.write(encoder.push(piece))
        file.write(encoder.finish())
    samples, sample_rate = soundfile.read(tmp_path / "stream.wav", dtype="int16")
    assert (sample_rate, samples.astype("<i2").tobytes()) == (RATE, pcm(SPEECH))


def test_a_wav_stream_passes_on_each_piece_at_once() -> None:
    reader, writer = os.pipe()
    with (
        os.fdopen(reader, "rb", buffering=0) as received,
        os.fdopen(writer, "wb") as file,
        AudioWriter(file, RATE) as stream,
    ):
        stream.write(SPEECH[:0])
        assert received.read(1000) == wav_header(RATE)
        stream.write(SPEECH[:10])
        assert received.read(1000) == pcm(SPEECH[:10])


def test_a_raw_stream_has_no_header() -> None:
    with StreamEncoder("pcm", RATE) as encoder:
        assert encoder.push(SPEECH) == pcm(SPEECH)


# Files


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32), most=st.sampled_from([2, 500, 9_000, 40_000]), suffix=st.sampled_from(WRITABLE_SUFFIXES)
)
def test_a_file_does_not_depend_on_the_pieces_it_was_written_in(
    seed: int, most: int, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("audio")
    waveform = SPEECH[: 3_000 if most == 2 else None]
    write(directory / f"pieces{suffix}", *pieces(waveform, seed, most))
    write(directory / f"whole{suffix}", waveform)
    (directory / f"encoded{suffix}").write_bytes(encode(waveform, RATE, suffix[1:]))
    if suffix[1:] in READABLE and suffix != ".pcm":
        in_pieces, whole, encoded = (
            soundfile.read(directory / f"{name}{suffix}")[0] for name in ("pieces", "whole", "encoded")
        )
        assert np.array_equal(in_pieces, whole)
        assert np.array_equal(in_pieces, encoded)
        assert len(whole) == len(waveform)
    if suffix not in (".ogg", ".opus"):  # an Ogg stream has a random serial number
        contents = {(directory / f"{name}{suffix}").read_bytes() for name in ("pieces", "whole", "encoded")}
        assert len(contents) == 1


def test_a_file_without_samples(tmp_path: Path) -> None:
    write(tmp_path / "empty.wav")
    assert (tmp_path / "empty.wav").read_bytes() == encode(SPEECH[:0], RATE)
    assert soundfile.info(tmp_path / "empty.wav").frames == 0


def test_an_open_file_stays_open() -> None:
    content = io.BytesIO()
    with AudioWriter(content, RATE, "flac") as writer:
        writer.write(SPEECH)
    assert content.getvalue() == encode(SPEECH, RATE, "flac")


def test_minutes_of_ogg_at_once(tmp_path: Path) -> None:
    """Libsndfile's Vorbis encoder crashes when it gets these samples in one call."""
    waveform = np.zeros(400 * RATE, np.float32)
    write(tmp_path / "long.ogg", waveform)
    assert soundfile.info(tmp_path / "long.ogg").frames == len(waveform)


def test_a_wav_file_longer_than_its_sizes_can_say_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 24.8 < files.MOST_WAV_BYTES / 2 / RATE / 3600 < 24.9
    monkeypatch.setattr(files, "MOST_WAV_BYTES", 44 + 4 * len(SPEECH))
    write(tmp_path / "long.wav", SPEECH, SPEECH)
    with pytest.raises(BarkError, match=r"cannot write .*longer\.wav: a WAV file cannot be this long"):
        write(tmp_path / "longer.wav", SPEECH, SPEECH, SPEECH[:1])
    write(tmp_path / "longer.flac", SPEECH, SPEECH, SPEECH[:1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.wav", "longer.flac"]


def test_the_old_file_stays_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"old")
    with AudioWriter(path, RATE) as writer:
        writer.write(SPEECH)
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == encode(SPEECH, RATE)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_exception_the_old_file_is_still_there(
    tmp_path: Path, suffix: str, error: type[BaseException]
) -> None:
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


# What is not a plain file


@pytest.mark.parametrize("suffix", ["", ".wav"])
def test_a_named_pipe_gets_wav_as_a_stream_and_stays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    write(path, SPEECH[:100], SPEECH[100:])
    reader.join()
    assert received == [wav_header(RATE) + pcm(SPEECH)]
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_of_a_named_pipe_that_ends_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)

    def read_a_little() -> None:
        with path.open("rb", buffering=0) as file:
            file.read(44)

    reader = threading.Thread(target=read_a_little)
    reader.start()
    with pytest.raises(BarkError, match=r"cannot write .*pipe\.wav: Broken pipe"):
        write(path, *[SPEECH] * 100)
    reader.join()


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="needs POSIX's /dev/null")
def test_a_device_is_written_to() -> None:
    write(Path("/dev/null"), SPEECH)
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("suffix", [suffix for suffix in WRITABLE_SUFFIXES if SUFFIXES[suffix].streams])
def test_a_named_pipe_gets_any_format_that_can_be_streamed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    write(path, SPEECH[:100], SPEECH[100:])
    reader.join()
    with StreamEncoder(suffix[1:], RATE) as encoder:
        stream = encoder.push(SPEECH) + encoder.finish()
    assert ogg_pages(received[0]) == ogg_pages(stream) if suffix in (".ogg", ".opus") else received[0] == stream


def test_a_named_pipe_does_not_take_flac(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.flac")
    with pytest.raises(BarkError, match=r"flac cannot be streamed; use \.wav, \.ogg, \.opus, \.mp3, \.aac, \.pcm"):
        format_of(tmp_path / "pipe.flac")
    with pytest.raises(BarkError, match="flac cannot be streamed"):
        AudioWriter(tmp_path / "pipe.flac", RATE, "flac")


# Failures


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_a_full_disk_is_one_line(tmp_path: Path, suffix: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, limits[1]))
    try:
        with pytest.raises(BarkError, match=rf"cannot write .*out{re.escape(suffix)}: File too large") as raised:
            write(tmp_path / f"out{suffix}", *[SPEECH] * 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.__suppress_context__
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_one_line(tmp_path: Path) -> None:
    writer = AudioWriter(tmp_path / "none" / "out.wav", RATE)
    with pytest.raises(BarkError, match=r"cannot write .*none/out\.wav: No such file or directory"):
        writer.__enter__()


def test_a_directory_that_is_deleted_meanwhile_is_one_line(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()

    def write_into_it() -> None:
        with AudioWriter(directory / "out.wav", RATE) as writer:
            writer.write(SPEECH)
            shutil.rmtree(directory)

    with pytest.raises(BarkError, match=r"cannot write .*gone/out\.wav: No such file or directory"):
        write_into_it()


def test_a_link_to_itself_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with pytest.raises(BarkError, match=r"cannot write .*loop\.wav: Too many levels of symbolic links"):
        AudioWriter(tmp_path / "loop.wav", RATE)


def test_an_unknown_suffix_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BarkError, match="no audio format for the suffix"):
        AudioWriter(tmp_path / "out.doc", RATE)


def test_what_libsndfile_cannot_encode_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it was built without a codec."""
    monkeypatch.setitem(FORMATS, "flac", replace(FORMATS["flac"], subtype="DWVW_12"))
    with pytest.raises(BarkError, match=r"^cannot write flac: .* \(libsndfile .*, FLAC\)$"):
        encode(SPEECH, RATE, "flac")


def test_writing_outside_of_the_with_statement_is_an_error(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "out.wav", RATE) as writer:
        pass
    with pytest.raises(ValueError, match="outside"):
        writer.write(SPEECH)
