"""`say --stream`: into a pipe, a file or a player, as it comes; what was asked for, or one line that says why not.

Every run is a real process. Players are small programs that the test puts on PATH, which has nothing else.
"""

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bark_onnx import Bark, GenerationOptions, StreamOptions
from bark_onnx.audio.files import pcm, wav_header
from bark_onnx.command.output import PLAYERS, held_back
from passages import SAID
from run_command import COMMAND, Argument, Result, assert_fails, assert_silent, run

TEXT = "Hello world, the dog is music"
OPTIONS = GenerationOptions(text_temperature=3, min_eos_p=None)  # it rambles, and ends late
RAMBLING = ["--quiet", "--text-temperature", "3", "--min-eos-p", "0", "--device", "cpu", "--threads", "1"]
HEADER = wav_header(24_000)
MIB = 1 << 20

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs pipes and programs as POSIX has them")


@pytest.fixture(scope="module")
def seed(short: Bark) -> int:
    """One that speaks for more than two seconds: several windows of the fine stage, more than a pipe holds."""
    return next(seed for seed in range(200) if len(short.semantic(TEXT, voice=None, options=OPTIONS, seed=seed)) > 120)


@pytest.fixture(scope="module")
def streamed(short: Bark, seed: int) -> bytes:
    """The samples, as they should come."""
    with short.stream(TEXT, voice=None, options=OPTIONS, seed=seed) as stream:
        samples = b"".join(pcm(chunk.waveform) for chunk in stream)
    assert len(samples) > 80_000
    return samples


@pytest.fixture
def say(short_bundle: Path, seed: int) -> list[str]:
    return ["say", TEXT, "--stream", "--bundle", str(short_bundle), "--seed", str(seed), *RAMBLING]


def samples(data: bytes) -> NDArray[np.int16]:
    return np.frombuffer(data, "<i2")


# Into a pipe or a file


def test_a_pipe_gets_a_header_of_unknown_size_and_the_samples(say: list[str], streamed: bytes) -> None:
    result = run(*say, "-o", "-")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == HEADER + streamed
    assert (result.stdout[4:8], result.stdout[40:44]) == (b"\xff" * 4, b"\xff" * 4)


def test_raw_is_without_a_header_and_a_buffer_only_waits(say: list[str], streamed: bytes) -> None:
    result = run(*say, "-o", "-", "--raw", "--buffer", "1000")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == streamed


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_has_the_same_samples(say: list[str], streamed: bytes, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"x.{suffix}"
    assert_silent(run(*say, "-o", output))
    written, sample_rate = soundfile.read(output, dtype="int16")
    assert (sample_rate, written.tobytes()) == (24_000, streamed)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_exact_is_what_is_said_without_streaming(say: list[str], streamed: bytes) -> None:
    """Within one 16-bit step, over several windows of the fine stage; and without it, it is not."""
    whole = samples(run(*[argument for argument in say if argument != "--stream"], "-o", "-").stdout[44:])
    exact = samples(run(*say, "--exact", "-o", "-").stdout[44:])
    assert len(exact) == len(whole) == len(streamed) // 2
    assert np.abs(exact.astype(int) - whole).max() <= 1
    assert np.abs(samples(streamed).astype(int) - whole).max() > 1


def test_chunk_seconds(short: Bark, say: list[str], streamed: bytes, seed: int) -> None:
    options = StreamOptions(chunk_seconds=0.1, fine_context=20)
    expected = b"".join(
        pcm(chunk.waveform) for chunk in short.stream(TEXT, voice=None, options=OPTIONS, seed=seed, streaming=options)
    )
    assert expected != streamed
    assert run(*say, "-o", "-", "--raw", "--chunk-seconds", "0.1", "--fine-context", "20").stdout == expected


def test_samples_come_while_there_are_more_to_come(say: list[str], streamed: bytes) -> None:
    """Killed at the first sample, it has not said most of the rest, for which there would have been room."""
    reader, writer = os.pipe()
    rest = os.fdopen(reader, "rb")
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, MIB)
    assert len(streamed) < MIB
    with subprocess.Popen([*COMMAND, *say, "-o", "-"], stdout=writer) as process:
        os.close(writer)
        received = rest.read(45)
        process.send_signal(signal.SIGKILL)
    with rest:
        received += rest.read()
    assert received == (HEADER + streamed)[: len(received)]
    assert 44 < len(received) < len(streamed) / 2


