"""The command line, as a user or a script meets it: results, one-line errors, exit statuses, silence when piped.

Most runs are real processes. Where only click is at work, its own test runner is enough.
"""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from bark_onnx import Bark, DeviceError, GenerationOptions, VoicePreset, __version__
from bark_onnx.bundle import MANIFEST, STAGES, Bundle
from bark_onnx.cli import main
from bark_onnx.session import Device
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY, make_bark, save_huggingface, write_tokenizer
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle

Argument = str | bytes | Path
Result = subprocess.CompletedProcess[bytes]

COMMAND = [sys.executable, "-m", "bark_onnx.cli"]
SAY = ["say", "hello", "--device", "cpu", "--seed", "7", "--max-seconds", "0.3"]
COMMANDS = ["bench", "export", "info", "say", "verify", "voices"]
# Ends a process that writes more than a file may hold with an error, as a full disk does.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from bark_onnx.cli import main
main(sys.argv[1:], prog_name="bark-onnx")
"""


def run(*arguments: Argument, stdin: bytes = b"", cwd: Path | None = None, command: Sequence[str] = COMMAND) -> Result:
    return subprocess.run([*command, *arguments], input=stdin, capture_output=True, cwd=cwd, timeout=120, check=False)


def assert_silent(result: Result) -> None:
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def assert_fails(result: Result, *fragments: str) -> None:
    """Status 1, and one line that names all of these."""
    message = result.stderr.decode()
    assert result.returncode == 1, message
    assert message.startswith("Error: ")
    assert message.count("\n") == 1
    assert message.endswith("\n")
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of made-up voices."""
    directory = tmp_path_factory.mktemp("presets")
    rng = np.random.default_rng(0)
    for name in ("announcer", "v2/en_speaker_10", "v2/en_speaker_6"):
        fine = rng.integers(1024, size=(8, 150))
        (directory / name).parent.mkdir(exist_ok=True)
        VoicePreset(rng.integers(10_000, size=100), fine[:2], fine).save(directory / f"{name}.npz")
    return directory


