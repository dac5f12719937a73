"""Every program of examples/ runs, and leaves the files that it promises."""

import ast
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection

import numpy as np
import pytest
import soundfile

from bark_onnx import VoicePreset
from markdown_pages import EXAMPLES_PAGE, ROOT, Page

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LONGEST = 30  # lines
LONGER = {"benchmark": 40, "service": 40, "voice_queue": 92}
WRITES = {
    "batch": {"1.wav", "2.wav", "3.wav"},
    "batch_csv": {"lines.csv", "speech/answer.flac", "speech/morning.flac", "speech/results.jsonl"},
    "benchmark": {"benchmark.png"},
    "long_text": {"dialogue.wav", "dialogue.srt"},
    "speak": {"first.wav", "second.flac", "my_voice.npz"},
    "stream": {"stream.wav"},
    "suno_program": {"bark_generation.wav", "bark_generation.npz"},
    "voice_queue": {"channel.wav"},
    "worker": {"thread.wav", "asyncio.wav"},
}
NEVER_END = {"service"}  # they have tests of their own
RATES = {"channel.wav": 48_000}
NEEDS = {"benchmark": "matplotlib"}
by_name = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "BARK_ONNX_BUNDLE"}


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES} == WRITES.keys() | NEVER_END


def test_every_example_is_on_the_page_of_the_examples() -> None:
    files = {path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".ipynb")}
    assert files <= set(Page.read(EXAMPLES_PAGE).links)


@by_name
def test_an_example_is_short_and_says_what_it_does(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    assert len(code.splitlines()) <= LONGER.get(path.stem, LONGEST)
    said = ast.get_docstring(ast.parse(code))
    assert said
    assert f"python examples/{path.name}" in said


@pytest.mark.parametrize("name", WRITES)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    files = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    written = {path: file for path, file in files.items() if "/." not in path}  # not what belongs to a batch job
    assert written.keys() == WRITES[name]
    for path, file in written.items():
        if path.endswith(".npz"):
            VoicePreset.load(file)
        elif path.endswith(".srt"):
            assert "00:00:00," in file.read_text(encoding="utf-8")
        elif path.endswith((".wav", ".flac")):
            waveform, rate = soundfile.read(file)
            assert rate == RATES.get(path, 24_000)
            assert 0.5 < len(waveform) / rate < 20
            assert np.abs(waveform).max() > 0.05
        elif path.endswith(".png"):
            assert_is_a_picture(file)
        elif path.endswith(".jsonl"):
            assert_each_row_has_a_result(tmp_path / "lines.csv", file)


def assert_is_a_picture(file: Path) -> None:
    """It has the colours of the four stages."""
    image = pytest.importorskip("matplotlib.image")
    pixels = (image.imread(file)[..., :3] * 255).round().astype(int)
    for color in ("4c78a8", "72b7b2", "f2a541", "b279a2"):
        assert (pixels == [*bytes.fromhex(color)]).all(axis=-1).any(), color


def assert_each_row_has_a_result(lines: Path, results: Path) -> None:
    """The row with an unknown voice failed, and the others have audio."""
    with lines.open(encoding="utf-8", newline="") as file:
        ids = {row["id"] for row in csv.DictReader(file)}
    errors = {result["id"]: result["error"] for result in map(json.loads, results.read_text().splitlines())}
    assert errors.keys() == ids
    assert [id for id, error in errors.items() if error is not None] == ["nobody"]
    assert "no voice 'nobody'" in errors["nobody"]


# The service


@contextmanager
def service() -> Iterator[int]:
    """Run it on a free port, which is the value."""
    program = ROOT / "examples" / "service.py"
    with subprocess.Popen(
        [sys.executable, program, "0"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().removeprefix("listening on port "))
        finally:
            process.terminate()


def test_the_service_speaks_to_each_client_and_survives_bad_ones() -> None:
    with service() as port:

        def ask(line: bytes) -> bytes:
            with create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(line)
                with client.makefile("rb") as answer:
                    return answer.read()

        with create_connection(("127.0.0.1", port), timeout=60) as leaves:
            leaves.sendall(b"This client leaves after the first samples, and nobody takes the others.\n")
            assert leaves.recv(2)
        for line in (b"\n", b"\xff\n", b"x" * 100_000 + b"\n", b"...\n"):
            assert ask(line) == b""
        samples = np.frombuffer(ask(b"Good morning.\n"), "<i2") / 32768
    assert 0.5 < len(samples) / 24_000 < 5
    assert np.abs(samples).max() > 0.05
