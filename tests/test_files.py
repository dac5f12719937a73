"""Files and directories that appear whole or not at all: permissions, links, devices, and what killed processes leave.

Processes and signals are real.
"""

import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bark_onnx.files import (
    check_replaceable,
    plain_file,
    replacing,
    replacing_directory,
    restore_replaced,
    temporary_names,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions, locks and signals of POSIX")

# Writes half a file or directory, says which temporary it writes to, and waits to be ended.
HALF = """
import sys, time
from pathlib import Path
from bark_onnx.command.signals import clean_up_on_signals
from bark_onnx.files import replacing, replacing_directory

clean_up_on_signals()
target, kind = Path(sys.argv[1]), sys.argv[2]
with (replacing if kind == "file" else replacing_directory)(target) as temporary:
    (temporary if kind == "file" else temporary / "half").write_text("half")
    print(temporary, flush=True)
    time.sleep(600)
"""


def half(target: Path, kind: str = "file") -> tuple[subprocess.Popen[str], Path]:
    """A process that is writing to a target, and its temporary."""
    process = subprocess.Popen([sys.executable, "-c", HALF, target, kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)
    with process:
        pass
    assert process.returncode == -number


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def write(path: Path, text: str = "new") -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_directory(path: Path, text: str = "new") -> None:
    with replacing_directory(path) as temporary:
        (temporary / "file").write_text(text)


# Permissions


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077, 0o277, 0o777])
def test_new_files_have_the_permissions_of_any_new_file(tmp_path: Path, umask: int) -> None:
    code = """
import os, sys
from pathlib import Path
from bark_onnx.files import replacing, replacing_directory
os.umask(int(sys.argv[1]))
Path("expected").touch()
Path("expected-directory").mkdir()
with replacing(Path("file")) as temporary:
    temporary.write_text("new")
with replacing_directory(Path("directory")) as temporary:
    (temporary / "file").write_text("new")
    (temporary / "private").touch(0o600)
"""
    subprocess.run([sys.executable, "-c", code, str(umask)], cwd=tmp_path, check=True, timeout=60)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    inside = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "directory").iterdir()}
    assert modes["file"] == modes["expected"] == 0o666 & ~umask
    assert modes["directory"] == modes["expected-directory"] == 0o777 & ~umask
    assert inside == {0o666 & ~umask}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    with replacing(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == mode | 0o600
        temporary.write_text("new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)


def test_a_replaced_directory_keeps_its_permissions(tmp_path: Path) -> None:
    write_directory(tmp_path / "directory", "old")
    (tmp_path / "directory").chmod(0o700)
    write_directory(tmp_path / "directory")
    assert stat.S_IMODE((tmp_path / "directory").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "directory" / "file").stat().st_mode) == 0o600


def test_the_umask_is_never_changed(tmp_path: Path) -> None:
    """Files that another thread creates meanwhile have their usual permissions.

    A change would last long enough for the thread to see it.
    """
    code = """
import os, threading, time
from pathlib import Path
from bark_onnx.files import replacing, replacing_directory
umask = os.umask
umask(0o077)
done, modes = threading.Event(), set()

def slow_umask(mask):
    before = umask(mask)
    time.sleep(0.01)
    return before

os.umask = slow_umask

def create():
    number = 0
    while not done.is_set():
        path = Path(f"other-{number % 50}")
        path.unlink(missing_ok=True)
        path.touch()
        modes.add(path.stat().st_mode & 0o777)
        number += 1

thread = threading.Thread(target=create)
thread.start()
for number in range(100):
    with replacing(Path(f"file-{number % 3}")) as temporary:
        temporary.write_text("new")
    with replacing_directory(Path("directory")) as temporary:
        (temporary / "file").write_text("new")
done.set()
thread.join()
print([oct(mode) for mode in sorted(modes)])
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("['0o600']\n", "")


# Links, devices, pipes


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("old")
    (tmp_path / "link").symlink_to("real/file")
    (tmp_path / "link-to-link").symlink_to(tmp_path / "link")
    write(tmp_path / "link-to-link")
    assert (tmp_path / "real" / "file").read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "link-to-link").is_symlink()
    assert names(tmp_path / "real") == ["file"]


def test_a_link_to_a_missing_file_creates_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write(tmp_path / "link")
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_whether_a_file_can_be_written_is_found_out_by_trying(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    os.mkfifo(tmp_path / "pipe")
    for name in ("old", "new", "pipe"):
        check_replaceable(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "pipe"]
    assert (tmp_path / "old").read_text() == "old"
    for path in (tmp_path / "nowhere" / "new", tmp_path / ("a" * 256)):
        with pytest.raises(OSError, match=r"No such file|too long"):
            check_replaceable(path)


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="Too many levels"):
        write(tmp_path / "link")
    assert names(tmp_path) == ["link"]


def test_a_named_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()))
    reader.start()
    write(tmp_path / "pipe")
    reader.join()
    assert received == ["new"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_device_is_written_to_and_stays() -> None:
    assert plain_file(Path("/dev/null")) is None
    write(Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")
def test_an_open_file_without_a_name_is_written_to(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+") as file:
        path = Path(f"/proc/self/fd/{file.fileno()}")
        assert plain_file(path) == tmp_path / "file"
        (tmp_path / "file").unlink()
        assert plain_file(path) is None
        write(path)
        assert file.read() == "new"
    assert names(tmp_path) == []


def test_long_names_fit(tmp_path: Path) -> None:
    """A name may have 255 bytes; a character up to 4."""
    for name in ("x" * 251 + ".wav", "\N{MUSICAL SYMBOL G CLEF}" * 62 + ".wav"):
        write(tmp_path / name)
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()


# Signals, and what killed processes leave


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(tmp_path: Path, kind: str, number: signal.Signals) -> None:
    process, temporary = half(tmp_path / "result", kind)
    assert temporary.exists()
    end(process, number)
    assert names(tmp_path) == []


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HALF, tmp_path / "result", "file"],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    assert process.stdout is not None
    temporary = Path(process.stdout.readline().decode().strip())
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    assert temporary.exists()
    with process:
        process.terminate()


def test_a_signal_to_a_forked_child_leaves_what_its_parent_writes(tmp_path: Path) -> None:
    code = """
import os, signal, time
from pathlib import Path
from bark_onnx.command.signals import clean_up_on_signals
from bark_onnx.files import replacing
clean_up_on_signals()
with replacing(Path("file")) as temporary:
    temporary.write_text("whole")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"ready")  # a signal before this could be lost in the fork
        time.sleep(600)
    os.read(reader, 5)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's namespaces")
