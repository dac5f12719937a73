"""Outputs that are not plain files, closed standard streams, readers that end, and `python -m bark_onnx`.

Every run is a real process.
"""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import soundfile

from bark_onnx import __version__
from bark_onnx.audio.files import wav_header
from run_command import COMMAND, SAY, Argument, Result, assert_fails, assert_silent, run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and shells of POSIX")


@pytest.fixture(scope="module")
def whole(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that SAY makes of this bundle."""
    path = tmp_path_factory.mktemp("whole") / "out.wav"
    assert_silent(run(*SAY, "--bundle", bundle, "-o", path))
    return path.read_bytes()


def shell(script: str, *arguments: Argument, cwd: Path, stdin: bytes = b"") -> Result:
    """A run by a shell, in whose script "$@" is the command."""
    return run("-c", script, "sh", *COMMAND, *arguments, cwd=cwd, stdin=stdin, command=["sh"])


# Not plain files


def test_a_link_is_followed_and_permissions_stay(bundle: Path, tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "real.wav").write_bytes(b"old")
    (tmp_path / "music" / "real.wav").chmod(0o640)
    (tmp_path / "link.wav").symlink_to("music/real.wav")
    assert_silent(run(*SAY, "--bundle", bundle, "-o", tmp_path / "link.wav"))
    assert (tmp_path / "link.wav").is_symlink()
    assert (tmp_path / "music" / "real.wav").read_bytes() == whole
    assert stat.S_IMODE((tmp_path / "music" / "real.wav").stat().st_mode) == 0o640
    assert [path.name for path in (tmp_path / "music").iterdir()] == ["real.wav"]


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_new_files_have_the_usual_permissions(bundle: Path, tmp_path: Path, umask: str) -> None:
    arguments = [*SAY, "--bundle", bundle, "-o", "a.wav", "--save-voice", "a.npz"]
    assert_silent(shell(f'umask {umask}; exec "$@"', *arguments, cwd=tmp_path))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~int(umask, 8)}


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_named_pipe_gets_a_wav_stream(bundle: Path, tmp_path: Path, whole: bytes, stream: list[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert_silent(run(*SAY, *stream, "--bundle", bundle, "-o", tmp_path / "pipe"))
    reader.join()
    assert received[0][:44] == wav_header(24_000)
    assert len(received[0]) == len(whole)
    assert stream or received[0][44:] == whole[44:]
    assert (tmp_path / "pipe").is_fifo()


def test_null_device(bundle: Path, tmp_path: Path) -> None:
    assert_silent(run(*SAY, "--bundle", bundle, "-o", "/dev/null", cwd=tmp_path))
    assert Path("/dev/null").is_char_device()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_dev_stdout_is_standard_output(bundle: Path, tmp_path: Path, whole: bytes) -> None:
    """Also where that is a file which is appended to."""
    piped = run(*SAY, "--bundle", bundle, "-o", "/dev/stdout", cwd=tmp_path)
    assert (piped.stdout, piped.stderr) == (whole, b"")
    (tmp_path / "log").write_bytes(b"before")
    assert_silent(shell('"$@" >> log', *SAY, "--bundle", bundle, "-o", "/dev/stdout", cwd=tmp_path))
    assert (tmp_path / "log").read_bytes() == b"before" + whole
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize(
    ("output", "fragment"),
    [("pipe.flac", "cannot be streamed"), ("link.doc", "no audio format"), ("loop.wav", "Too many levels"),
     ("away.wav", "nowhere is not a directory")],
)  # fmt: skip
def test_what_cannot_be_written_to_is_bad_usage(bundle: Path, tmp_path: Path, output: str, fragment: str) -> None:
    os.mkfifo(tmp_path / "pipe.flac")
    (tmp_path / "link.doc").symlink_to("real.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "away.wav").symlink_to("nowhere/out.wav")
    result = run(*SAY, "--bundle", bundle, "-o", output, cwd=tmp_path)
    assert result.returncode == 2
    assert fragment in result.stderr.decode().splitlines()[-1]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_long_name_is_refused_before_the_work(bundle: Path, tmp_path: Path) -> None:
    """A name may have 255 bytes, and the journal of a long text has a longer one than its audio file."""
    longest = f"{'é' * 125}a.wav"
    assert len(os.fsencode(longest)) == 255
    assert_silent(run(*SAY, "--bundle", bundle, "-o", longest, cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [longest]
    unloaded = ["--bundle", tmp_path / "a bundle that is not loaded"]
    long = ["say", "hello " * 100, *SAY[2:], "--bundle", bundle]
    for arguments in (
        [*SAY, *unloaded, "-o", f"a{longest}"],
        [*long, "-o", longest],
        [*long, "--stream", "-o", longest],
    ):
        result = run(*arguments, cwd=tmp_path)
        assert (result.returncode, b"File name too long" in result.stderr) == (2, True), result


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc, where not even root can write")
@pytest.mark.parametrize("option", [["-o", "/proc/out.wav"], ["--save-voice", "/proc/voice.npz"]])
def test_where_no_file_can_be_created_the_work_does_not_begin(tmp_path: Path, option: list[str]) -> None:
    """The permissions of the directory look right to root: the temporary file is created at the start."""
    result = run(*SAY, "--bundle", tmp_path / "a bundle that is not loaded", *option, cwd=tmp_path)
    assert (result.returncode, b"cannot be written" in result.stderr or b"may write" in result.stderr) == (2, True)


# Closed standard streams


@pytest.mark.parametrize(
    "arguments", [["-o", "-"], ["-o", "-", "--raw"], ["-o", "-", "--stream"], ["-o", "/dev/stdout"]]
)
def test_closed_standard_output_is_one_line(bundle: Path, tmp_path: Path, arguments: list[str]) -> None:
    result = shell('"$@" >&-', *SAY, *arguments, "--bundle", bundle, cwd=tmp_path)
    assert_fails(result, "standard output is closed: give -o FILE")
    assert list(tmp_path.iterdir()) == []


def test_closed_standard_input_is_one_line(bundle: Path, tmp_path: Path) -> None:
    for text in (["-"], ["--file", "-"]):
        result = shell('"$@" <&-', "say", *text, "--bundle", bundle, cwd=tmp_path)
        assert_fails(result, "standard input is closed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_file_is_the_same_whatever_is_closed(
    bundle: Path, tmp_path: Path, whole: bytes, closed: str, stream: list[str]
) -> None:
    """What is written to a closed stream must not land in the file that got its number."""
    result = shell(f'"$@" {closed}', *SAY, *stream, "--bundle", bundle, "-o", "out.wav", cwd=tmp_path)
    assert_silent(result)
    if stream:
        assert soundfile.info(tmp_path / "out.wav").frames * 2 + 44 == len(whole)
    else:
        assert (tmp_path / "out.wav").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


@pytest.mark.parametrize("arguments", [["info"], ["voices"], ["--help"], ["say", "--help"], ["sing"]])
def test_no_closed_stream_is_a_traceback(tmp_path: Path, arguments: list[str]) -> None:
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        result = shell(f'"$@" {closed}', *arguments, cwd=tmp_path)
        assert b"Traceback" not in result.stderr + result.stdout
        assert result.returncode == (2 if arguments == ["sing"] else 0)


# Readers that end


@pytest.mark.parametrize(
    "arguments", [["info"], ["voices"], ["--help"], [*SAY, "-o", "-"], [*SAY, "-o", "-", "--stream"]]
)
def test_a_reader_that_ends_is_not_reported(bundle: Path, arguments: list[str]) -> None:
    command = [*COMMAND, *arguments, *(["--bundle", bundle] if "say" in arguments else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_full_standard_error_changes_nothing(bundle: Path, tmp_path: Path, whole: bytes) -> None:
    """A warning that cannot be shown is no reason to fail."""
    if not Path("/dev/full").exists():
        pytest.skip("needs Linux's /dev/full")
    result = shell('"$@" 2>/dev/full', *SAY, "--bundle", bundle, "-o", "out.wav", cwd=tmp_path)
    assert_silent(result)
    assert (tmp_path / "out.wav").read_bytes() == whole


# The command's other name


def test_the_package_can_be_run() -> None:
    result = run("--version", command=[sys.executable, "-m", "bark_onnx"])
    assert result.stdout.decode() == f"bark-onnx, version {__version__}\n"
    assert b"Usage: bark-onnx " in run("--help", command=[sys.executable, "-m", "bark_onnx"]).stdout
