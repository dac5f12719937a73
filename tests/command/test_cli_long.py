"""`say --file`: interrupted and gone on with, read from anywhere, with subtitles and a cast, in flat memory.

What is interrupted is a real process. The rest runs in this one.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from bark_onnx import Bark, BarkWarning
from bark_onnx.audio.files import encode
from bark_onnx.command.cli import main
from bark_onnx.command.options import Output
from bark_onnx.command.passages import PassageLog
from bark_onnx.graphs.networks import Networks
from bark_onnx.long.guards import Guards, Problem
from bark_onnx.long.journal import PLAN, Journal
from bark_onnx.long.plan import NarrationOptions
from bark_onnx.long.spoken import PassageReport, SpokenPassage
from bark_onnx.subtitles.formats import to_srt, to_vtt
from passages import SAID, SCRIPT, SPACE
from run_command import COMMAND, assert_fails, run
from voices import make_voice

TEXT = "\n\n".join(SAID * 3)
LONG = f"Hello. {'It is the laughter of the dogs, and the music. ' * 6}\n\nThe dog."
ONCE = ["--device", "cpu", "--threads", "1", "--retries", "0", "--quiet"]
JOURNAL = "out.wav.partial"

# Ends a process that writes more than a file may hold with an error, as a full disk does.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
from bark_onnx.command.cli import main
from bark_onnx.graphs.networks import Networks
main(sys.argv[1:], prog_name="bark-onnx")
"""

# Says how much memory it needed. A parent cannot ask: what it hears of is the larger of the child's and its own.
MEASURED = """
import sys
from bark_onnx.command.cli import main
from bark_onnx.graphs.networks import Networks
try:
    main(sys.argv[1:], prog_name="bark-onnx")
finally:
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    make_voice(SPACE, seed=3).save(tmp_path / "voice.npz")
    return tmp_path


def passages(bark: Bark, text: str = TEXT, retries: int = 0, **arguments: Any) -> list[SpokenPassage]:
    narration = NarrationOptions(guards=Guards(retries=retries))
    return list(
        bark.generate_long(text, **({"voice": make_voice(SPACE, seed=3), "seed": 3} | arguments), narration=narration)
    )


def wav(spoken: Sequence[SpokenPassage]) -> bytes:
    return encode(np.concatenate([passage.waveform for passage in spoken]), spoken[0].sample_rate)


def invoke(bundle: Path, *arguments: object, stdin: bytes = b"") -> Result:
    """The command, in this process."""
    return CliRunner().invoke(main, ["say", *ONCE, *map(str, arguments), "--bundle", str(bundle)], input=stdin)


def assert_one_line(result: Result, *fragments: str) -> None:
    """Status 1, and one line that names all of these."""
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1), (result.stderr, result.exception)
    assert result.stderr.startswith("Error: ")
    assert [fragment for fragment in fragments if fragment not in result.stderr] == [], result.stderr


# Interrupted


def without_warnings(errors: bytes) -> bytes:
    lines = errors.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"bark-onnx: warning: passage "))


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stop(command: list[str], work: Path, kept: int, how: signal.Signals) -> tuple[int, bytes]:
    """Interrupt a run as soon as so many passages are in its journal: its status, and what it said but for warnings."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell starts what runs in its background deaf to SIGINT, and children inherit that.
    with subprocess.Popen(command, cwd=work, preexec_fn=_hear_interrupts, **pipes) as process:  # type: ignore[call-overload]
        while not (work / JOURNAL / PLAN).exists() or len(list((work / JOURNAL).glob("0*.npz"))) < kept:
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(how)
        output, errors = process.communicate(timeout=120)
    assert output == b""
    return process.returncode, without_warnings(errors)


def say(bundle: Path, *arguments: str) -> list[str]:
    return [*COMMAND, "say", "--file", "text.txt", "-o", "out.wav", "--bundle", str(bundle), *ONCE, *arguments]


