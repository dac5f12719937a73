"""`bark-onnx bench` on a small bundle: its figures are of the stated workload, and say what they were measured on."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bark_onnx import Bark
from bark_onnx.cli import main
from bark_onnx_bench.machine import read_bandwidth
from bark_onnx_bench.workload import SEMANTIC_TOKENS, run_once
from conftest import VOICE


def test_the_workload_has_its_length_whatever_the_model_says(bark: Bark) -> None:
    speech = run_once(bark, None, seed=0)
    assert speech.tokens.semantic.shape == (SEMANTIC_TOKENS,)
    assert speech.tokens.coarse.shape == (2, 384)
    assert speech.duration == 5.12


def test_bench_prints_a_row_for_each_voice_and_writes_what_it_measured(bundle_with_voice: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["bench", str(bundle_with_voice), "--voice", VOICE, "--repeats", "1", "--streams", "1", "--batch", "2"]
    result = CliRunner().invoke(main, [*arguments, "--json", str(file)])
    assert result.exit_code == 0, result.output
    first_words = [line.split()[0] for line in result.output.splitlines()]
    assert first_words[1:8] == ["voice", *["none", "en_speaker_6"] * 3]
    figures = json.loads(file.read_text())
    assert figures["command"] == "bark-onnx bench bundle --repeats 1 --streams 1 --batch 2 --voice en_speaker_6"
    assert figures["machine"]["read_bandwidth_gb_s"] > 0
    for measurement in figures["measurements"]:
        seconds = measurement["seconds"]
        assert set(seconds) == {"semantic", "coarse", "fine", "codec"}
        assert measurement["real_time_factor"] == pytest.approx(sum(seconds.values()) / 5.12, rel=0.01)
    for streaming in figures["streaming"]:
        assert 0 < streaming["first_audio"]["p50"] <= streaming["first_audio"]["p99"]
        assert 0 <= streaming["fine_codes_differing"] <= 1
    for batch in figures["batches"]:
        assert batch["throughput"] == pytest.approx(batch["alone_seconds"] / batch["together_seconds"], rel=0.01)
        assert batch["same_tokens"] == {"semantic": 1, "coarse": 1, "fine": 1}  # in fp32


def test_bench_finds_out_first_that_its_figures_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", str(bundle), "--json", str(tmp_path / "nowhere" / "figures.json")])
    assert result.exit_code == 2
    assert "nowhere is not a directory" in result.output


def test_bandwidth_is_measured_and_kept() -> None:
    assert 0.1 < read_bandwidth() < 10_000
    assert read_bandwidth() == read_bandwidth()
