"""Runs of the command line as a process of its own, and what is expected of each."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

Argument = str | bytes | Path
Result = subprocess.CompletedProcess[bytes]

COMMAND = [sys.executable, "-m", "bark_onnx"]
OPTIMUM = [str(Path(sys.executable).with_name("optimum-cli")), "export", "bark-onnx"]
SAY = ["say", "hello", "--quiet", "--device", "cpu", "--seed", "7", "--max-seconds", "0.3"]
COMMANDS = ["batch", "bench", "export", "info", "push", "say", "serve", "verify", "voices"]


def run(*arguments: Argument, stdin: bytes = b"", cwd: Path | None = None, command: Sequence[str] = COMMAND) -> Result:
    return subprocess.run([*command, *arguments], input=stdin, capture_output=True, cwd=cwd, timeout=120, check=False)


def assert_silent(result: Result) -> None:
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b""), result


def assert_fails(result: Result, *fragments: str) -> None:
    """Status 1, and one line that names all of these."""
    message = result.stderr.decode()
    assert result.returncode == 1, message
    assert message.startswith("Error: "), message
    assert message.count("\n") == 1, message
    assert message.endswith("\n"), message
    assert [fragment for fragment in fragments if fragment not in message] == [], message
