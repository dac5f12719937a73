"""`make gpu-report` without a GPU: which steps it has, and what its file keeps when steps fail or time runs out.

The steps here are small programs; the commands of the real ones are only parsed, and tested where they belong.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from bark_onnx import BarkError, Vocabulary, VoicePreset
from bark_onnx.command.cli import main
from bark_onnx.graphs.device import Device
from bark_onnx_bench import choices, gpu_report
from bark_onnx_bench.checkpoints import __main__ as make_checkpoint
from bark_onnx_bench.gpu_plan import BUNDLES, CLI, REFERENCE, TESTS, Plan, Step
from bark_onnx_bench.machine import steps
from bark_onnx_bench.machine.steps import LONGEST_LINE, Steps
from bark_onnx_bench.peers.__main__ import parse as parse_peers

MACHINE = {"processor": "a processor", "versions": {"onnxruntime-gpu": "1.31.1", "nvidia-cudnn-cu13": "9.28"}}
CARD = "a card, 580.1, 80 GiB"


def writes(name: str, directory: Path, value: int, *needs: Path, more: str = "") -> Step:
    """A step that writes a figure, and then may do more."""
    out = directory / f"{name}.json"
    code = f"import pathlib; pathlib.Path({str(out)!r}).write_text('{{\"figure\": {value}}}'); {more or 'pass'}"
    return Step(f"small {name}", ("-c", code), out, ("small", name), needs)


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the report of `report_of`."""
    monkeypatch.setattr(gpu_report, "machine", lambda: MACHINE)
    monkeypatch.setattr(gpu_report, "graphics_cards", lambda: [CARD])
    return tmp_path / "cuda-report.json"


