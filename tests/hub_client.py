"""Open a checkpoint in another process, because `huggingface_hub` reads its settings when it is imported.

Importing torch takes most of such a process's time. So there is one process that has imported it, and forks for each
call; it must never import `huggingface_hub` itself.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PROGRAM = """
import json, os, sys, traceback, warnings
import numpy, onnxruntime, safetensors.torch, tokenizers, torch

assert "huggingface_hub" not in sys.modules

def opened(name, options):
    from bark_onnx import BarkError
    from bark_onnx.model.manifest import STAGES
    from bark_onnx_export.checkpoint import open_checkpoint
    from bark_onnx_export.bundle.voice_files import read_voices

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
    return result | {"warnings": [str(warning.message) for warning in caught]}

def run_forked(environment, arguments, output):
    os.environ.clear()
    os.environ.update(environment)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(os.path.join(output, name), os.O_CREAT | os.O_WRONLY), stream)
    status = 1
    try:
        print(json.dumps(opened(*arguments)), flush=True)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run_forked(*json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
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


@cache
def _forking() -> subprocess.Popen[str]:
    """The process that forks. It ends with this one, which closes its input."""
    return subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def open_in_process(environment: dict[str, str], name: str | Path, **options: Any) -> Opened:
    """Open a checkpoint and load all its networks. Fail if anything is written to standard error."""
    process = _forking()
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.TemporaryDirectory() as output:
        process.stdin.write(json.dumps([environment, [str(name), options], output]) + "\n")
        process.stdin.flush()
        status = process.stdout.readline().strip()
        written, errors = ((Path(output) / stream).read_text() for stream in ("stdout", "stderr"))
    assert (status, errors) == ("0", ""), errors
    opened = Opened(**json.loads(written))
    assert opened.error is None or opened.error.isprintable()
    return opened
