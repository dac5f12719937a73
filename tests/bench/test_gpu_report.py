"""`make gpu-report` where there is no GPU: it says so; and its steps, tried on the CPU with the smallest model."""

import json
from pathlib import Path

import pytest

from bark_onnx import BarkError, Vocabulary, VoicePreset
from bark_onnx.graphs.device import Device
from bark_onnx_bench import choices, gpu_report


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
    assert figures["fp32-portable"]["bench"] is None
    tried = figures["fp32-portable"]["choices"]["choices"]
    assert {what: set(ways) for what, ways in tried.items()} == {
        "coarse window": {"host", "device"},
        "fine window": {"host", "device"},
    }
    assert all(timing["median_ms"] > 0 for ways in tried.values() for timing in ways.values())
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


def test_the_most_memory_of_a_card_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/calls\n[ $(wc -l < {tmp_path}/calls) = 2 ] && echo 4711 || echo 12\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(gpu_report, "POLL", 0.01)
    steps = gpu_report.Steps(Path("work"))
    assert steps.run("sleep", "-c", "import time; time.sleep(0.5); print('slept')")
    assert (steps.done[0]["card_memory_mb"], steps.done[0]["said"]) == (4711, "slept")


def test_a_step_that_does_not_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_report, "TIMEOUT", 0.2)
    steps = gpu_report.Steps(Path("work"))
    assert not steps.run("sleep", "-c", "import time; time.sleep(60)")
    assert steps.done[0]["said"] == "not done after 0.2 s"


def test_a_way_that_does_not_run_is_told_beside_those_that_do() -> None:
    def fails() -> choices.Work:
        raise BarkError("no such provider")

    ways, failed = choices._opened({"a": lambda: lambda: None, "b": fails})
    assert (set(ways), failed) == ({"a"}, {"b": {"error": "no such provider"}})
    assert choices.in_turns(ways, 2)["a"].repeats == 2


def test_what_is_tried_on_a_gpu() -> None:
    ways = choices.loops(Device("cuda", options={"a": "b"}))
    assert {way: (own.samples, own.captures) for way, own in ways.items()} == {
        "host": (False, False),
        "device": (True, False),
        "recorded": (True, True),
    }
    assert all(own.options["a"] == "b" for own in ways.values())
