"""The rooms of bark_onnx_serve: imports run one way."""

from pathlib import Path

import bark_onnx_serve
from import_order import assert_imports_run_one_way

# From the ground up.
ROOMS = [
    "__init__", "logs", "settings", "backlog", "voice_directory", "voices", "service", "metrics", "failures", "web",
    "speech", "wyoming", "lists", "uploads", "status", "docs", "page", "app", "listening", "process", "cli", "ray",
]  # fmt: skip


def test_imports_run_one_way() -> None:
    assert_imports_run_one_way(Path(bark_onnx_serve.__file__).parent, ROOMS)
