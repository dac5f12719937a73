"""Encoders in memory: what each format holds is the speech, whichever program reads it, and it comes early."""

import gc
import io
import shutil
import struct
import subprocess
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_formats import READABLE, WRITABLE
from audio_pages import ogg_pages, page_seconds
from bark_onnx import BarkError
from bark_onnx.arrays import Waveform
from bark_onnx.audio import sndfile
from bark_onnx.audio.encoder import StreamEncoder, encode
from bark_onnx.audio.formats import FORMATS
from bark_onnx.audio.samples import pcm, wav_header
from full import FULL
from synthetic_speech import speech

RATE = 24_000
SPEECH = speech(2.5, seed=1, dbfs=-20, rate=RATE)
LOSSY = ("ogg", "opus", "mp3")
FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")

# Samples by which speech is later in a stream of MP3 than in the waveform, at the rate of the stream: the encoder's
# delay and a silent frame, where a file has its length. The other formats have no delay.
MP3_DELAY = {8_000: 1681, 16_000: 1681, 24_000: 1681, 48_000: 1105 + 1152}
FRAME = {"wav": 1, "pcm": 1, "flac": 1, "ogg": 1, "opus": 1, "mp3": 1152}  # samples of length that a stream may add


def rates(name: str) -> list[int]:
    return [rate for rate in (8_000, 16_000, 24_000, 48_000) if any(rate in one for one in FORMATS[name].rates)]


EVERY = [(name, rate) for name in READABLE for rate in rates(name)]


def streamed(name: str, waveforms: list[Waveform], output_rate: int | None = None) -> bytes:
    with StreamEncoder(name, RATE, output_rate) as encoder:
        return b"".join([*(encoder.push(waveform) for waveform in waveforms), encoder.finish()])


def by_libsndfile(content: bytes, name: str, rate: int) -> Waveform:
    if name == "pcm":
        return (np.frombuffer(content, "<i2") / 32768).astype(np.float32)
    waveform, read_rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert read_rate == rate
    return waveform


