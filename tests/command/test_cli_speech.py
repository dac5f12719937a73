"""`say`, as a user or a script meets it: sound files, pipes, seeds, voices, and what a terminal is shown.

Every run is a real process.
"""

import io
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_onnx import Bark, GenerationOptions, VoicePreset
from run_command import COMMAND, SAY, assert_fails, assert_silent, run


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_say_writes_the_format_of_the_suffix(bark: Bark, bundle: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"hello.{suffix}"
    assert_silent(run(*SAY, "--bundle", bundle, "-o", output))
    speech = bark.generate("hello", options=GenerationOptions(max_seconds=0.3), seed=7)
    waveform, sample_rate = soundfile.read(output, dtype="float32")
    assert (sample_rate, soundfile.info(output).format) == (24_000, suffix.upper())
    assert waveform.shape == speech.waveform.shape
    if suffix in ("wav", "flac"):
        assert np.abs(waveform - speech.waveform).max() < 1e-3  # 16 bits
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_say_writes_out_wav_by_default(bundle: Path, tmp_path: Path) -> None:
    assert_silent(run(*SAY, "--bundle", bundle, cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


def test_say_replaces_a_file(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "hello.wav").write_bytes(b"old")
    assert_silent(run(*SAY, "--bundle", bundle, "-o", tmp_path / "hello.wav"))
    assert soundfile.info(tmp_path / "hello.wav").samplerate == 24_000


def test_say_writes_wav_to_a_pipe(bundle: Path, tmp_path: Path) -> None:
    assert_silent(run(*SAY, "--bundle", bundle, "-o", "same.wav", cwd=tmp_path))
    piped = run(*SAY, "--bundle", bundle, "-o", "-", cwd=tmp_path)
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout == (tmp_path / "same.wav").read_bytes()


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_say_writes_other_formats_and_rates(bundle: Path, tmp_path: Path, stream: list[str]) -> None:
    seconds = soundfile.info(io.BytesIO(run(*SAY, "--bundle", bundle, "-o", "-").stdout)).duration
    for name, rate in (("a.opus", 48_000), ("a.mp3", 16_000), ("a.wav", 8_000)):
        output = ["-o", name, "--sample-rate", str(rate), *stream]
        assert_silent(run(*SAY, "--bundle", bundle, *output, cwd=tmp_path))
        found = soundfile.info(tmp_path / name)
        assert found.samplerate == rate
        assert found.duration == pytest.approx(seconds, abs=0.15)
    piped = run(*SAY, "--bundle", bundle, "-o", "-", "--raw", "--sample-rate", "8000", *stream)
    assert len(piped.stdout) == pytest.approx(2 * 8_000 * seconds, abs=4)


def test_say_reads_standard_input(bundle: Path) -> None:
    by_argument = run("say", "héllo wörld", *SAY[2:], "--bundle", bundle, "-o", "-")
    by_pipe = run("say", "-", *SAY[2:], "--bundle", bundle, "-o", "-", stdin="  héllo\n\twörld\n".encode())
    assert by_pipe.stdout == by_argument.stdout
    assert soundfile.info(io.BytesIO(by_pipe.stdout)).frames > 0


@pytest.mark.parametrize("way", [[], ["--stream"], ["--single"]], ids=["once", "stream", "single"])
def test_without_a_text_a_pipe_is_read(bundle: Path, way: list[str]) -> None:
    options = [*SAY[2:], *way, "--bundle", bundle, "-o", "-"]
    expected = run("say", "-", *options, stdin=b"hello")
    assert (expected.returncode, len(expected.stdout) > 1000) == (0, True)
    assert run("say", *options, stdin=b"hello").stdout == expected.stdout
    assert run("say", *options, stdin=b" \n").returncode == 1  # as for "-": there is nothing to say
    assert run("say", *options, stdin=b"").returncode == (1 if way == ["--stream"] else 2)


def test_without_a_text_a_terminal_is_not_read(bundle: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    master, terminal = pty.openpty()
    command = [*COMMAND, "say", "--bundle", bundle]
    result = subprocess.run(command, stdin=terminal, capture_output=True, cwd=tmp_path, timeout=60, check=False)
    os.close(terminal)
    os.close(master)
    assert (result.returncode, b"or pipe a text into it" in result.stderr) == (2, True)


def test_a_text_that_begins_with_a_dash(bundle: Path) -> None:
    options = [*SAY[2:], "--bundle", bundle, "-o", "-"]
    dashed = run("say", *options, "--", "-5 degrees")
    assert (dashed.returncode, dashed.stdout) == (0, run("say", "-", *options, stdin=b"-5 degrees").stdout)


def test_a_text_that_names_a_file_gets_a_hint(bundle: Path, tmp_path: Path) -> None:
    """It is spoken all the same: a file may be called like a word."""
    (tmp_path / "hello").write_text("Another text.")
    result = run(*SAY, "--bundle", bundle, "-q", cwd=tmp_path)
    line = result.stderr.decode()
    assert line == (
        "bark-onnx: warning: TEXT is the name of a file, and the name is spoken: "
        "to speak what is in it, give --file hello\n"
    )
    assert (tmp_path / "out.wav").read_bytes() == run(*SAY, "--bundle", bundle, "-o", "-").stdout


def test_a_seed_makes_the_same_sound_again(bundle: Path) -> None:
    first, again, other = (
        run(*SAY, "--seed", seed, "--bundle", bundle, "-o", "-").stdout for seed in ("3", "3", "18446744073709551615")
    )
    assert first == again
    assert first != other


def test_what_was_spoken_is_kept_as_a_voice(bundle: Path, tmp_path: Path) -> None:
    assert_silent(run(*SAY, "--bundle", bundle, "-o", "a.wav", "--save-voice", "mine.npz", cwd=tmp_path))
    assert VoicePreset.load(tmp_path / "mine.npz").fine.shape[1] * 320 == soundfile.info(tmp_path / "a.wav").frames
    with_voice = run(*SAY, "--bundle", bundle, "-o", "-", "--voice", "mine.npz", cwd=tmp_path)
    assert with_voice.returncode == 0
    assert with_voice.stdout != (tmp_path / "a.wav").read_bytes()


def test_a_warning_is_one_line(bundle: Path, tmp_path: Path) -> None:
    result = run("say", "hello " * 300, "--single", *SAY[2:], "--bundle", bundle, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, b"")
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith("bark-onnx: warning: the text has 300 tokens")
    assert "the last 44" in line


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_sees_progress_and_a_summary(bundle: Path, tmp_path: Path, quiet: bool) -> None:
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    options = SAY if quiet else [option for option in SAY if option != "--quiet"]
    command = [*COMMAND, *options, "--bundle", bundle]
    subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, cwd=tmp_path, timeout=120, check=True)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(master, 4096):
            shown += piece
    except OSError:
        pass  # how Linux says that a terminal has no other end any more
    os.close(master)
    if quiet:
        assert shown == b""
    else:
        assert all(word in shown for word in (b"semantic", b"coarse", b"fine", b"out.wav: 0.", b"seed 7"))


def test_without_a_terminal_a_summary_is_one_line(bundle: Path, tmp_path: Path) -> None:
    """Where the audio is, how long, how fast, and the seed that makes it again, which was drawn.

    What is said does not depend on the seed here, as with one seed in some thousands nothing would be said.
    """
    options = ["--device", "cpu", "--max-seconds", "0.3", "--text-temperature", "0", "--bundle", bundle]
    for output, shown in ((["-o", "a.wav"], "a.wav"), (["-o", "-"], "standard output"), (["-o", "-", "--stream"], "")):
        result = run("say", "hello", *options, *output, cwd=tmp_path)
        (line,) = result.stderr.decode().splitlines()
        summary = r"bark-onnx: (.+): [\d.]+ s of audio in [\d.]+ s ?(?:\(RTF [\d.]+\))?; seed (\d+)"
        found = re.fullmatch(summary, line)
        assert found, line
        assert found[1] == shown or not shown
        again = run("say", "hello", *options, "--quiet", *output, "--seed", found[2], cwd=tmp_path)
        assert again.stderr == b""
        if output[1] == "-":
            assert again.stdout == result.stdout


def test_head_of_a_pipe(bundle: Path) -> None:
    shell = '"$@" | head -c 4'
    result = run("-c", shell, "sh", *COMMAND, *SAY, "-o", "-", "--bundle", bundle, command=["sh"])
    assert (result.stdout, result.stderr) == (b"RIFF", b"")


@pytest.mark.parametrize("source", ["argument", "standard input", "file"])
@pytest.mark.parametrize("content", [b"caf\xe9", b"\xff\xfea"], ids=["latin-1", "half a character of UTF-16"])
def test_a_text_in_another_encoding_is_refused(bundle: Path, tmp_path: Path, source: str, content: bytes) -> None:
    """Wherever it comes from: a replaced character would be spoken, or lost, in silence."""
    (tmp_path / "text.txt").write_bytes(content)
    text = {"argument": [content], "standard input": ["-"], "file": ["--file", tmp_path / "text.txt"]}[source]
    result = run("say", *text, "--bundle", bundle, "-o", tmp_path / "out.wav", stdin=content)
    assert_fails(result, "UTF-")
    assert not (tmp_path / "out.wav").exists()


def test_byte_order_marks_say_which_encoding_a_text_has(bundle: Path, tmp_path: Path) -> None:
    for number, encoding in enumerate(["utf-8", "utf-8-sig", "utf-16"]):
        output = tmp_path / f"{number}.wav"
        assert_silent(run(*SAY[:1], "-", *SAY[2:], "--bundle", bundle, "-o", output, stdin="hello".encode(encoding)))
    assert len({(tmp_path / f"{number}.wav").read_bytes() for number in range(3)}) == 1
