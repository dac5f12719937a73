"""`make gpu-report` without a GPU: the error message, and its steps on the CPU with the smallest model."""

import json
from pathlib import Path

import pytest

from bark_onnx import BarkError, Vocabulary, VoicePreset
from bark_onnx.graphs.device import Device
from bark_onnx_bench import choices, gpu_report
from bark_onnx_bench.machine import steps
from bark_onnx_bench.machine.steps import Steps


def test_a_machine_without_a_gpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_report, "graphics_cards", list)
    with pytest.raises(SystemExit, match="nvidia-smi finds no GPU"):
        gpu_report.main([str(tmp_path / "work")])
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_fails_is_reported_and_the_next_steps_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Steps.run

    def run(steps: Steps, name: str, *arguments: str | Path) -> bool:
        if "bench" in name:  # takes minutes; a folder that is not a bundle makes it fail at once
            return real(steps, name, *gpu_report._CLI, "bench", tmp_path / "work")
        return real(steps, name, *arguments)

    monkeypatch.setattr(Steps, "run", run)
    monkeypatch.setattr(gpu_report, "BUNDLES", {"fp32-portable": ("fp32", "portable")})
    words = [str(tmp_path / "work"), "--device", "cpu", "--sizes", "tiny", "--results", str(tmp_path)]
    with pytest.raises(SystemExit, match="failed: tiny fp32-portable: bench"):
        gpu_report.main(words)
    report = json.loads((tmp_path / "cpu-report.json").read_text())
    by_step = {step["step"]: step for step in report["steps"]}
    assert [name for name, step in by_step.items() if step["status"]] == ["tiny fp32-portable: bench"]
    assert "not a bundle" in by_step["tiny fp32-portable: bench"]["last_line"]
    assert by_step["tiny fp32-portable: export"]["last_line"].startswith("try it: bark-onnx say")
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


def test_the_voice_is_longer_than_every_history(tmp_path: Path) -> None:
    voice = VoicePreset.load(gpu_report.full_voice(tmp_path / "voice.npz"))
    voice.check(Vocabulary())
    assert len(voice.semantic) > 256
    assert voice.coarse.shape[1] > 315
    assert voice.fine.shape[1] > 512


def test_the_peak_of_the_card_s_memory_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/calls\n[ $(wc -l < {tmp_path}/calls) = 2 ] && echo 4711 || echo 12\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(steps, "POLL", 0.01)
    own = Steps(Path("work"))
    assert own.run("sleep", "-c", "import time; time.sleep(0.5); print('slept')")
    assert (own.done[0]["card_memory_mb"], own.done[0]["last_line"]) == (4711, "slept")


def test_a_step_that_does_not_end_is_killed_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "TIMEOUT", 0.2)
    own = Steps(Path("work"))
    assert not own.run("sleep", "-c", "import time; time.sleep(60)")
    assert own.done[0]["last_line"] == "killed after 0.2 s"


def test_a_choice_that_fails_is_reported_beside_those_that_work() -> None:
    def fails() -> choices.Work:
        raise BarkError("no such provider")

    ways, failed = choices._opened({"a": lambda: lambda: None, "b": fails})
    assert (set(ways), failed) == ({"a"}, {"b": {"error": "no such provider"}})
    assert choices.alternate(ways, 2)["a"].repeats == 2


def test_a_gpu_has_three_ways_to_sample() -> None:
    ways = choices.loops(Device("cuda", options={"a": "b"}))
    assert {way: (own.samples, own.captures) for way, own in ways.items()} == {
        "host": (False, False),
        "device": (True, False),
        "recorded": (True, True),
    }
    assert all(own.options["a"] == "b" for own in ways.values())