@pytest.mark.parametrize(("history", "stops"), [("fixed", [0, 3, 7]), ("rolling", [4]), ("hybrid", [8])])
def test_a_killed_job_goes_on_to_the_same_file(
    short: Bark, short_bundle: Path, work: Path, history: str, stops: list[int]
) -> None:
    command = say(short_bundle, "--seed", "3", "--voice", "voice.npz", "--history", history)
    finished: dict[Path, int] = {}
    for kept in stops:
        assert stop(command, work, kept, signal.SIGKILL) == (-signal.SIGKILL, b"")
        assert not (work / "out.wav").exists()
        assert {path: path.stat().st_ino for path in finished} == finished  # not spoken again
        count = len(list((work / JOURNAL).glob("0*.npz")))
        whole_blocks = count // 4 * 4 if history == "fixed" else count
        finished = {path: path.stat().st_ino for path in sorted((work / JOURNAL).glob("0*.npz"))[:whole_blocks]}
    result = subprocess.run(command, cwd=work, capture_output=True, timeout=120, check=True)
    assert result.stdout == b""
    assert (work / "out.wav").read_bytes() == wav(passages(short, history=history))
    assert not (work / JOURNAL).exists()


def test_an_interrupted_job_leaves_its_journal_and_its_seed(short: Bark, short_bundle: Path, work: Path) -> None:
    text = "\n\n".join(SAID * 8)  # not over before the signal comes, however slowly that comes
    (work / "text.txt").write_text(text)
    before = {path.name for path in work.iterdir()}
    status, errors = stop(say(short_bundle, "--voice", "voice.npz"), work, 1, signal.SIGINT)
    assert (status, errors.strip()) == (1, b"Aborted!")
    assert {path.name for path in work.iterdir()} == before | {JOURNAL}
    seed = Journal.seed(work / JOURNAL)
    arguments = ["-f", work / "text.txt", "-o", work / "out.wav", "--voice", work / "voice.npz"]
    kept = {path.name: path.read_bytes() for path in (work / JOURNAL).iterdir()}
    for changes in (["--seed", 2**64 - 1], ["--history", "hybrid"], ["--voice", work / "other.npz"], ["--top-k", 5]):
        make_voice(SPACE, seed=4).save(work / "other.npz")
        assert_one_line(invoke(short_bundle, *arguments, *changes), "journal of another job", JOURNAL)
    assert {path.name: path.read_bytes() for path in (work / JOURNAL).iterdir()} == kept
    assert invoke(short_bundle, *arguments).exit_code == 0
    assert (work / "out.wav").read_bytes() == wav(passages(short, text, seed=seed))
    assert not (work / JOURNAL).exists()


def test_a_full_disk_costs_nothing_that_was_spoken(short: Bark, short_bundle: Path, work: Path) -> None:
    """It is not there for the file, but was for the journal."""
    command = say(short_bundle, "--seed", "3", "--voice", "voice.npz")
    (work / "out.wav").write_bytes(b"old")
    result = run(*command[len(COMMAND) :], cwd=work, command=[sys.executable, "-c", LIMITED])
    result.stderr = without_warnings(result.stderr)
    assert_fails(result, "cannot write out.wav")
    assert (work / "out.wav").read_bytes() == b"old"
    assert len(list((work / JOURNAL).glob("0*.npz"))) >= 4
    assert not list(work.glob(".out*"))
    run(*command[len(COMMAND) :], cwd=work)
    assert (work / "out.wav").read_bytes() == wav(passages(short))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc, where not even root can write")
def test_a_journal_that_cannot_be_written_is_told(short_bundle: Path) -> None:
    result = invoke(short_bundle, TEXT, "-o", "/proc/out.wav")
    if result.exit_code != 2:  # os.access says so to some
        assert_one_line(result, "cannot write the journal /proc/out.wav.partial")


