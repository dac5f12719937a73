"""The exporter's folders are rooms, and imports run one way between them."""

import ast
from pathlib import Path

import bark_onnx_export
from import_order import assert_imports_run_one_way

EXPORTER = Path(bark_onnx_export.__file__).parent
# From the ground up: a room imports only from itself and from rooms before it.
ROOMS = [
    "errors", "sources", "weights", "layouts", "modules", "quantization", "graphs", "bundle", "checkpoint", "verify",
    "convert", "publish", "__init__", "cli",
]  # fmt: skip


def test_imports_run_one_way() -> None:
    assert_imports_run_one_way(EXPORTER, ROOMS)


def test_the_commands_import_the_rest_of_the_exporter_only_when_they_run() -> None:
    """`bark-onnx --help` loads the commands, also where torch is not installed."""
    at_import = ast.parse((EXPORTER / "cli.py").read_text(encoding="utf-8")).body
    assert [node for node in at_import if isinstance(node, ast.ImportFrom) and node.level] == []
