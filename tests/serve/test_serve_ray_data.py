"""Batch jobs on Ray Data: two nodes, one of which dies."""

import json
import socket
import threading
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from click.testing import CliRunner
from ray.cluster_utils import Cluster

from bark_onnx import BarkError, Progress
from bark_onnx.command.batch import SOME_FAILED
from bark_onnx.command.cli import main
from bark_onnx.jobs.batch import run_batch
from bark_onnx.jobs.job import BatchOptions
from bark_onnx.jobs.result import Result
from bark_onnx_serve.ray.data import _check_address, on_ray, speak_dataset
from full import FULL
from ray_serving import SlowSpeaker, rays_environment

ROWS = 200 if FULL else 24
# A node that does not answer is dead after 3 s, and not after 20 s.
SOON_DEAD = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3, "health_check_initial_delay_ms": 0}
BAD = 7  # the number of a row without a text


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with one CPU each; the process of the tests is on the first."""
    with rays_environment() as directory:
        node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
        head = {**node, "temp_dir": str(directory), "_system_config": SOON_DEAD}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(**node)
            ray.init(cluster.address, log_to_driver=False)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [{"id": f"row-{number:03}", "text": f"hello {number}"} for number in range(ROWS)]
    rows[BAD]["text"] = ""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def options(short_bundle: Path) -> BatchOptions:
    return BatchOptions(bundle=str(short_bundle), threads=1, slots=4)


@pytest.fixture(scope="module")
def alone(source: Path, options: BatchOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the job without Ray."""
    directory = tmp_path_factory.mktemp("alone") / "job"
    run_batch(source, directory, options)
    return directory


def assert_same(directory: Path, alone: Path) -> None:
    """Every row has one result, and the audio of the job without Ray."""
    assert audio(directory) == audio(alone)
    results = [about(directory, result) for result in read(directory)]
    assert len(results) == ROWS
    assert sorted(results) == sorted(about(alone, result) for result in read(alone))


def audio(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix == ".wav"}


def read(directory: Path) -> list[Result]:
    return [Result.from_json(line) for line in (directory / "results.jsonl").read_bytes().splitlines()]


def about(directory: Path, result: Result) -> tuple[object, ...]:
    return result.line, result.id, result.path, result.seconds, result.seed, result.error


def test_a_node_that_dies_loses_no_row_and_doubles_none(
    cluster: Cluster, source: Path, options: BatchOptions, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bark_onnx_serve.ray.data._SpeakRows", SlowSpeaker)
    (dying,) = cluster.worker_nodes
    killing = threading.Thread(target=cluster.remove_node, args=(dying,), kwargs={"allow_graceful": False})

    def kill(progress: Progress) -> None:
        if progress.done >= ROWS // 3 and killing.ident is None:
            killing.start()

    run = on_ray(2, 2)
    report = run_batch(source, tmp_path / "job", options, run=run, progress=kill)
    killing.join()
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    assert (report.done, report.failed) == (ROWS - 1, 1)
    assert_same(tmp_path / "job", alone)


def test_a_job_that_was_stopped_goes_on_with_ray_and_without(
    cluster: Cluster, source: Path, options: BatchOptions, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped on Ray, goes on without, is stopped again, and ends on Ray, by the command."""
    for part, run in ((3, on_ray(1, 2)), (2, None)):

        def stop(progress: Progress, rows: int = ROWS // part) -> None:
            if progress.done >= rows:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_batch(source, tmp_path / "job", options, run=run, progress=stop)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "job").glob("*.wav")}
    assert ROWS // 2 - 1 <= len(before) < ROWS - 1
    found = EntryPoint("ray", "bark_onnx_serve.ray.data:on_ray", "bark_onnx.batch")  # as pyproject.toml has it
    monkeypatch.setattr("bark_onnx.command.batch.entry_points", lambda **_: [found])
    arguments = ["--bundle", options.bundle, "--slots", str(options.slots), "--ray", "--workers", "1"]
    result = CliRunner().invoke(main, ["batch", str(source), str(tmp_path / "job"), "-q", *map(str, arguments)])
    assert result.exit_code == SOME_FAILED, result.output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert_same(tmp_path / "job", alone)


def test_without_ray_the_command_says_what_to_install(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = EntryPoint("ray", "a_package_that_is_missing:on_ray", "bark_onnx.batch")
    monkeypatch.setattr("bark_onnx.command.batch.entry_points", lambda **_: [found])
    result = CliRunner().invoke(main, ["batch", str(source), str(tmp_path / "job"), "-q", "--ray"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: --ray needs a_package_that_is_missing: in a checkout of bark-onnx, run pip install '.[ray]' "
        "(with its wheel: 'WHEEL[ray]')\n"
    )
    assert not (tmp_path / "job").exists()


def test_a_dataset_gets_its_audio_as_a_column(
    cluster: Cluster, options: BatchOptions, alone: Path, tmp_path: Path
) -> None:
    rows = [{"id": f"row-{number:03}", "text": f"hello {number}", "kept": number} for number in range(4)]
    rows += [{"id": None, "text": "hello", "kept": 4}, {"id": "a/b", "text": "hello", "kept": 5}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    speak_dataset(ray.data.read_parquet(str(tmp_path / "rows.parquet")), options).write_parquet(str(tmp_path / "out"))
    spoken = sorted(pq.read_table(tmp_path / "out").to_pylist(), key=lambda row: row["kept"])
    assert [row["audio"] for row in spoken[:4]] == [audio(alone)[f"row-{number:03}.wav"] for number in range(4)]
    assert [row["audio"] for row in spoken[4:]] == [None, None]
    errors = [Result.from_json(row["result"]).error or "" for row in spoken]
    assert errors[:4] == [""] * 4
    assert "no id" in errors[4]
    assert "'/'" in errors[5]


@pytest.mark.full
def test_an_actor_that_cannot_start_is_one_line(
    cluster: Cluster, source: Path, options: BatchOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a node without the bundle."""
    monkeypatch.setattr("bark_onnx_serve.ray.data._SpeakRows", Homeless)
    with pytest.raises(BarkError, match=r"the job failed on Ray: .*no bundle here; the same command goes on"):
        run_batch(source, tmp_path / "job", options, run=on_ray())


class Homeless(SlowSpeaker):
    def __init__(self, options: BatchOptions) -> None:
        raise BarkError("no bundle here")


def test_an_address_where_nothing_answers_is_one_line_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(BarkError, match=f"cannot reach Ray at {address}: "):
            _check_address(address)
