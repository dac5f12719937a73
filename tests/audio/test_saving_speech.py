"""`Speech.encode` and `Speech.save`: bytes, paths and open files, in every format."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_formats import READABLE, WRITABLE
from audio_pages import ogg_pages
from bark_onnx import BarkError, VoicePreset
from bark_onnx.audio.encoder import encode
from bark_onnx.audio.files import AudioWriter
from bark_onnx.engine.speech import Speech
from synthetic_speech import speech

RATE = 24_000
CODES = np.zeros((8, 75), np.int64)
SPEECH = Speech(speech(1.0, seed=3, rate=RATE), RATE, VoicePreset(np.zeros(50, np.int64), CODES[:2], CODES), 0, {})


def same(one: bytes, other: bytes) -> bool:
    return ogg_pages(one) == ogg_pages(other) if one[:4] == b"OggS" else one == other


@pytest.mark.parametrize("rate", [None, 8_000, 48_000])
@pytest.mark.parametrize("name", WRITABLE)
def test_bytes_paths_and_files_are_the_same(tmp_path: Path, name: str, rate: int | None) -> None:
    content = SPEECH.encode(name, sample_rate=rate)
    SPEECH.save(tmp_path / f"out.{name}", sample_rate=rate)
    SPEECH.save(str(tmp_path / "out.bin"), format=name, sample_rate=rate)
    in_memory = io.BytesIO()
    SPEECH.save(in_memory, format=name, sample_rate=rate)
    with AudioWriter(tmp_path / f"written.{name}", RATE, output_rate=rate) as writer:
        writer.write(SPEECH.waveform)
    assert same((tmp_path / f"out.{name}").read_bytes(), content)
    assert same((tmp_path / "out.bin").read_bytes(), content)
    assert same((tmp_path / f"written.{name}").read_bytes(), content)
    assert same(in_memory.getvalue(), content)
    assert same(encode(SPEECH.waveform, RATE, name, rate), content)
    if name in READABLE and name != "pcm":
        assert soundfile.info(io.BytesIO(content)).samplerate == (rate or RATE)


def test_wav_is_the_default() -> None:
    assert SPEECH.encode() == SPEECH.encode("wav")
    content = io.BytesIO()
    SPEECH.save(content)
    assert content.getvalue() == SPEECH.encode()


@pytest.mark.parametrize("name", WRITABLE)
def test_a_file_that_cannot_seek_gets_a_whole_file(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive, archive.open("speech", "w") as file:
        SPEECH.save(file, format=name)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert same(archive.read("speech"), SPEECH.encode(name))


@pytest.mark.parametrize("by_writer", [False, True], ids=["save", "writer"])
def test_an_open_file_is_written_from_its_position_on(tmp_path: Path, by_writer: bool) -> None:
    with (tmp_path / "out.bin").open("w+b") as file:
        file.write(b"before")
        if by_writer:
            with AudioWriter(file, RATE, "flac") as writer:
                writer.write(SPEECH.waveform)
        else:
            SPEECH.save(file, format="flac")
        file.write(b"after")
    assert (tmp_path / "out.bin").read_bytes() == b"before" + SPEECH.encode("flac") + b"after"


def test_a_file_that_is_appended_to_keeps_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_bytes(b"before")
    with (tmp_path / "out.bin").open("ab") as file, AudioWriter(file, RATE, "wav") as writer:
        writer.write(SPEECH.waveform)
    content = (tmp_path / "out.bin").read_bytes()
    assert len(content) == len(b"before" + SPEECH.encode())
    assert content.startswith(b"beforeRIFF\xff\xff\xff\xff")


def test_a_file_that_takes_a_part_at_a_time_gets_all() -> None:
    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, content: memoryview) -> int:  # type: ignore[override]
            self.content += bytes(content[:1000])
            return min(1000, len(content))

    slow = Slow()
    SPEECH.save(slow)
    assert slow.content == SPEECH.encode()


def test_a_pipe_that_does_not_block_and_is_full_is_an_error() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0) as file:
        SPEECH.save(file)  # 48 kB of the 64 kB that a pipe holds
        with pytest.raises(BlockingIOError):
            SPEECH.save(file)


def test_what_takes_no_bytes_is_one_line(tmp_path: Path) -> None:
    for mode, words in (("w", 'open it with mode "wb"'), ("rb", 'open it with mode "wb"'), ("wb", "is closed")):
        (tmp_path / "out").touch()
        with (tmp_path / "out").open(mode) as file:
            if mode == "wb":
                file.close()
            with pytest.raises(BarkError, match=words):
                SPEECH.save(file)
            with pytest.raises(BarkError, match=words):
                AudioWriter(file, RATE)
    with pytest.raises(TypeError, match="not NoneType"):
        SPEECH.save(None)  # type: ignore[arg-type]


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(BarkError, match="opus takes a sample rate of"):
        SPEECH.save(tmp_path / "out.opus", sample_rate=44_100)
    with pytest.raises(BarkError, match=r"no audio format 'm4a'; use wav, .*"):
        SPEECH.save(tmp_path / "out.wav", format="m4a")
    with pytest.raises(BarkError, match=r"no audio format for the suffix '.m4a'; use .wav, .*"):
        SPEECH.save(tmp_path / "out.m4a")
    assert list(tmp_path.iterdir()) == []


def test_a_speech_shows_a_player_in_a_notebook() -> None:
    assert "data:audio/wav;base64,UklGR" in SPEECH._repr_html_()
