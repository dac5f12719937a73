"""`make gpu-report` where there is no GPU: it says so; and its steps, tried on the CPU with the smallest model."""

import json
from pathlib import Path

import pytest

from bark_onnx import Vocabulary, VoicePreset
from bark_onnx_bench import gpu_report


def test_without_a_gpu_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_report, "graphics_cards", list)
    with pytest.raises(SystemExit, match="no GPU answers here"):
        gpu_report.main([str(tmp_path / "work")])
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_fails_is_reported_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = gpu_report.Steps.run

    def run(steps: gpu_report.Steps, name: str, *arguments: str | Path) -> bool:
        if "bench" in name:  # minutes; with a bundle that is none, it fails at once
            return real(steps, name, *gpu_report._CLI, "bench", tmp_path / "work")
        return real(steps, name, *arguments)

    monkeypatch.setattr(gpu_report.Steps, "run", run)
    monkeypatch.setattr(gpu_report, "BUNDLES", {"fp32-portable": ("fp32", "portable")})
    words = [str(tmp_path / "work"), "--device", "cpu", "--sizes", "tiny", "--results", str(tmp_path)]
    with pytest.raises(SystemExit, match="failed: tiny fp32-portable: bench"):
        gpu_report.main(words)
    report = json.loads((tmp_path / "cpu-report.json").read_text())
    by_step = {step["step"]: step for step in report["steps"]}
    assert [name for name, step in by_step.items() if step["status"]] == ["tiny fp32-portable: bench"]
    assert "not a bundle" in by_step["tiny fp32-portable: bench"]["said"]
    assert "wrote" in by_step["tiny fp32-portable: export"]["said"]
    figures = report["sizes"]["tiny"]
    assert figures["fp32-portable"] == {"bench": None}
    assert {peer["name"].split()[0] for peer in figures["peers"]["peers"]} == {
        "transformers",
        "bark-tiny-fp32-portable",
    }
    assert str(tmp_path / "work") not in json.dumps(report)
    assert "FAILED" in capsys.readouterr().out


def test_the_voice_fills_every_history(tmp_path: Path) -> None:
    voice = VoicePreset.load(gpu_report.full_voice(tmp_path / "voice.npz"))
    voice.check(Vocabulary())
    assert len(voice.semantic) > 256
    assert voice.coarse.shape[1] > 315
    assert voice.fine.shape[1] > 512


def test_a_step_that_does_not_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_report, "TIMEOUT", 0.2)
    steps = gpu_report.Steps(Path("work"))
    assert not steps.run("sleep", "-c", "import time; time.sleep(60)")
    assert steps.done[0]["said"] == "not done after 0.2 s"
