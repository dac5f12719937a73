"""The rooms of bark_onnx_bench: imports run one way, and the documented commands exist."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bark_onnx_bench
from import_order import assert_imports_run_one_way

PACKAGE = Path(bark_onnx_bench.__file__).parent
# From the ground up.
ROOMS = [
    "__init__", "machine", "roofline", "measure", "report", "load", "soak", "checkpoints", "peers",
    "cli", "batch_jobs", "choices", "full_size", "gpu_plan", "gpu_report", "long_texts", "planning",
]  # fmt: skip


def test_imports_run_one_way() -> None:
    assert_imports_run_one_way(PACKAGE, ROOMS)


@pytest.mark.parametrize(
    "command",
    [
        "batch_jobs",
        "checkpoints",
        "choices",
        "full_size",
        "gpu_report",
        "long_texts",
        "peers",
        "planning",
        "soak",
        "soak.sizing",
    ],
)
def test_the_documented_commands_have_help(command: str) -> None:
    module = f"bark_onnx_bench.{command}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True, text=True, timeout=120, check=False, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert f"python -m {module}" in result.stdout