@pytest.fixture(scope="module")
def export_run(checkpoint: Path, presets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A real export by the command line, and what came of it."""
    target = tmp_path_factory.mktemp("exported") / "int8"
    return target, run("export", checkpoint, target, "--precision", "int8", "--voices", presets)


@pytest.fixture(scope="module")
def exported(export_run: tuple[Path, Result]) -> Path:
    assert export_run[1].returncode == 0, export_run[1].stderr.decode()
    return export_run[0]


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another token space."""
    directory = tmp_path_factory.mktemp("other") / "checkpoint"
    save_huggingface(make_bark(vocabulary=SMALL_VOCABULARY), directory)
    write_tokenizer(directory)
    return directory


@pytest.fixture(scope="module")
def other_bundle(other_checkpoint: Path) -> Path:
    target = other_checkpoint.parent / "bundle"
    export_bundle(open_checkpoint(str(other_checkpoint)), target, ExportOptions(verify=False))
    return target


@pytest.fixture
def damaged(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle with one byte changed."""
    directory = shutil.copytree(bundle, tmp_path / "damaged")
    content = bytearray((directory / "fine.onnx").read_bytes())
    content[1000] ^= 1
    (directory / "fine.onnx").write_bytes(content)
    return directory


# say


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


def test_say_reads_standard_input(bundle: Path) -> None:
    by_argument = run("say", "héllo wörld", *SAY[2:], "--bundle", bundle, "-o", "-")
    by_pipe = run("say", "-", *SAY[2:], "--bundle", bundle, "-o", "-", stdin="  héllo\n\twörld\n".encode())
    assert by_pipe.stdout == by_argument.stdout
    assert soundfile.info(io.BytesIO(by_pipe.stdout)).frames > 0


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


def test_say_takes_a_voice_of_the_bundles(exported: Path, presets: Path) -> None:
    by_name = run(*SAY, "--bundle", exported, "-o", "-", "--voice", "v2/en_speaker_6")
    by_path = run(*SAY, "--bundle", exported, "-o", "-", "--voice", presets / "v2/en_speaker_6.npz")
    assert (by_name.returncode, by_name.stderr) == (0, b"")
    assert by_name.stdout == by_path.stdout


def test_a_warning_is_one_line(bundle: Path, tmp_path: Path) -> None:
    result = run("say", "hello " * 300, *SAY[2:], "--bundle", bundle, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, b"")
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith("bark-onnx: warning: the text has 300 tokens")
    assert "the last 44" in line


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_sees_progress_and_a_summary(bundle: Path, tmp_path: Path, quiet: bool) -> None:
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    command = [*COMMAND, *SAY, "--bundle", bundle, *(["--quiet"] if quiet else [])]
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


@pytest.mark.parametrize(
    "arguments", [[*SAY, "-o", "-", "--bundle"], ["info"], ["voices"]], ids=["say", "info", "voices"]
)
def test_a_reader_that_goes_away_is_no_news(exported: Path, arguments: list[str]) -> None:
    with subprocess.Popen([*COMMAND, *arguments, exported], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_head_of_a_pipe(bundle: Path) -> None:
    shell = '"$@" | head -c 4'
    result = run("-c", shell, "sh", *COMMAND, *SAY, "-o", "-", "--bundle", bundle, command=["sh"])
    assert (result.stdout, result.stderr) == (b"RIFF", b"")


# info, voices, verify


def test_info_says_what_a_bundle_is(exported: Path) -> None:
    result = run("info", exported)
    assert (result.returncode, result.stderr) == (0, b"")
    lines = dict(line.split(maxsplit=1) for line in result.stdout.decode().splitlines())
    assert lines["model"] == "bark-test"
    assert lines["precision"].startswith("int8, static")
    assert all("weights int8, embeddings fp16" in lines[stage] for stage in STAGES[:3])
    assert "2 layers, 2 heads, width 32" in lines["semantic"]
    assert "weights fp32" in lines["codec"]
    assert lines["voices"] == "3"
    assert lines["files"].startswith(f"{len(Bundle.open(exported).manifest.files)}, ")


def test_voices_are_listed_one_a_line(exported: Path) -> None:
    assert run("voices", exported).stdout == b"announcer\nv2/en_speaker_10\nv2/en_speaker_6\n"


def test_verify_runs_every_graph(exported: Path) -> None:
    result = run("verify", exported)
    assert (result.returncode, result.stderr) == (0, b"")
    assert "8 files" in result.stdout.decode()


def test_verify_against_another_bundle(bundle: Path, exported: Path) -> None:
    result = run("verify", exported, "--against", bundle)
    assert (result.returncode, result.stderr) == (0, b"")
    header, *rows = result.stdout.decode().splitlines()
    assert "relative error" in header
    assert [row.split()[0] for row in rows] == list(STAGES)
    assert [0 < float(row.split()[1]) < 0.2 for row in rows] == [True, True, True, False]  # the codec is the same


def test_verify_fails_where_the_precision_does_not_allow_the_error(bundle: Path, exported: Path) -> None:
    """An fp32 bundle is not allowed what an int8 bundle is."""
    result = run("verify", bundle, "--against", exported)
    assert_fails(result, "semantic, coarse, fine:", "further")
    assert result.stdout.decode().count("over the limit") == 3


def test_verify_against_the_checkpoint(bundle: Path, checkpoint: Path) -> None:
    result = run("verify", bundle, "--checkpoint", checkpoint)
    assert (result.returncode, result.stderr) == (0, b"")
    assert "over the limit" not in result.stdout.decode()
    assert len(result.stdout.splitlines()) == 1 + len(STAGES)


def test_verify_against_another_model_fails(
    bundle: Path, other_bundle: Path, checkpoint: Path, other_checkpoint: Path
) -> None:
    """In whichever direction: it may not even have the same ids."""
    assert_fails(run("verify", bundle, "--against", other_bundle))
    assert_fails(run("verify", other_bundle, "--against", bundle))
    assert_fails(run("verify", bundle, "--checkpoint", other_checkpoint))
    assert_fails(run("verify", other_bundle, "--checkpoint", checkpoint))


# export


def test_export_writes_a_bundle_and_says_how_good_it_is(export_run: tuple[Path, Result]) -> None:
    target, result = export_run
    assert (result.returncode, result.stderr) == (0, b"")
    lines = result.stdout.decode().splitlines()
    assert lines[0] == "voices: 3"
    assert lines[-1] == f"wrote {target}"
    assert [line.split()[0] for line in lines[-5:-1]] == list(STAGES)  # the table
    assert Bundle.open(target).manifest.precision == "int8"
    assert list(target.parent.iterdir()) == [target]


def test_export_does_not_overwrite(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    before = (bundle / MANIFEST).read_bytes()
    assert_fails(run("export", checkpoint, bundle), f"{bundle} exists already", "--force")
    assert (bundle / MANIFEST).read_bytes() == before
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear")
    assert_fails(run("export", checkpoint, tmp_path / "letters", "--force"), "letters is not a bundle")
    assert (tmp_path / "letters" / "love.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["nowhere", "out"], "nowhere is neither a directory nor a name on the hub"),
        ([".", "out"], "neither a Hugging Face model (config.json) nor Suno's"),
    ],
)
def test_export_without_a_checkpoint_fails(tmp_path: Path, arguments: list[str], fragment: str) -> None:
    assert_fails(run("export", *arguments, cwd=tmp_path), fragment)
    assert list(tmp_path.iterdir()) == []


def test_export_without_a_tokenizer_says_where_to_get_one(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer.json", "vocab.txt"))
    assert_fails(run("export", tmp_path / "bare", tmp_path / "out"), "--tokenizer", "bert-base-multilingual-cased")
    assert not (tmp_path / "out").exists()


# Bad usage


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["sing"], "No such command 'sing'"),
        (["say"], "Missing argument 'TEXT'"),
        (["say", "hi", "there"], "unexpected extra argument"),
        (["say", "hi", "--loud"], "--loud"),
        (["say", "hi", "-o", "hi.doc"], ".doc"),
        (["say", "hi", "-o", "hi"], ".wav"),
        (["say", "hi", "-o", "nowhere/hi.wav"], "nowhere"),
        (["say", "hi", "-o", "."], ".wav"),
        (["say", "hi", "-o", "directory.wav"], "directory.wav"),
        (["say", "hi", "-o", "hi.raw"], ".raw"),
        (["say", "hi", "-o", "hi.sd2"], ".sd2"),
        (["say", "hi", "--save-voice", "voice.wav"], ".npz"),
        (["say", "hi", "--save-voice", "nowhere/voice.npz"], "nowhere"),
        (["say", "hi", "--save-voice", "directory.npz"], "directory.npz"),
        (["say", "hi", "--seed", "-1"], "--seed"),
        (["say", "hi", "--seed", "18446744073709551616"], "--seed"),
        (["say", "hi", "--seed", "1.5"], "--seed"),
        (["say", "hi", "--top-p", "2"], "--top-p"),
        (["say", "hi", "--top-p", "0"], "--top-p"),
        (["say", "hi", "--top-k", "0"], "--top-k"),
        (["say", "hi", "--text-temperature", "-0.1"], "--text-temperature"),
        (["say", "hi", "--text-temperature", "nan"], "temperature"),
        (["say", "hi", "--max-seconds", "0"], "--max-seconds"),
        (["say", "hi", "--max-seconds", "nan"], "seconds"),
        (["say", "hi", "--min-eos-p", "1.1"], "--min-eos-p"),
        (["say", "hi", "--device", "tpu"], "--device"),
        (["say", "hi", "--threads", "0"], "--threads"),
        (["info"], "Missing argument 'BUNDLE'"),
        (["export", "here"], "Missing argument 'OUT'"),
        (["export", "here", "there", "--precision", "int3"], "--precision"),
        (["export", "here", "there", "--model-size", "huge"], "--model-size"),
        (["verify", "here", "--checkpoint", "a", "--against", "b"], "exclude each other"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_bad_usage_is_status_2(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], fragment: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("directory.wav", "directory.npz"):
        (tmp_path / name).mkdir()
    if arguments[:2] == ["say", "hi"]:
        arguments = [*arguments, "--bundle", str(bundle)]
        if "--max-seconds" not in arguments:
            arguments += ["--max-seconds", "0.1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.stderr or repr(result.exception)
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert fragment in result.stderr.splitlines()[-1]
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_bad_usage_of_the_real_command_is_status_2() -> None:
    result = run("say", "hi", "--loud")
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.decode().splitlines()[-1] == "Error: No such option '--loud'."


# Failures


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["say", "hi"], ["bark-onnx export"]),
        (["say", "hi", "--bundle", "nowhere"], ["nowhere", "not a bundle", "bark-onnx export"]),
        (["say", "hi", "--bundle", "file"], ["file", "not a bundle", "bark-onnx export"]),
        (["say", "hi", "--bundle", "{damaged}"], ["damaged", "fine.onnx has another hash", "again"]),
        (["say", "hi", "--bundle", "{bundle}", "--voice", "nobody"], ["no voice 'nobody'", "no voices"]),
        (["say", "hi", "--bundle", "{bundle}", "--voice", "nobody.npz"], ["nobody.npz", "no such voice file"]),
        (["say", "hi", "--bundle", "{bundle}", "--voice", "file.npz"], ["file.npz", "cannot be read"]),
        (["say", "", "--bundle", "{bundle}"], ["the text is empty"]),
        (["say", " \n\t", "--bundle", "{bundle}"], ["the text is empty"]),
        (["say", "-", "--bundle", "{bundle}"], ["the text is empty"]),
        (["info", "nowhere"], ["nowhere", "not a bundle"]),
        (["voices", "{damaged}"], ["damaged"]),
        (["verify", "{damaged}"], ["damaged"]),
        (["verify", "{bundle}", "--against", "nowhere"], ["nowhere", "not a bundle"]),
        (["bench", "nowhere"], ["nowhere", "not a bundle"]),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) and part[0] in COMMANDS else "",
)
def test_a_failure_is_status_1_and_one_line(
    bundle: Path, damaged: Path, tmp_path: Path, arguments: list[str], fragments: list[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for name in ("file", "file.npz"):
        (work / name).write_text("RIFF")
    result = run(*(argument.format(bundle=bundle, damaged=damaged) for argument in arguments), cwd=work)
    assert_fails(result, *fragments)
    assert result.stdout == b""
    assert {path.name for path in work.iterdir()} == {"file", "file.npz"}


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_fails(bundle: Path, tmp_path: Path, device: str) -> None:
    try:
        Device.choose(device)
    except DeviceError:
        pass
    else:
        pytest.skip(f"this machine has {device}")
    result = run("say", "hi", "--bundle", bundle, "--device", device, cwd=tmp_path)
    assert_fails(result, f"device '{device}'", "or use device 'cpu'")
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_no_unicode_does_not_end_in_a_traceback(bundle: Path, tmp_path: Path) -> None:
    """It is spoken, as from standard input, or refused."""
    result = run("say", b"caf\xe9", *SAY[2:], "--bundle", bundle, cwd=tmp_path)
    if result.returncode:
        assert_fails(result)
    piped = run("say", "-", *SAY[2:], "--bundle", bundle, stdin=b"caf\xe9", cwd=tmp_path)
    assert_silent(piped)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_directory_that_may_not_be_written_to_is_bad_usage(bundle: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        result = run(*SAY, "--bundle", bundle, "-o", tmp_path / "hello.wav")
    finally:
        tmp_path.chmod(0o700)
    assert result.returncode == 2
    assert str(tmp_path) in result.stderr.decode().splitlines()[-1]


@pytest.mark.parametrize("arguments", [["-o", "out.wav"], ["-o", "out.mp3"], ["-o", "-", "--save-voice", "out.npz"]])
def test_a_full_disk_leaves_what_was_there(bundle: Path, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / arguments[-1]).write_bytes(b"old")
    command = [sys.executable, "-c", LIMITED]
    result = run(*SAY, "--bundle", bundle, *arguments, cwd=tmp_path, command=command)
    assert_fails(result, arguments[-1], "File too large")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(arguments[-1], b"old")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_pipe_that_takes_nothing_fails(bundle: Path) -> None:
    command = [*COMMAND, *SAY, "-o", "-", "--bundle", bundle]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=120, check=False)
    assert_fails(result, "No space left on device")


# Help


def test_every_command_has_help() -> None:
    listed = CliRunner().invoke(main, ["--help"])
    assert listed.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name}" in listed.stdout
        for option in ("--help", "-h"):
            result = CliRunner().invoke(main, [name, option])
            assert result.exit_code == 0
            assert "Usage: " in result.stdout


def test_the_real_command_has_help_and_a_version() -> None:
    result = run("--help")
    assert (result.returncode, result.stderr) == (0, b"")
    assert all(name in result.stdout.decode() for name in COMMANDS)
    assert run("--version").stdout.decode() == f"bark-onnx, version {__version__}\n"


def test_bench_writes_its_figures(bundle: Path, tmp_path: Path) -> None:
    result = run("bench", bundle, "--repeats", "1", "--json", "figures.json", "--device", "cpu", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert json.loads((tmp_path / "figures.json").read_text())["bundle"]["precision"] == "fp32"
