"""Every program of examples/ runs, and leaves the files that it promises."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_onnx import VoicePreset
from markdown_pages import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LONGEST = 29  # lines
WRITES = {
    "batch": {"1.wav", "2.wav", "3.wav"},
    "long_text": {"dialogue.wav", "dialogue.srt"},
    "speak": {"first.wav", "second.flac", "my_voice.npz"},
    "stream": {"stream.wav"},
    "suno_program": {"bark_generation.wav", "bark_generation.npz"},
    "worker": {"thread.wav", "asyncio.wav"},
}
by_name = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES} == WRITES.keys()


@by_name
def test_an_example_is_short_and_says_what_it_does(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    assert len(code.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(code))


@by_name
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "BARK_ONNX_BUNDLE"}
    result = subprocess.run(
        [sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    assert {file.name for file in tmp_path.iterdir()} == WRITES[path.stem]
    for file in tmp_path.iterdir():
        if file.suffix == ".npz":
            VoicePreset.load(file)
        elif file.suffix == ".srt":
            assert "00:00:00," in file.read_text(encoding="utf-8")
        else:
            waveform, rate = soundfile.read(file)
            assert rate == 24_000
            assert 0.5 < len(waveform) / rate < 20
            assert np.abs(waveform).max() > 0.05
