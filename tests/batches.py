"""A job of a few rows of all kinds, and its result when it is not stopped."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from bark_onnx import BatchOptions, run_batch

EARLY = {"max_seconds": 0.3, "allow_early_stop": False}  # a row takes little time, and says something
ROWS = [
    *({"id": f"row {number}", "text": f"hello world {number}", **EARLY} for number in range(12)),
    {"id": "own seed", "text": "the dog", "seed": 3, **EARLY},
    {"id": "no text"},
    {"text": "an id from its line", **EARLY},
    {"id": "long", "text": "\n\n".join(["Hello world. The dog is music!"] * 9), **EARLY},
    {"id": "who", "text": "hello", "voice": "nobody", **EARLY},
]


@dataclass(frozen=True)
class Batch:
    """A job that was not stopped.

    Args:
        source: its input.
        directory: its output.
        options: with which it was run.
    """

    source: Path
    directory: Path
    options: BatchOptions

    def assert_same(self, directory: Path) -> None:
        """Another directory has the same audio, byte for byte, and the same results apart from times."""
        assert contents(directory) == contents(self.directory)
        assert results(directory) == results(self.directory)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix == ".wav"}


def results(directory: Path) -> list[dict[str, object]]:
    """In the order of the rows."""
    lines = [json.loads(line) for line in (directory / "results.jsonl").read_text().splitlines()]
    return sorted(({**line, "compute_seconds": 0} for line in lines), key=lambda line: line["line"])


@pytest.fixture(scope="session")
def batch(short_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    directory = tmp_path_factory.mktemp("batch")
    source = directory / "rows.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS) + "not json\n")
    options = BatchOptions(bundle=str(short_bundle), device="cpu", threads=1, slots=2)
    run_batch(source, directory / "out", options)
    return Batch(source, directory / "out", options)