def test_a_directory_that_is_no_journal_is_left_alone(short_bundle: Path, work: Path) -> None:
    (work / JOURNAL).mkdir()
    (work / JOURNAL / "00000.npz").write_bytes(b"mine")
    assert_one_line(invoke(short_bundle, "-f", work / "text.txt", "-o", work / "out.wav"), "not a journal", JOURNAL)
    assert [(path.name, path.read_bytes()) for path in (work / JOURNAL).iterdir()] == [("00000.npz", b"mine")]
    assert not (work / "out.wav").exists()


def test_a_short_text_leaves_the_journal_of_a_long_one_alone(short_bundle: Path, work: Path) -> None:
    """Both are for the same audio file."""
    Journal(work / JOURNAL, "of a long text", 3)
    for streamed in ([], ["--stream"]):
        result = invoke(short_bundle, "Hello world.", "-o", work / "out.wav", "--seed", "3", *streamed)
        assert result.exit_code == 0, result.stderr
        assert (work / JOURNAL / PLAN).exists()


# The text


def test_a_text_may_come_from_anywhere(short: Bark, short_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbfHello w\xc3\xb6rld.\r\n\r\nThe dog.")
    marked, piped = (
        invoke(short_bundle, "-f", source, "-o", "-", "--seed", 3, stdin=path.read_bytes()) for source in (path, "-")
    )
    assert marked.exit_code == piped.exit_code == 0
    assert marked.stdout_bytes == piped.stdout_bytes
    assert marked.stdout_bytes == short.generate("Hello wörld.\n\nThe dog.", seed=3).encode()


def test_a_file_that_is_a_dash_is_no_pipe(short_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "dash.txt").write_text("-")
    assert_one_line(
        invoke(short_bundle, "-f", tmp_path / "dash.txt", "-o", "-", stdin=b"Hello."), "there is nothing to say"
    )


def test_a_text_that_cannot_be_read_is_told(short_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    (tmp_path / "empty").write_bytes(b" \n\n")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate((64 << 20) + 1)
    for name, fragment in {
        "latin": "latin is not UTF-8 text (byte 3)",
        "empty": "the text is empty",
        "huge": "huge is over 64 MiB",
        "missing": "missing: No such file",
        ".": "Is a directory",
    }.items():
        assert_one_line(invoke(short_bundle, "-f", tmp_path / name, "-o", tmp_path / "out.wav"), fragment)
    assert_one_line(invoke(short_bundle, "-f", "-", "-o", "-", stdin=b"caf\xe9"), "standard input is not UTF-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "huge", "latin"]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["Hello", "--file", "text.txt"], "either TEXT or --file"),
        (["--history", "fixed"], "either TEXT or --file"),
        (["-f", "text.txt", "--raw"], "--raw is for -o -"),
        (["-f", "text.txt", "--raw", "-o", "out.wav"], "--raw is for -o -"),
        (["-f", "text.txt", "--single", "--history", "hybrid"], "--single takes no --history and no --cast"),
        (["-f", "text.txt", "--low-memory"], "--low-memory is for a single utterance, and this text is longer"),
        (["-f", "text.txt", "--history", "wandering"], "--history"),
        (["-f", "text.txt", "--cast", "HOST"], "--cast NAME=VOICE"),
        (["-f", "text.txt", "--subtitles", "cues.txt"], "--subtitles"),
        (["-f", "text.txt", "--subtitles", "nowhere/cues.srt"], "nowhere"),
        (["-f", "text.txt", "--retries", "-1"], "--retries"),
        (["-f", "text.txt", "-o", "out.mp4"], ".mp4"),
    ],
)
def test_bad_usage_is_status_2(
    short_bundle: Path, work: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], fragment: str
) -> None:
    monkeypatch.chdir(work)
    before = sorted(work.iterdir())
    result = invoke(short_bundle, *arguments)
    assert result.exit_code == 2, (result.stderr, result.exception)
    assert fragment in result.stderr.splitlines()[-1]
    assert sorted(work.iterdir()) == before


# What is told