def report_of(report: Path, planned: Sequence[Step], *words: str) -> dict[str, Any]:
    """Make a report with these steps, or continue it, and read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "steps", lambda _: iter(planned))
        gpu_report.main([str(report.parent / "work"), "--results", str(report.parent), *words])
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def test_a_machine_without_a_gpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_report, "graphics_cards", list)
    with pytest.raises(SystemExit, match="nvidia-smi finds no GPU"):
        gpu_report.main([str(tmp_path / "work")])
    assert list(tmp_path.iterdir()) == []


def test_the_directory_may_be_new_and_hold_the_results(report: Path) -> None:
    bundles = report.parent / "bundles"
    gpu_report.main([str(bundles), "--device", "cpu", "--only", "none", "--results", str(bundles)])
    assert (bundles / "cpu-report.json").is_file()


def test_a_checkpoint_is_there_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the report can go on after an interrupt: it makes no checkpoint where there is one."""
    directory = tmp_path / "bark-small"

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["checkpoints", str(directory), "small"])
    monkeypatch.setattr(make_checkpoint, "make_bark", lambda **_: "weights")
    monkeypatch.setattr(make_checkpoint, "save_huggingface", lambda model, to: (to / "model").write_text(model))
    monkeypatch.setattr(make_checkpoint, "write_tokenizer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_checkpoint.main()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(make_checkpoint, "write_tokenizer", lambda to: (to / "tokenizer").write_text(""))
    make_checkpoint.main()
    assert {path.name for path in directory.iterdir()} == {"model", "tokenizer"}
    with pytest.raises(SystemExit):  # nothing that is there is replaced
        make_checkpoint.main()


def test_a_step_that_fails_is_reported_and_the_next_steps_run(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second step is a real one that fails. The third sees the first one's figures in the report's file."""
    work = report.parent / "work"
    fails = Step("small fp16: bench", (*CLI, "bench", work), work / "b.json", ("small", "fp16", "bench"), (work,))
    last = writes("last", report.parent, 3, more=f"print(pathlib.Path({str(report)!r}).read_text().count('figure'))")
    absent = writes("absent", report.parent, 4, report.parent / "bark-small-fp16")
    with pytest.raises(SystemExit, match=r"failed: small fp16: bench$"):
        report_of(report, [writes("first", report.parent, 1), fails, last, absent])
    document = json.loads(report.read_text())
    by_step = {step["step"]: step for step in document["steps"]}
    assert list(by_step) == ["small first", "small fp16: bench", "small last"]
    assert [step["status"] == 0 for step in by_step.values()] == [True, False, True]
    assert "not a bundle" in by_step["small fp16: bench"]["last_line"]
    assert by_step["small last"]["last_line"] == "1"
    figures = {"first": {"figure": 1}, "fp16": {"bench": None}, "last": {"figure": 3}}
    assert document["sizes"] == {"small": figures}
    assert (document["machine"], document["graphics_cards"]) == (MACHINE, [CARD])
    assert str(report.parent) not in report.read_text()
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "small absent: left out, because there is no bark-small-fp16" in out


def test_a_report_is_continued(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier figures stay, those that are measured again are replaced, and no step has two records."""
    directory = report.parent
    report_of(report, [writes("a", directory, 1), writes("b", directory, 2)])
    again = [writes("a", directory, 10), writes("b", directory, 20), writes("c", directory, 30)]
    document = report_of(report, again, "--skip-existing", "--only", "small a", "small b")
    assert document["sizes"]["small"] == {"a": {"figure": 1}, "b": {"figure": 2}}
    document = report_of(report, again, "--skip-existing")
    assert document["sizes"]["small"] == {"a": {"figure": 1}, "b": {"figure": 2}, "c": {"figure": 30}}
    document = report_of(report, again, "--only", "small b")
    assert document["sizes"]["small"] == {"a": {"figure": 1}, "b": {"figure": 20}, "c": {"figure": 30}}
    assert [step["step"] for step in document["steps"]] == ["small a", "small b", "small c"]
    before = report.read_text()
    monkeypatch.setattr(gpu_report, "graphics_cards", lambda: ["another card"])
    with pytest.raises(SystemExit, match="has figures of other graphics_cards: move it away"):
        report_of(report, again)
    assert report.read_text() == before


def test_a_budget_keeps_what_was_measured(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second step does not end in time, and the third does not begin."""
    planned = [writes(name, report.parent, 1) for name in ("a", "b", "c")]
    report_of(report, planned[:2])
    slow = writes("b", report.parent, 2, more="import time; time.sleep(60)")
    document = report_of(report, [writes("a", report.parent, 5), slow, planned[2]], "--budget", "1.5")
    assert document["sizes"]["small"] == {"a": {"figure": 5}, "b": {"figure": 1}}
    assert "what an earlier run has measured stays" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="failed: small d"):
        report_of(report, [writes("d", report.parent, 4, more="import time; time.sleep(60)")], "--budget", "1.5")
    assert json.loads(report.read_text())["sizes"]["small"]["d"] == {"figure": 4}  # a part of what it would measure
    report_of(report, planned, "--budget", "0")
    assert "the budget of 0 s is spent before small a" in capsys.readouterr().out


def parsed(step: Step) -> object:
    """Parse a step's command as the program that it names would."""
    _, module, *words = map(str, step.command)
    if module == "bark_onnx":
        # click keeps the names of a command's help option from the first context that the command is in.
        group = click.Context(main, **main.context_settings)
        name, command, rest = main.resolve_command(group, words)
        assert command is not None
        return command.make_context(name, rest, parent=group).params
    return {"bark_onnx_bench.choices": choices.parse, "bark_onnx_bench.peers": parse_peers}[module](words)


def test_every_command_of_the_plan_can_be_parsed(tmp_path: Path) -> None:
    """And what a step needs is made by a step before it."""
    plan, made, planned = Plan(tmp_path, "cuda", ["small", "large"], 32), set(), []
    for step in plan.steps():
        planned.append(step)
        if step.name.endswith(": checkpoint"):
            step.makes.mkdir()
    first, *planned = planned
    assert (first.command[1:3], Path(TESTS).name in str(first.command)) == (("pytest", TESTS), True)
    for step in planned:
        assert made.issuperset(step.needs), step.name
        if step.makes is not None:
            made.add(step.makes)
        if step.command[1] != "bark_onnx_bench.checkpoints":
            assert parsed(step)
    names = [step.name for step in planned]
    assert len(set(names)) == len(names)
    for size in ("small", "large"):
        assert {f"{size} {name}: {what}" for name in BUNDLES for what in ("export", "bench", "choices")} <= {*names}
        assert {f"{size} {name}: verify" for name in BUNDLES if name != REFERENCE} <= {*names}
        assert f"{size}: peers" in names
    assert names[2] == "small fp16: bench"  # what matters most comes first
    assert next(iter(Plan(tmp_path, "cpu", ["tiny"], 32).steps())).name == "tiny: checkpoint"


def test_bundles_that_were_exported_elsewhere_are_taken(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "work", "cuda", ["small"], 32, tmp_path / "bundles")
    planned = list(plan.steps())
    assert not [step.name for step in planned if step.name.endswith((": export", ": checkpoint"))]
    bench_step = next(step for step in planned if step.name == "small fp16: bench")
    assert bench_step.needs == (tmp_path / "bundles" / "bark-small-fp16",)
    assert bench_step.makes is not None
    assert bench_step.makes.parent == tmp_path / "work"


def test_choices_are_measured(gpu_bundle: Path, tmp_path: Path) -> None:
    choices.main([str(gpu_bundle), "--device", "cpu", "--repeats", "1", "--json", str(tmp_path / "choices.json")])
    tried = json.loads((tmp_path / "choices.json").read_text())["choices"]
    assert {what: set(ways) for what, ways in tried.items()} == {
        "coarse window": {"host", "device"},
        "fine window": {"host", "device"},
    }
    assert all(timing["median_ms"] > 0 for ways in tried.values() for timing in ways.values())


def test_the_voice_is_longer_than_every_history(tmp_path: Path) -> None:
    gpu_report.full_voice(tmp_path / "voice.npz")
    voice = VoicePreset.load(tmp_path / "voice.npz")
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
    monkeypatch.setattr(steps, "QUERY", 0.02)
    own = Steps(tmp_path)
    assert own.run("sleep", "-c", "import time; time.sleep(0.5); print('slept')")
    assert (own.done[0]["card_memory_mb"], own.done[0]["last_line"]) == (4711, "slept")


def test_the_record_has_the_beginning_of_a_long_last_line_and_the_log_has_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Steps(tmp_path)
    assert own.run("long", "-c", f"print('{tmp_path} failed ' + 'why ' * 500)")
    (line,) = [step["last_line"] for step in own.done]
    assert line.startswith("DIRECTORY failed why")
    assert len(line) == LONGEST_LINE
    assert len((tmp_path / "logs" / "long.log").read_text()) > 2000
    assert len(capsys.readouterr().out.splitlines()[-1]) < LONGEST_LINE + 30


def test_a_step_that_does_not_end_is_killed_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it has printed is kept. Its time is over when it has printed a line."""
    own, log = Steps(tmp_path / "work"), tmp_path / "work" / "logs" / "small-fp16-bench.log"
    monkeypatch.setattr(steps, "POLL", 0.01)
    monkeypatch.setattr(steps, "perf_counter", lambda: float(log.is_file() and "figure\n" in log.read_text()))
    assert not own.run("small fp16: bench", "-c", "import time; print('a figure'); time.sleep(60)", limit=0.2)
    assert (own.stopped, own.done[0]["last_line"]) == (True, "killed after 0.2 s")
    assert log.read_text() == "a figure\n"
    assert f"FAILED ({log})" in capsys.readouterr().out


def test_the_card_is_asked_every_two_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(steps, "card_memory", lambda: asked.append(1) or 0)
    monkeypatch.setattr(steps, "POLL", 0.01)
    assert Steps(tmp_path).run("sleep", "-c", "import time; time.sleep(0.3)")
    assert (len(asked), steps.QUERY) == (1, 2)


def test_a_choice_that_fails_is_reported_beside_those_that_work() -> None:
    def fails() -> choices.Work:
        raise BarkError("no such provider")

    ways, failed = choices._opened({"a": lambda: lambda: None, "b": fails})
    assert (set(ways), failed) == ({"a"}, {"b": {"error": "no such provider"}})
    assert choices.alternate(ways, 2)["a"].repeats == 2


def test_a_gpu_has_three_ways_to_sample() -> None:
    ways = choices.loops(Device("cuda", options={"a": "b"}))
    assert {way: (own.samples, own.options.get("enable_cuda_graph")) for way, own in ways.items()} == {
        "host": (False, None),
        "device": (True, "0"),
        "recorded": (True, "1"),
    }
    assert all(own.options["a"] == "b" for own in ways.values())