def test_a_reader_that_goes_away_ends_it_quietly(say: list[str]) -> None:
    command = [*COMMAND, *say, "-o", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(44) == HEADER
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_buffer_holds_back_what_came_first() -> None:
    """Until the time is over, or the end has come; the order stays."""
    heard: list[float] = []
    write, flush = held_back(lambda waveform: heard.extend(waveform.tolist()), 1000)
    write(np.array([1], np.float32))
    write(np.array([2, 3], np.float32))
    assert heard == []
    flush()
    flush()
    assert heard == [1, 2, 3]
    write, flush = held_back(lambda waveform: heard.extend(waveform.tolist()), 0)
    write(np.array([4], np.float32))
    assert heard == [1, 2, 3, 4]


def test_what_cannot_be_streamed_is_a_line(short_bundle: Path, tmp_path: Path) -> None:
    nothing = ["say", TEXT, "--stream", "--bundle", short_bundle, "--min-eos-p", "1e-9"]
    assert_fails(run(*nothing, "-o", tmp_path / "x.wav"), "ended the utterance before it began")
    assert_fails(with_players(tmp_path, {"aplay": "cat"}, *nothing), "ended the utterance before it began")
    assert [path.name for path in tmp_path.iterdir()] == ["aplay"]


# To a player


def with_players(directory: Path, programs: dict[str, str], *arguments: Argument) -> Result:
    """A run that finds only these programs, by the text of their shell scripts; `$0.heard` is beside each."""
    for name, script in programs.items():
        (directory / name).write_text(f"#!/bin/sh\nPATH=/bin:/usr/bin\n{script}\n")
        (directory / name).chmod(0o755)
    return run(*arguments, command=["env", f"PATH={directory}", *COMMAND])


KEEP = 'echo "$@" > "$0.arguments"; cat > "$0.heard"'


def test_a_player_hears_it(say: list[str], streamed: bytes, tmp_path: Path) -> None:
    assert_silent(with_players(tmp_path, {"aplay": KEEP}, *say))
    assert (tmp_path / "aplay.heard").read_bytes() == HEADER + streamed
    assert (tmp_path / "aplay.arguments").read_text() == "-q -\n"


def test_the_best_player_hears_a_long_text(short: Bark, short_bundle: Path, tmp_path: Path) -> None:
    text = "\n\n".join(SAID * 4)
    arguments = ["say", text, "--stream", "--exact", "--bundle", short_bundle, "--seed", "3", *RAMBLING]
    assert_silent_but_for_warnings(with_players(tmp_path, dict.fromkeys(PLAYERS, KEEP), *arguments))
    spoken = [pcm(passage.waveform) for passage in short.generate_long(text, options=OPTIONS, seed=3)]
    assert (tmp_path / "ffplay.heard").read_bytes() == HEADER + b"".join(spoken)
    assert not (tmp_path / "aplay.heard").exists()


def assert_silent_but_for_warnings(result: Result) -> None:
    assert (result.returncode, result.stdout) == (0, b"")
    assert all(line.startswith(b"bark-onnx: warning: passage") for line in result.stderr.splitlines())


@pytest.mark.parametrize(
    ("script", "fragment"),
    [
        ("cat > /dev/null; exit 3", "aplay failed with status 3: give -o FILE"),
        ("head -c 50 > /dev/null", "aplay ended before the audio did: give -o FILE"),
        ("exec 0<&-; exit 4", "aplay "),
        ("kill -9 $$", "aplay "),
    ],
)
def test_a_player_that_fails_is_a_line(say: list[str], tmp_path: Path, script: str, fragment: str) -> None:
    assert_fails(with_players(tmp_path, {"aplay": script}, *say), fragment)


def test_without_a_player_it_says_what_to_do(say: list[str], tmp_path: Path) -> None:
    assert_fails(with_players(tmp_path, {}, *say), "no player found (ffplay, aplay, play)", "-o FILE")
    (tmp_path / "aplay").write_bytes(b"\x7fELF no program")
    (tmp_path / "aplay").chmod(0o755)
    assert_fails(run(*say, command=["env", f"PATH={tmp_path}", *COMMAND]), "aplay", "Exec format error")


# Text that still comes


def test_a_pipe_is_spoken_while_text_comes_through_it(short_bundle: Path) -> None:
    """Audio of the first sentence comes while the writer is silent, and the rest when it goes on."""
    command = [*COMMAND, "say", "-", "--stream", "-o", "-", "--raw", "--seed", "3", "--quiet", "--device", "cpu"]
    with subprocess.Popen(
        [*command, "--bundle", str(short_bundle)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("The dog of the world is the läughter of the dogs.\nThe ".encode())
        process.stdin.flush()
        first = process.stdout.read(200)
        assert len(first) == 200
        process.stdin.write(b"end.\n")
        process.stdin.close()
        rest = process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    assert len(rest) > 0
    assert all(line.startswith(b"bark-onnx: warning:") for line in errors.splitlines())


def test_ctrl_c_ends_a_text_that_still_comes(short_bundle: Path, tmp_path: Path) -> None:
    """What has been spoken is a complete file: nothing else ends `tail -f`."""
    command = [*COMMAND, "say", "-", "--stream", "-o", "out.wav", "--seed", "3", "--device", "cpu"]
    with subprocess.Popen(
        [*command, "--bundle", str(short_bundle)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(b"The dog of the world is the laughter of the dogs.\n")
        process.stdin.flush()
        end = time.monotonic() + 60
        while not any(path.stat().st_size > 10_000 for path in tmp_path.glob(".out*")):
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert b"stopped: what has been spoken so far is complete" in errors
    assert soundfile.info(tmp_path / "out.wav").frames > 4_000


def test_a_single_utterance_in_a_pipe_is_read_first(short_bundle: Path) -> None:
    arguments = ["--stream", "--single", "-o", "-", "--seed", "3", "--quiet", "--bundle", short_bundle]
    piped = run("say", "-", *arguments, stdin=b"Hello.\n\nThe dog.")
    assert (piped.returncode, piped.stdout) == (0, run("say", "Hello.\n\nThe dog.", *arguments).stdout)


@pytest.mark.parametrize(("content", "fragment"), [(b"caf\xe9 au lait", "not UTF-8"), (b"", "the text is empty")])
def test_a_pipe_without_text_is_a_line(short_bundle: Path, tmp_path: Path, content: bytes, fragment: str) -> None:
    arguments = ["say", "-", "--stream", "-o", tmp_path / "out.wav", "--quiet", "--bundle", short_bundle]
    assert_fails(run(*arguments, stdin=content), fragment)
    assert list(tmp_path.iterdir()) == []