def test_subtitles_are_the_passages(short: Bark, short_bundle: Path, work: Path) -> None:
    (work / "text.txt").write_text(LONG)
    cues = [cue for passage in passages(short, LONG) for cue in passage.cues]
    for name in ("cues.json", "cues.srt", "cues.vtt"):
        arguments = ["-f", work / "text.txt", "-o", "-", "--seed", 3, "--voice", work / "voice.npz"]
        assert invoke(short_bundle, *arguments, "--subtitles", work / name).exit_code == 0
    assert json.loads((work / "cues.json").read_text()) == [
        {"start": round(cue.start, 3), "end": round(cue.end, 3), "speaker": None, "text": cue.text} for cue in cues
    ]
    assert (work / "cues.srt").read_text() == to_srt(cues)
    assert (work / "cues.vtt").read_text() == to_vtt(cues)


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_the_speed_is_that_of_the_file_and_of_its_subtitles(short_bundle: Path, work: Path, stream: list[str]) -> None:
    pytest.importorskip("av")
    lengths, ends = [], []
    for speed in (1, 2):
        arguments = ["-f", work / "text.txt", "-o", work / f"{speed}.pcm", "--seed", 3, "--voice", work / "voice.npz"]
        told = invoke(short_bundle, *arguments, *stream, "--speed", speed, "--subtitles", work / "cues.json")
        assert told.exit_code == 0
        lengths.append((work / f"{speed}.pcm").stat().st_size / 2)
        ends.append([cue["end"] for cue in json.loads((work / "cues.json").read_text())])
    assert lengths[1] == pytest.approx(lengths[0] / 2, abs=1)
    assert ends[1] == pytest.approx([end / 2 for end in ends[0]], abs=0.001)


