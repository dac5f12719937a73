"""The rooms of bark_onnx_nano: imports run one way, and the documented commands exist."""

from pathlib import Path

import pytest

import bark_onnx_nano
from import_order import assert_imports_run_one_way
from module_help import Helps, helps_of

PACKAGE = Path(bark_onnx_nano.__file__).parent
# From the ground up.
ROOMS = ["__init__", "units", "text", "speech", "corpus", "training", "checkpoint", "judging", "__main__"]
COMMANDS = ["", ".judging.evaluate", ".judging.stages", ".judging.precisions"]


def test_imports_run_one_way() -> None:
    assert_imports_run_one_way(PACKAGE, ROOMS)


@pytest.fixture(scope="module")
def helps() -> Helps:
    return helps_of(f"bark_onnx_nano{command}" for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documented_commands_have_help(helps: Helps, command: str) -> None:
    module = f"bark_onnx_nano{command}"
    status, said = helps[module]
    assert status == 0, said
    assert f"python -m {module}" in said
