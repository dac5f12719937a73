"""What the command line does not do: bad usage is status 2, a failure is status 1, each says why on one line.

Most runs are real processes. Where only click is at work, its own test runner is enough.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bark_onnx import DeviceError
from bark_onnx.command.cli import main
from bark_onnx.graphs.device import Device
from run_command import COMMAND, COMMANDS, SAY, assert_fails, run

# Ends a process that writes more than a file may hold with an error, as a full disk does.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from bark_onnx.command.cli import main
main(sys.argv[1:], prog_name="bark-onnx")
"""


@pytest.fixture
def damaged(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle with one byte changed."""
    directory = shutil.copytree(bundle, tmp_path / "damaged")
    content = bytearray((directory / "fine.onnx").read_bytes())
    content[1000] ^= 1
    (directory / "fine.onnx").write_bytes(content)
    return directory


# Bad usage


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["sing"], "No such command 'sing'"),
        (["say"], "give either TEXT or --file FILE"),
        (["say", "hi", "there"], "unexpected extra argument"),
        (["say", "hi", "--loud"], "--loud"),
        (["say", "-5 degrees"], "options first, then --, then the text"),
        (["say", "-5"], "options first, then --, then the text"),
        (["say", "-o", "hi.wav", "- Hi, he said."], "options first, then --, then the text"),
        (["say", "hi", "--file", "hi.txt"], "give either TEXT or --file FILE"),
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
        (["say", "hi", "--provider-option", "key"], "KEY=VALUE"),
        (["say", "hi", "--profile", "slow"], "--profile"),
        (["say", "hi", "--threads", "0"], "--threads"),
        (["say", "hi", "--exact"], "are for --stream"),
        (["say", "hi", "--buffer", "1"], "are for --stream"),
        (["say", "hi", "--stream", "--low-memory"], "--low-memory is for"),
        (["info", "here", "there"], "unexpected extra argument"),
        (["export", "here"], "Missing argument 'OUT'"),
        (["say", "hi", "--sample-rate", "22050", "-o", "out.opus"], "--sample-rate"),
        (["say", "hi", "--sample-rate", "8000", "--stream"], "--sample-rate is for -o"),
        (["export", "here", "there", "--precision", "int3"], "--precision"),
        (["export", "here", "there", "--model-size", "huge"], "--model-size"),
        (["verify", "here", "--checkpoint", "a", "--against", "b"], "exclude each other"),
        (["verify", "here", "--device", "cuda"], "--device goes with --against"),
        (["verify", "here", "--checkpoint", "a", "--device", "cpu"], "--device goes with --against"),
        (["verify", "here", "--against", "b", "--revision", "main"], "go with --checkpoint"),
        (["verify", "here", "--codec", "a"], "go with --checkpoint"),
        (["verify", "here", "--against", "b", "--model-size", "small"], "go with --checkpoint"),
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
    result = run("say", "hi there", "--loud")
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.decode().splitlines()[-1] == "Error: No such option '--loud'."


# Failures


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["say", "hi", "--bundle", "{bundle}", "--device", "tpu"], ["unknown device 'tpu'", "has auto, cpu"]),
        (["say", "hi", "--bundle", "nowhere"], ["nowhere", "no such directory", "bark-onnx export"]),
        (["say", "hi", "--bundle", "file"], ["file", "not a bundle", "bark-onnx export"]),
        (["say", "hi", "--bundle", "{damaged}"], ["damaged", "fine.onnx has another hash", "again"]),
        (["say", "hi", "--bundle", "{bundle}", "--voice", "nobody"], ["no voice 'nobody'", "no voices"]),
        (["say", "hi", "--bundle", "{bundle}", "--voice", "nobody.npz"], ["nobody.npz", "no such voice file"]),
        (["say", "hi", "--bundle", "{bundle}", "--voice", "file.npz"], ["file.npz", "cannot be read"]),
        (["say", "", "--bundle", "{bundle}"], ["the text is empty"]),
        (["say", " \n\t", "--bundle", "{bundle}"], ["the text is empty"]),
        (["say", "-", "--bundle", "{bundle}"], ["the text is empty"]),
        (["info", "nowhere"], ["nowhere", "no such directory"]),
        (["voices", "{damaged}"], ["damaged"]),
        (["verify", "{damaged}"], ["damaged"]),
        (["verify", "{bundle}", "--against", "nowhere"], ["nowhere", "no such directory"]),
        (["bench", "nowhere"], ["nowhere", "no such directory"]),
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