def by_ffmpeg(content: bytes, name: str, rate: int) -> Waveform:
    raw = ["-f", "s16le", "-ar", str(rate), "-ac", "1"] if name == "pcm" else []
    assert FFMPEG is not None
    result = subprocess.run(
        [FFMPEG, "-nostdin", "-loglevel", "error", *raw, "-i", "-", "-f", "f32le", "-ac", "1", "-ar", str(rate), "-"],
        input=content, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert result.stderr == b""
    return np.frombuffer(result.stdout, np.float32)


def reference(rate: int) -> Waveform:
    """The speech at a rate: what `pcm` has."""
    return by_libsndfile(encode(SPEECH, RATE, "pcm", rate), "pcm", rate)


def assert_same_sound(read: Waveform, rate: int, delay: int = 0, longer: int = 0) -> None:
    """The speech is in what was read from `delay` on, and what was read is at most this much longer."""
    expected = reference(rate)
    assert 0 <= len(read) - len(expected) - delay <= longer
    heard = read[delay : delay + len(expected)]
    at = [np.dot(read[late : late + 4000], expected[:4000]) for late in range(max(0, delay - 30), delay + 30)]
    assert abs(int(np.argmax(at)) + max(0, delay - 30) - delay) <= 1
    assert np.corrcoef(heard, expected)[0, 1] > 0.94  # Opus and Vorbis replace noise by other noise
    assert np.sqrt(np.mean(heard**2) / np.mean(expected**2)) == pytest.approx(1, abs=0.06)  # LAME takes 0.45 dB off


# What readers find


@pytest.mark.parametrize(("name", "rate"), EVERY)
def test_a_whole_file_is_the_speech_for_libsndfile(name: str, rate: int) -> None:
    assert_same_sound(by_libsndfile(encode(SPEECH, RATE, name, rate), name, rate), rate)


@needs_ffmpeg
@pytest.mark.parametrize(("name", "rate"), EVERY)
def test_a_whole_file_is_the_speech_for_ffmpeg(name: str, rate: int) -> None:
    assert_same_sound(by_ffmpeg(encode(SPEECH, RATE, name, rate), name, rate), rate, longer=FRAME[name] - 1)


@pytest.mark.parametrize(("name", "rate"), [one for one in EVERY if FORMATS[one[0]].streams])
def test_a_stream_is_the_speech_for_libsndfile(name: str, rate: int) -> None:
    delay = MP3_DELAY[rate] if name == "mp3" else 0
    assert_same_sound(by_libsndfile(streamed(name, [SPEECH], rate), name, rate), rate, delay, longer=FRAME[name])


@needs_ffmpeg
@pytest.mark.parametrize(("name", "rate"), EVERY)
def test_a_stream_is_the_speech_for_ffmpeg(name: str, rate: int) -> None:
    delay = MP3_DELAY[rate] if name == "mp3" else 0
    assert_same_sound(by_ffmpeg(streamed(name, [SPEECH], rate), name, rate), rate, delay, longer=FRAME[name])


def test_a_stream_of_flac_has_no_length() -> None:
    """The table says that it cannot be streamed. If libsndfile reads it one day, the table may say otherwise."""
    with pytest.raises((soundfile.SoundFileError, ValueError)):
        soundfile.read(io.BytesIO(streamed("flac", [SPEECH])))


def test_wav_and_pcm_are_the_samples() -> None:
    assert streamed("wav", [SPEECH]) == wav_header(RATE) + pcm(SPEECH)
    assert streamed("pcm", [SPEECH]) == pcm(SPEECH)
    assert encode(SPEECH, RATE, "pcm") == pcm(SPEECH)


@pytest.mark.parametrize("name", READABLE)
def test_without_samples_there_is_still_a_file(name: str) -> None:
    nothing = SPEECH[:0]
    assert len(by_libsndfile(encode(nothing, RATE, name), name, RATE)) <= 1
    assert len(streamed(name, [])) > 0 or name == "pcm"


@pytest.mark.parametrize("name", LOSSY)
def test_samples_that_are_not_numbers_are_silence(name: str) -> None:
    waveform = np.full(RATE, np.nan, np.float32)
    waveform[RATE // 2] = np.inf
    read = by_libsndfile(encode(waveform, RATE, name), name, RATE)
    assert np.isfinite(read).all()
    assert np.abs(read[: RATE // 4]).max() < 0.01


# The bytes do not depend on the pieces


@settings(max_examples=40, deadline=None)
@given(
    encoding=st.sampled_from(EVERY),
    cuts=st.lists(st.integers(0, 30_000), max_size=12),
    length=st.sampled_from([0, 1, 479, 480, 481, 7_000, 30_000]),
)
def test_the_bytes_do_not_depend_on_the_pieces(encoding: tuple[str, int], cuts: list[int], length: int) -> None:
    name, rate = encoding
    pieces = np.split(SPEECH[:length], sorted(min(cut, length) for cut in cuts))
    in_pieces, whole = streamed(name, list(pieces), rate), streamed(name, [SPEECH[:length]], rate)
    assert ogg_pages(in_pieces) == ogg_pages(whole) if name in ("ogg", "opus") else in_pieces == whole


@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])
def test_a_file_is_the_stream_with_its_header_corrected(name: str) -> None:
    stream, file = streamed(name, [SPEECH]), encode(SPEECH, RATE, name)
    assert len(stream) == len(file)
    different = np.flatnonzero(np.frombuffer(stream, np.uint8) != np.frombuffer(file, np.uint8))
    assert len(different) > 0
    assert different[-1] < {"wav": 44, "flac": 42, "mp3": 240}[name]


# When bytes come


def first_bytes(name: str, after: int, milliseconds: int = 10) -> int:
    """Milliseconds of audio until more than `after` bytes have come, in pieces of 10 ms."""
    with StreamEncoder(name, RATE) as encoder:
        piece, count = milliseconds * RATE // 1000, 0
        for number in range(len(SPEECH) // piece):
            count += len(encoder.push(SPEECH[number * piece : (number + 1) * piece]))
            if count > after:
                return (number + 1) * milliseconds
    raise AssertionError(f"{name} gave {count} bytes of {len(SPEECH) / RATE} s")


@pytest.mark.parametrize(
    ("name", "header", "milliseconds"),
    [("wav", 44, 10), ("pcm", 0, 10), ("mp3", 240, 40), ("opus", 869, 140), ("flac", 86, 200), ("ogg", 3446, 900)],
)
def test_the_first_sound_comes_early(name: str, header: int, milliseconds: int) -> None:
    assert first_bytes(name, header) <= milliseconds


def test_what_came_of_an_mp3_within_120_ms_is_sound() -> None:
    with StreamEncoder("mp3", RATE) as encoder:
        early = encoder.push(SPEECH[: RATE * 12 // 100])
    read = by_libsndfile(early, "mp3", RATE)
    assert np.abs(read).max() > 0.3 * np.abs(SPEECH[: RATE // 10]).max()


def test_pages_of_opus_are_100_ms() -> None:
    """By a command of libsndfile's that soundfile has no name for. Without it, a page is a second."""
    ends = [page_seconds(page) for page in ogg_pages(streamed("opus", [SPEECH]))[2:]]
    assert np.diff(ends[:-1]) == pytest.approx(np.full(len(ends) - 2, 0.1))
    assert len(ends) >= 25


def test_a_libsndfile_without_that_command_makes_longer_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sndfile, "_SET_OGG_PAGE_LATENCY_MS", 0x7FFF)
    content = streamed("opus", [SPEECH])
    assert 2 <= len(ogg_pages(content)[2:]) <= 4
    assert_same_sound(by_libsndfile(content, "opus", RATE), RATE)


# Memory, and what is freed


@pytest.mark.parametrize("name", READABLE)
def test_minutes_take_flat_memory(name: str) -> None:
    quiet = np.zeros(RATE // 2, np.float32)
    with StreamEncoder(name, RATE, 16_000) as encoder:
        encoder.push(SPEECH)
        tracemalloc.start()
        for number in range(600 if FULL else 300):
            encoder.push(SPEECH[: len(quiet)] if number % 20 == 0 else quiet)
        encoder.finish()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 3_000_000  # bytes, most of them a bounded cache of cffi's; 150 s have 5 million in 16 bits


def sound_files() -> Iterator[soundfile.SoundFile]:
    gc.collect()
    return (one for one in gc.get_objects() if isinstance(one, soundfile.SoundFile) and not one.closed)


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.container])
def test_an_encoder_that_is_closed_early_frees_its_handle(name: str) -> None:
    before = len(list(sound_files()))
    with StreamEncoder(name, RATE) as encoder:
        encoder.push(SPEECH)
        assert len(list(sound_files())) == before + 1
    assert len(list(sound_files())) == before
    encoder.close()  # a second time does nothing
    dropped = StreamEncoder(name, RATE)
    dropped.push(SPEECH)
    del dropped
    assert len(list(sound_files())) == before


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.container])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_while_libsndfile_writes_is_raised(
    name: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An exception in a callback would be printed and lost, and Ctrl-C comes there more often than anywhere else."""
    before = len(list(sound_files()))

    def interrupted(*_: object) -> int:
        raise error

    with StreamEncoder(name, RATE) as encoder:
        encoder.push(SPEECH[:480])
        with monkeypatch.context() as patched:
            patched.setattr(sndfile._Sink, "write", interrupted)
            with pytest.raises(error):
                encoder.push(SPEECH)
    assert len(list(sound_files())) == before
    assert capfd.readouterr() == ("", "")


def test_a_closed_encoder_says_so() -> None:
    encoder = StreamEncoder("mp3", RATE)
    encoder.finish()
    with pytest.raises(ValueError, match="the encoder is closed"):
        encoder.push(SPEECH)
    with pytest.raises(ValueError, match="the encoder is closed"):
        encoder.finish()


# What is refused


@pytest.mark.parametrize("name", ["MP3", "m4a", "", ".wav", None, 3])
def test_an_unknown_format_lists_the_known_ones(name: str) -> None:
    with pytest.raises(BarkError, match=r"^no audio format .*; use wav, flac, ogg, opus, mp3, aac, pcm$"):
        StreamEncoder(name, RATE)


@pytest.mark.parametrize(
    ("name", "rate", "rule"),
    [
        ("opus", 44_100, "opus takes a sample rate of 8000, 12000, 16000, 24000, 48000 Hz, not 44100"),
        ("mp3", 96_000, "mp3 takes a sample rate of 8000, 11025, .*, 44100, 48000 Hz, not 96000"),
        ("flac", 65_537, "flac takes a sample rate of 8000 to 65535, 65540 to 192000 in steps of 10 Hz, not 65537"),
        ("wav", 7_999, "wav takes a sample rate of 8000 to 192000 Hz, not 7999"),
        ("pcm", 10**9, "pcm takes a sample rate of 8000 to 192000 Hz, not 1000000000"),
        ("ogg", -1, "ogg takes"),
        ("ogg", 24_000.5, "sample_rate must be a whole number"),
        ("ogg", "8000", "sample_rate must be a whole number"),
    ],
)
def test_a_rate_that_a_format_does_not_have_lists_those_that_it_has(name: str, rate: int, rule: str) -> None:
    with pytest.raises(BarkError, match=f"^{rule}"):
        StreamEncoder(name, RATE, rate)
    with pytest.raises(BarkError, match=f"^{rule}"):
        StreamEncoder(name, rate)


@pytest.mark.parametrize("rate", [0, -5, 1, 10**9, 2**70])
def test_a_rate_from_which_nothing_can_be_resampled(rate: int) -> None:
    with pytest.raises(BarkError, match="samples of 1000 to 1000000 Hz can be resampled"):
        encode(SPEECH, rate, "wav", 8_000)


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("rate", [11_025, 22_050, 44_100, 65_530, 96_000, 192_000])
def test_every_rate_in_the_table_can_be_written(name: str, rate: int) -> None:
    if any(rate in one for one in FORMATS[name].rates):
        seconds = len(by_libsndfile(encode(SPEECH[:RATE], RATE, name, rate), name, rate)) / rate
        assert seconds == pytest.approx(1, abs=1e-4)


def test_the_table_has_one_suffix_for_each_format() -> None:
    assert [one.suffix for one in FORMATS.values()] == [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aac", ".pcm"]
    assert struct.unpack("<I", wav_header(8_000)[24:28]) == (8_000,)


def test_encoding_is_fast_enough_for_a_stream() -> None:
    """Far faster than speech is generated, also in blocks of 20 ms."""
    started = time.process_time()
    for name in WRITABLE:
        streamed(name, [SPEECH] * 4, 16_000)
    assert time.process_time() - started < 10