def test_without_pyav_a_speed_and_aac_are_a_line_before_the_work(
    short_bundle: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av.filter", None)
    for arguments in (["-o", work / "x.wav", "--speed", 2], ["-o", work / "x.aac"], ["-o", work / "x.aac", "--stream"]):
        assert_one_line(invoke(short_bundle, "hello", *arguments), "PyAV", "pip install '.[av]'")
    assert not [*work.glob("x.*")]


def test_a_script_has_a_cast(short: Bark, short_bundle: Path, tmp_path: Path) -> None:
    voices = {"HOST": make_voice(SPACE, seed=1), "GUEST": make_voice(SPACE, seed=2)}
    for name, voice in voices.items():
        voice.save(tmp_path / f"{name}.npz")
    cast = [argument for name in voices for argument in ("--cast", f"{name}={tmp_path / name}.npz")]
    cues = tmp_path / "cues.json"
    arguments = ["-", "-o", tmp_path / "out.flac", "--seed", 3, "--subtitles", cues]
    assert invoke(short_bundle, *arguments, *cast, stdin=SCRIPT.encode()).exit_code == 0
    spoken = passages(short, SCRIPT, cast=voices)
    assert [cue["speaker"] for cue in json.loads(cues.read_text())] == [passage.speaker for passage in spoken]
    samples, _ = soundfile.read(tmp_path / "out.flac", dtype="float32")
    assert np.abs(samples - np.concatenate([passage.waveform for passage in spoken])).max() < 1 / 32768
    assert_one_line(invoke(short_bundle, *arguments, *cast[:2], stdin=SCRIPT.encode()), "--cast GUEST=VOICE")


def test_each_problem_is_a_line(short: Bark, short_bundle: Path, work: Path) -> None:
    (work / "text.txt").write_text(TEXT)
    spoken = passages(short, TEXT, retries=2)
    arguments = ["-f", work / "text.txt", "-o", "-", "--seed", 3, "--voice", work / "voice.npz", "--retries", 2]
    result = invoke(short_bundle, *arguments)
    told = [passage for passage in spoken if passage.problems or passage.rejected]
    assert {bool(passage.problems) for passage in told} == {True, False}
    for line, passage in zip(result.stderr.splitlines(), told, strict=True):
        assert line.startswith(f"bark-onnx: warning: passage {spoken.index(passage) + 1} ({passage.text[:37]}")
        assert str([*passage.problems, *passage.rejected][0]) in line
        assert ("best of 3 attempts" if passage.problems else f"is good after {passage.attempts} attempts") in line


def test_a_problem_is_a_warning_at_the_line_of_the_caller() -> None:
    """As every warning of the package, so that filters by module find it."""
    silence = (Problem("silent", "no sound"),)
    passage = PassageReport("hello", "hello", None, 0.0, 1.0, (), 7, 2, silence, (), resumed=False)
    with pytest.warns(BarkWarning, match=r"^passage 1 \(hello\), best of 2 attempts: silent: no sound$") as caught:
        PassageLog(Output("out.wav", False, None, 1.0, show_text=False, quiet=True)).add(passage)
    assert [warning.filename for warning in caught] == [__file__]


def test_who_says_nothing_is_silent(short_bundle: Path, tmp_path: Path) -> None:
    arguments = [f"He\x1b[31mllo{'.' * 8} {'Hello. ' * 40}", "-o", tmp_path / "out.wav", "--min-eos-p", 1e-9]
    result = invoke(short_bundle, *arguments)
    assert (result.exit_code, result.exception) == (0, None)
    assert not soundfile.read(tmp_path / "out.wav")[0].any()  # but pauses
    line = result.stderr.splitlines()[0]
    assert "passage 1 (He?[31mllo" in line
    assert "best of 1 attempts: silent: " in line


# Memory


def peak(bundle: Path, work: Path, count: int) -> int:
    """Bytes, of a process that speaks so many passages."""
    (work / "text.txt").write_text("Hello.\n\n" * count)
    arguments = say(bundle, "--max-seconds", "0.05")[len(COMMAND) :]
    result = run(*arguments, cwd=work, command=[sys.executable, "-c", MEASURED])
    assert result.returncode == 0, result.stderr
    assert soundfile.info(work / "out.wav").duration > 0.7 * (count - 1)
    return int(result.stdout) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_stays_flat(short_bundle: Path, work: Path) -> None:
    """The waveforms of these 180 more passages, with their pauses, have 13 MB."""
    assert peak(short_bundle, work, 220) - peak(short_bundle, work, 40) < 6 << 20


# What is told of an interruption


def test_an_interrupted_job_tells_how_to_go_on_and_then_what_was_kept(short_bundle: Path, work: Path) -> None:
    (work / "text.txt").write_text("\n\n".join(SAID * 8))
    command = [argument for argument in say(short_bundle, "--voice", "voice.npz") if argument != "--quiet"]
    status, errors = stop(command, work, 5, signal.SIGINT)
    assert (status, b" passages are kept; run the same command again to continue" in errors) == (1, True), errors
    result = subprocess.run(command, cwd=work, capture_output=True, timeout=120, check=True)
    told = [line for line in result.stderr.decode().splitlines() if "warning" not in line]
    kept = re.fullmatch(r"bark-onnx: (\d+) passages \(([\d.]+) s\) kept from the interrupted run", told[0])
    summary = re.match(
        r"bark-onnx: out.wav: ([\d.]+) s of audio, ([\d.]+) s of it kept .*; ([\d.]+) s made in", told[1]
    )
    assert kept
    assert summary
    assert int(kept[1]) >= 4
    whole, of_it, made = map(float, summary.groups())
    assert of_it == pytest.approx(float(kept[2]), abs=0.06)
    assert made == pytest.approx(whole - of_it, abs=0.02)
    assert whole == pytest.approx(soundfile.info(work / "out.wav").duration, abs=0.01)


@pytest.mark.parametrize("arguments", [["--voice", "nobody"], ["--cast", "HOST=nobody"], ["--stream", "--voice", "no"]])
def test_a_voice_is_checked_before_networks_are_loaded(
    short_bundle: Path, work: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def load(_: Networks) -> None:
        raise AssertionError("the networks are loaded")

    monkeypatch.setattr(Networks, "load", load)
    result = invoke(short_bundle, "-f", work / "text.txt", "-o", work / "out.wav", *arguments)
    assert_one_line(result, "no voice 'no")
