"""A process that reads bundles from the hub and writes them to it, as often as it is told to.

It is a process of its own, because `huggingface_hub` reads the address of the hub and its own settings when it is
imported. Only the token is read anew each time.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

_PROGRAM = """
import json, os, sys, warnings
from dataclasses import asdict
from bark_onnx import BarkError
from bark_onnx.model.bundle import Bundle

def opened(name):
    bundle = Bundle.open(name)
    return {"directory": str(bundle.directory), "repository": str(bundle.repository), "voices": list(bundle.voices)}

def pushed(directory, name, revision, **options):
    from bark_onnx.hub.repository import Repository
    from bark_onnx_export.publish.push import push
    return asdict(push(Bundle.open(directory), Repository(name, revision), **options))

for line in sys.stdin:
    action, arguments, options, token = json.loads(line)
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            result = {"result": (opened if action == "open" else pushed)(*arguments, **options)}
        except BarkError as error:
            result = {"error": str(error)}
    result["warnings"] = [str(warning.message) for warning in caught]
    print(json.dumps(result), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    """What came of a call: a result, or the text of a BarkError."""

    warnings: list[str]
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)


class HubProcess:
    """The process; it runs inside `with`, in an empty directory."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
            cwd=directory,
        )  # fmt: skip

    def __enter__(self) -> "HubProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _, said = self._process.communicate(timeout=60)
        if error is None:
            assert said == ""

    def open(self, name: str, token: str | None = None) -> Answer:
        return self._call("open", [name], {}, token)

    def push(
        self, bundle: Path, name: str, revision: str | None = None, token: str | None = "hf_member", **options: Any
    ) -> Answer:
        return self._call("push", [str(bundle), name, revision], options, token)

    def _call(self, action: str, arguments: list[str | None], options: dict[str, Any], token: str | None) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([action, arguments, options, token]) + "\n")
        self._process.stdin.flush()
        answer = Answer(**json.loads(self._process.stdout.readline()))
        assert answer.error.isprintable()
        return answer
