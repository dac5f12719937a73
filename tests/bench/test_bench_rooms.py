"""The rooms of bark_onnx_bench: imports run one way, and the documented commands exist."""

from pathlib import Path

import pytest

import bark_onnx_bench
from import_order import assert_imports_run_one_way
from module_help import Helps, helps_of

PACKAGE = Path(bark_onnx_bench.__file__).parent
# From the ground up.
ROOMS = [
    "__init__", "machine", "roofline", "measure", "report", "load", "soak", "checkpoints", "peers",
    "cli", "batch_jobs", "choices", "full_size", "gpu_plan", "gpu_report", "long_texts", "planning",
]  # fmt: skip
COMMANDS = [
    "batch_jobs", "checkpoints", "choices", "full_size", "gpu_report", "long_texts", "peers", "planning", "soak",
    "soak.sizing",
]  # fmt: skip


def test_imports_run_one_way() -> None:
    assert_imports_run_one_way(PACKAGE, ROOMS)


@pytest.fixture(scope="module")
def helps() -> Helps:
    return helps_of(f"bark_onnx_bench.{command}" for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documented_commands_have_help(helps: Helps, command: str) -> None:
    module = f"bark_onnx_bench.{command}"
    status, said = helps[module]
    assert status == 0, said
    assert f"python -m {module}" in said