def test_the_first_process_of_a_container_ends_too(tmp_path: Path) -> None:
    """The kernel does not apply a signal's default action to it."""
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no namespaces here")
    code = HALF.replace("time.sleep(600)", "import os, signal; os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)")
    run = subprocess.run([*command, sys.executable, "-c", code, tmp_path / "result", "file"], timeout=60, check=False)
    assert run.returncode == 128 + signal.SIGTERM
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_the_next_write_deletes_what_a_killed_process_left(tmp_path: Path, kind: str) -> None:
    for _ in range(2):
        end(half(tmp_path / "result", kind)[0], signal.SIGKILL)
    assert len(names(tmp_path)) == 1  # the second process has deleted what the first one left
    (write if kind == "file" else write_directory)(tmp_path / "result")
    assert names(tmp_path) == ["result"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_another_process_is_writing_stays(tmp_path: Path, kind: str) -> None:
    process, temporary = half(tmp_path / "result", kind)
    os.utime(temporary, (0, 0))  # it is old
    (write if kind == "file" else write_directory)(tmp_path / "result")
    assert names(tmp_path) == [temporary.name, "result"]
    assert (temporary if kind == "file" else temporary / "half").read_text() == "half"
    end(process, signal.SIGTERM)
    assert names(tmp_path) == ["result"]


def test_what_another_thread_is_writing_stays(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("first")
        write(tmp_path / "file", "second")
        assert temporary.read_text() == "first"
    assert (tmp_path / "file").read_text() == "first"


def test_other_files_stay(tmp_path: Path) -> None:
    """A user's files, temporaries of other results, and links and directories with a temporary's name."""
    end(half(tmp_path / "other.wav")[0], signal.SIGKILL)
    (other,) = names(tmp_path)
    kept = {
        other,
        ".result-bark-onnx-0123456789abcdef",  # without the suffix
        ".result-bark-onnx-0123456789abcdef.flac",
        ".result-bark-onnx-0123456789ABCDEF.wav",
        ".result-bark-onnx-0123456789abcde.wav",
        ".result-bark-onnx-0123456789abcdef.wav~",
        "result-bark-onnx-0123456789abcdef.wav",
        ".result.wav",
        ".result-abcd1234.wav",
        ".result2-bark-onnx-0123456789abcdef.wav",
    }
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".result-bark-onnx-0000000000000000.wav").symlink_to("precious")
    write(tmp_path / "result.wav")
    assert kept <= set(names(tmp_path))
    assert (tmp_path / "precious").read_text() == "mine"


def test_long_names_with_the_same_beginning_are_told_apart(tmp_path: Path) -> None:
    end(half(tmp_path / f"{'x' * 60}1.wav")[0], signal.SIGKILL)
    left = names(tmp_path)
    write(tmp_path / f"{'x' * 60}2.wav")
    assert set(left) < set(names(tmp_path))
    write(tmp_path / f"{'x' * 60}1.wav")
    assert not set(left) & set(names(tmp_path))


def test_two_processes_that_write_to_the_same_path_at_once(tmp_path: Path) -> None:
    """Each writes the file many times and takes the other's temporaries for what they are; one of them wins."""
    code = """
import sys
from pathlib import Path
from bark_onnx.files import replacing
for number in range(400):
    with replacing(Path("file")) as temporary:
        temporary.write_text(sys.argv[1] * 1000)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, word], cwd=tmp_path, stderr=subprocess.PIPE) for word in "ab"
    ]
    for process in processes:
        assert process.communicate(timeout=60) == (None, b"")
        assert process.returncode == 0
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() in ("a" * 1000, "b" * 1000)


# Forks a process that writes on and on, says that it begins, and waits for it; again for each line of its input. The
# process that forks has imported everything already.
FORKING = """
import atexit, os, signal, sys
from pathlib import Path
from bark_onnx import files
from bark_onnx.command.signals import clean_up_on_signals
from bark_onnx.files import replacing, replacing_directory

def write_until_sigterm():
    clean_up_on_signals()
    print(os.getpid(), flush=True)
    while True:
        with replacing(Path("file")) as temporary:
            temporary.write_text("whole")
        with replacing_directory(Path("directory")) as temporary:
            (temporary / "file").write_text("whole")

def write_until_ctrl_c():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        print(os.getpid(), flush=True)
        while True:
            with replacing(Path("file")) as temporary:
                temporary.write_text("whole")
    except KeyboardInterrupt:
        atexit._run_exitfuncs()  # as at the end of a program, without the rest of it, which takes longer
        os._exit(130)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        files._owner = os.getpid()  # as if it had imported the module itself: a fork does not delete its parent's files
        globals()[sys.argv[1]]()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def assert_it_leaves_nothing(directory: Path, writing: str, number: int, status: int, moments: list[float]) -> None:
    """End processes that do nothing but write files and directories, each after another time."""
    command = [sys.executable, "-c", FORKING, writing]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=directory, text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for moment in moments:
            process.stdin.write("next\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            time.sleep(moment)
            os.kill(child, number)
            assert int(process.stdout.readline()) == status
            assert set(names(directory)) <= {"file", "directory"}


def test_a_signal_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    moments = [0.02 + 0.0013 * attempt for attempt in range(25)]
    assert_it_leaves_nothing(tmp_path, "write_until_sigterm", signal.SIGTERM, -signal.SIGTERM, moments)
    assert (tmp_path / "file").read_text() == "whole"
    assert names(tmp_path / "directory") == ["file"]
    assert (tmp_path / "directory" / "file").read_text() == "whole"


def test_ctrl_c_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    moments = [0.02 + 0.0017 * attempt for attempt in range(15)]
    assert_it_leaves_nothing(tmp_path, "write_until_ctrl_c", signal.SIGINT, 130, moments)


def test_ctrl_c_just_after_the_temporary_is_created_leaves_nothing(tmp_path: Path) -> None:
    """Before the `with` statement, which would delete it, is entered."""
    code = """
import os
from pathlib import Path
from bark_onnx.files import replacing
real = os.open

def interrupted(path, *arguments):
    real(path, *arguments)
    print(sorted(path.name for path in Path().iterdir()))
    raise KeyboardInterrupt

os.open = interrupted
try:
    with replacing(Path("file")):
        pass
except KeyboardInterrupt:
    pass
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert re.fullmatch(r"\['\.file-bark-onnx-\w{16}'\]\n", run.stdout), run
    assert names(tmp_path) == []


# A directory that is replaced


def test_a_directory_gets_its_name_back_after_a_kill_between_two_renames(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from bark_onnx.files import replacing_directory
rename = Path.rename

def rename_once(self, name):
    result = rename(self, name)
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    return result

if sys.argv[2] == "SIGTERM":
    from bark_onnx.command.signals import clean_up_on_signals
    clean_up_on_signals()
with replacing_directory(Path(sys.argv[1])) as temporary:
    (temporary / "file").write_text("new")
    Path.rename = rename_once
"""
    target = tmp_path / "directory"
    write_directory(target, "old")
    for name in ("SIGTERM", "SIGKILL"):
        run = subprocess.run([sys.executable, "-c", code, target, name], timeout=60, check=False)
        assert run.returncode == -getattr(signal, name)
        assert target.exists() == (name == "SIGTERM")
        restore_replaced(target)
        assert (target / "file").read_text() == "old"
    write_directory(target)
    assert (target / "file").read_text() == "new"
    assert names(tmp_path) == ["directory"]


def test_the_names_of_temporaries_are_recognized(tmp_path: Path) -> None:
    for name in ("plan.json", "0001.npz", "a.b.wav", "no-suffix"):
        path = tmp_path / name
        with replacing(path) as temporary:
            assert re.fullmatch(temporary_names(re.escape(path.stem), path.suffix), temporary.name)
            assert temporary.suffix == path.suffix
