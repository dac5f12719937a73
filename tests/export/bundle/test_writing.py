"""A bundle is written whole or not at all; if it is not written, an older bundle is unchanged."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bark_onnx import BarkError, BarkWarning, VoiceError
from bark_onnx.checks import quality
from bark_onnx.model.bundle import Bundle, list_files
from bark_onnx.model.manifest import MANIFEST
from bark_onnx_export.bundle.write import new_directory
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from checkpoint_files import ensure
from voices import PUBLISHED, make_voice

# Limits the size of files. To write more is an error, as on a full disk.
LIMITED = """
import resource, signal, sys
limit = int(sys.argv.pop(1))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from bark_onnx.command.cli import main
main(prog_name="bark-onnx")
"""


def test_a_bundle_over_its_limits_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(quality.LIMITS["int8"], "kl", 1e-9)
    report: list[str] = []
    options = ExportOptions("int8", force=True)
    with pytest.raises(
        BarkError, match=r"semantic: kl .* \(limit 1e-09\); coarse: .*; fine: .*no bundle was written.*--over-limit"
    ):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", options, report.append)
    assert sum("over the limit" in line for line in report) == 3
    assert list(tmp_path.iterdir()) == []


def test_over_limit_writes_a_bundle_over_its_limits_with_a_warning(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(quality.LIMITS["int8"], "kl", 1e-9)
    with pytest.warns(BarkWarning, match=r"int8 costs more than its limits allow \(semantic: kl .*may come out wrong"):
        export_bundle(open_checkpoint(str(checkpoint)), tmp_path / "bundle", ExportOptions("int8", over_limit=True))
    assert Bundle.open(tmp_path / "bundle").manifest.quality["semantic"]["kl"] > 1e-9


def test_a_failed_export_leaves_an_older_bundle_unchanged(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    target = shutil.copytree(bundle, tmp_path / "bundle")
    presets = tmp_path / "presets"
    make_voice(PUBLISHED, 100).save(ensure(presets) / "good.npz")
    (presets / "damaged.npz").write_text("RIFF")
    with pytest.raises(VoiceError, match=r"damaged\.npz"):
        export_bundle(open_checkpoint(str(checkpoint)), target, ExportOptions(voices=presets, force=True))
    assert Bundle.open(target).manifest.files == list_files(target)
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "presets"}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "statuses", "message"),
    [
        # If the interrupt came while C ran Python code, Python ends by the signal itself after all.
        (signal.SIGINT, (1, -signal.SIGINT), b"Aborted!"),
        (signal.SIGTERM, (-signal.SIGTERM,), b""),
    ],
)
def test_an_interrupted_export_leaves_nothing(
    checkpoint: Path, tmp_path: Path, number: signal.Signals, statuses: tuple[int, ...], message: bytes
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bark_onnx", "export", checkpoint, tmp_path / "bundle"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a process in the background may ignore it
    )
    with process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".bundle-*/scratch")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in statuses
    assert errors.strip() == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(4_000, id="tokenizer"),
        pytest.param(100_000, id="graph", marks=pytest.mark.full),
        pytest.param(17_000_000, id="weights"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(checkpoint: Path, tmp_path: Path, limit: int) -> None:
    """The limit is for each file. semantic.onnx has 18 MB, most of them in one tensor."""
    target = tmp_path / "bundle"
    command = [sys.executable, "-c", LIMITED, str(limit), "export", checkpoint, target, "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: no room for {target}")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_any_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def write() -> None:
        with new_directory(tmp_path / "new" / "bundle", force=False) as directory:
            (directory / "graph").write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")], ids=["interrupt", "error"])
def test_an_error_between_two_renames_keeps_the_older_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    target = ensure(tmp_path / "bundle")
    (target / MANIFEST).write_text("old")
    rename = Path.rename

    def fail(self: Path, name: Path) -> Path:
        if Path(name) == target and (self / MANIFEST).read_text() == "new":
            raise error
        return rename(self, name)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((KeyboardInterrupt, OSError, BarkError)), new_directory(target, force=True) as directory:
        (directory / MANIFEST).write_text("new")
    assert (target / MANIFEST).read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_may_be_an_empty_directory(tmp_path: Path) -> None:
    target = ensure(tmp_path / "bundle")
    with new_directory(target, force=False) as directory:
        (directory / MANIFEST).write_text("new")
    assert [path.name for path in target.iterdir()] == [MANIFEST]
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_may_be_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ensure(tmp_path / "bundle"))
    with new_directory(Path(), force=False) as directory:
        (directory / MANIFEST).write_text("new")
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == [MANIFEST]
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


def test_force_replaces_the_target_of_a_link(tmp_path: Path) -> None:
    (ensure(tmp_path / "real") / MANIFEST).write_text("old")
    (tmp_path / "link").symlink_to("real")
    with new_directory(tmp_path / "link", force=True) as directory:
        (directory / MANIFEST).write_text("new")
    assert (tmp_path / "link" / MANIFEST).read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}


@pytest.mark.parametrize("target", [".", "..", "dangling", "file", "file/bundle", "letters"])
def test_an_unsuitable_target_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    work = ensure(tmp_path / "parent" / "work")
    monkeypatch.chdir(work)
    (tmp_path / "parent" / "file").write_text("mine")
    (work / "file").write_text("mine")
    (work / "dangling").symlink_to("nothing")
    (ensure(work / "letters") / "love.txt").write_text("dear")
    before = sorted(tmp_path.rglob("*"))
    worked = False
    with pytest.raises(BarkError, match=r"\S"), new_directory(Path(target), force=True):
        worked = True
    assert not worked
    assert sorted(tmp_path.rglob("*")) == before
