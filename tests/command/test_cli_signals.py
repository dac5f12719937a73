"""Commands that a signal ends: they leave no temporary file, and their status says which signal it was.

Every run is a real process and every signal a real one, at moments all over the run.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import soundfile

from bark_onnx import VoicePreset
from bark_onnx.long.journal import Journal
from passages import SAID
from run_command import COMMAND, assert_silent, run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

RAMBLING = ["--device", "cpu", "--threads", "1", "--text-temperature", "3", "--seed", "3", "--max-seconds", "6"]
JOURNAL = "out.wav.partial"
TEXT = "Hello world, the dog is music"

# The command, with a pause after each piece of audio.
SLOW = """
import time
from bark_onnx.__main__ import main
from bark_onnx.audio.files import AudioWriter

write = AudioWriter.write

def write_slowly(self, waveform):
    write(self, waveform)
    time.sleep(0.5)

AudioWriter.write = write_slowly
main()
"""

# What is written by each, and a check of the complete file.
RUNS: dict[str, list[str]] = {
    "say": ["say", TEXT, "-o", "out.wav", *RAMBLING],
    "say --stream": ["say", TEXT, "--quiet", "--stream", "-o", "out.wav", *RAMBLING],
    "say --save-voice": ["say", TEXT, "-o", "out.wav", "--save-voice", "mine.npz", *RAMBLING],
    "say --file": ["say", "--file", "text.txt", "-o", "out.wav", "--retries", "0", *RAMBLING],
    "say --subtitles": ["say", TEXT, "-o", "out.wav", "--subtitles", "cues.srt", "--retries", "0", *RAMBLING],
}
CHECKS: dict[str, Callable[[Path], object]] = {
    "out.wav": lambda path: soundfile.info(path).duration > 0.1,
    "mine.npz": VoicePreset.load,
    "cues.srt": lambda path: path.read_text().index("-->"),
    "text.txt": Path.read_text,
    JOURNAL: lambda path: [other for other in path.iterdir() if other.name.startswith(".")] == [],
}


def start(arguments: list[str], work: Path, command: Sequence[str] = COMMAND) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*command, *arguments], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def names(work: Path) -> set[str]:
    return {path.name for path in work.iterdir()}


def assert_only_whole_files(work: Path) -> None:
    for path in work.iterdir():
        assert path.name in CHECKS, path.name
        assert CHECKS[path.name](path), path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("\n\n".join(SAID * 3))
    return tmp_path


@pytest.mark.parametrize("name", RUNS)
def test_sigterm_at_any_moment_leaves_no_temporary_file(short_bundle: Path, work: Path, name: str) -> None:
    command = [*RUNS[name], "--bundle", str(short_bundle)]
    begun = time.monotonic()
    assert run(*command, cwd=work).returncode == 0
    whole_run = time.monotonic() - begun
    assert_only_whole_files(work)
    moments = random.Random(name)
    for attempt in range(3):
        with start(command, work) as process:
            # The first half is the start of Python and the loading.
            time.sleep(moments.uniform(0.4 if attempt else 0, 1.05) * whole_run)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGTERM, 0)  # 0: it was done
        assert b"Traceback" not in errors
        assert_only_whole_files(work)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", ["say --stream", "say --file"])
def test_a_signal_while_the_audio_is_written(short_bundle: Path, work: Path, name: str, number: signal.Signals) -> None:
    (work / "out.wav").write_bytes(b"old")
    with interrupted(short_bundle, work, name, number) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -number
    assert [line for line in errors.splitlines() if not line.startswith(b"bark-onnx: warning")] == []
    assert names(work) - {JOURNAL} == {"out.wav", "text.txt"}
    assert (work / "out.wav").read_bytes() == b"old"


def has_begun(work: Path) -> bool:
    """Whether audio is being written. An empty file of this name may come and go before: the check of the output."""
    for path in work.glob(".out-bark-onnx-*.wav"):
        with suppress(FileNotFoundError):
            if path.stat().st_size:
                return True
    return False


@contextmanager
def interrupted(bundle: Path, work: Path, name: str, number: signal.Signals) -> Iterator[subprocess.Popen[bytes]]:
    """A command that got a signal while it was writing audio to its temporary file."""
    with start([*RUNS[name], "--bundle", str(bundle)], work, [sys.executable, "-c", SLOW]) as process:
        try:
            # Once there is something in it, it is locked.
            while not has_begun(work):
                assert process.poll() is None, process.communicate()
                time.sleep(0.001)
            process.send_signal(number)
            yield process
        except BaseException:
            process.kill()  # or the `with` statement would wait for a stopped process
            raise


@pytest.mark.parametrize("name", ["say --stream", "say --file"])
def test_the_next_run_deletes_what_sigkill_left(short_bundle: Path, work: Path, name: str) -> None:
    with interrupted(short_bundle, work, name, signal.SIGKILL):
        pass
    assert len(list(work.glob(".out-bark-onnx-*.wav"))) == 1
    (work / ".out-abcd1234.wav").write_bytes(b"mine")
    assert run(*RUNS[name], "--bundle", short_bundle, cwd=work).returncode == 0
    assert names(work) == {"out.wav", "text.txt", ".out-abcd1234.wav"}
    assert soundfile.info(work / "out.wav").duration > 0.1


def test_a_run_beside_another_leaves_its_temporary_file_alone(short_bundle: Path, work: Path) -> None:
    with interrupted(short_bundle, work, "say --stream", signal.SIGSTOP) as stopped:
        (temporary,) = work.glob(".out-bark-onnx-*.wav")
        assert_silent(run(*RUNS["say --stream"], "--bundle", short_bundle, cwd=work))
        assert temporary.exists()
        whole = (work / "out.wav").read_bytes()
        (work / "out.wav").unlink()
        stopped.send_signal(signal.SIGCONT)
        stopped.communicate(timeout=60)
    assert stopped.returncode == 0
    assert (work / "out.wav").read_bytes() == whole
    assert names(work) == {"out.wav", "text.txt"}


def test_a_journal_survives_sigterm(short_bundle: Path, work: Path) -> None:
    """The run that continues makes the file that an uninterrupted run makes."""
    command = [*RUNS["say --file"], "--bundle", str(short_bundle)]
    assert run(*command, cwd=work).returncode == 0
    whole = (work / "out.wav").read_bytes()
    (work / "out.wav").unlink()
    with interrupted(short_bundle, work, "say --file", signal.SIGTERM):
        pass
    assert Journal.seed(work / JOURNAL) == 3
    assert run(*command, cwd=work).returncode == 0
    assert (work / "out.wav").read_bytes() == whole


def test_a_shell_sees_143(short_bundle: Path, work: Path) -> None:
    """As it does for any program that SIGTERM ends."""
    script = (
        '"$@" & pid=$!; while ! ls .out-bark-onnx-* >/dev/null 2>&1; do sleep 0.01; done; kill $pid; wait $pid; echo $?'
    )
    command = [sys.executable, "-c", SLOW, *RUNS["say --stream"], "--bundle", str(short_bundle)]
    result = run("-c", script, "sh", *command, cwd=work, command=["sh"])
    assert result.stdout == b"143\n"


@pytest.mark.parametrize("arguments", [["info"], ["voices"], ["verify"]])
def test_sigterm_ends_every_command(arguments: list[str], tmp_path: Path) -> None:
    for delay in (0.05, 0.3, 0.6):
        with start(arguments, tmp_path) as process:
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGTERM, 0)
        assert errors == b""
        assert list(tmp_path.iterdir()) == []
