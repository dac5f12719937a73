"""Open a checkpoint in another process, because `huggingface_hub` reads its settings when it is imported."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = """
import json, sys, warnings
from bark_onnx import BarkError
from bark_onnx.model.bundle import STAGES
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.bundle.voice_files import read_voices

name, options = json.loads(sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        checkpoint = open_checkpoint(name, **options)
        sizes = {stage: repr(checkpoint.load(stage).size) for stage in STAGES}
    except BarkError as error:
        result = {"error": str(error)}
    else:
        voices = checkpoint.voices and read_voices(
            checkpoint.voices, checkpoint.vocabulary, within=checkpoint.voices.parent
        )
        result = {
            "source": checkpoint.source,
            "revision": checkpoint.revision,
            "sizes": sizes,
            "tokenizer": checkpoint.tokenizer and checkpoint.tokenizer.name,
            "voices": list(voices.presets) if voices else None,
            "left_out": voices.problems() if voices else [],
        }
print(json.dumps(result | {"warnings": [str(warning.message) for warning in caught]}))
"""


@dataclass(frozen=True)
class Opened:
    """What `open_checkpoint` found, or its error. All networks were loaded, so all their files are there."""

    warnings: list[str]
    error: str | None = None
    source: str | None = None
    revision: str | None = None
    sizes: dict[str, str] | None = None
    tokenizer: str | None = None
    voices: list[str] | None = None
    left_out: list[str] | None = None


def open_in_process(environment: dict[str, str], name: str | Path, **options: Any) -> Opened:
    """Open a checkpoint and load all its networks. Fail if anything is written to standard error."""
    arguments = json.dumps([str(name), options])
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, arguments], env=environment, capture_output=True, text=True, timeout=120
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    opened = Opened(**json.loads(result.stdout))
    assert opened.error is None or opened.error.isprintable()
    return opened
