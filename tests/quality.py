"""Measurements of one bundle against another, and runs of `verify --against`."""

from pathlib import Path

from click.testing import CliRunner, Result

from bark_onnx import VoicePreset
from bark_onnx.checks.quality import Source, StageQuality, measure
from bark_onnx.command.cli import main
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import STAGES

TOKENS_STAGES = STAGES[:3]


def measured(reference: Path, candidate: Path, voice: VoicePreset, tokens: int = 60) -> dict[str, StageQuality]:
    a, b = Bundle.open(reference), Bundle.open(candidate)
    stages = measure(Source.of(a), Source.of(b), b.manifest, [voice], tokens)
    return {stage.stage: stage for stage in stages}


def verify(candidate: Path, reference: Path, *arguments: str | Path) -> Result:
    command = ["verify", candidate, "--against", reference, *arguments]
    return CliRunner().invoke(main, list(map(str, command)))


def assert_fails(result: Result, status: int, *fragments: str) -> None:
    """The last line of the error names all of these; only bad usage has lines before it."""
    *usage, message = result.stderr.splitlines()
    assert result.exit_code == status, result.stderr or repr(result.exception)
    assert message.startswith("Error: ")
    assert status == 2 or not usage
    assert [fragment for fragment in fragments if fragment not in message] == [], message
