"""Batches on Ray Data: rows -> a pool of actors, each with a Bark of its own -> results.

`on_ray` runs a job of `bark-onnx batch`; `speak_dataset` is a step in a pipeline of your own.

An actor has one engine. Ray gives it several small tasks at a time, so that the engine has work beyond the end of a
task. If an actor or its machine dies, Ray gives the tasks that it had to others. The process that started a job writes
its audio and its results: nobody else needs the job's directory, and each row has one result, whoever spoke it twice.
"""

import logging
import pickle
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from bark_onnx.errors import BarkError, or_default, reason, require, warn
from bark_onnx.graphs.cores import usable_cores
from bark_onnx.jobs.batch import Runner
from bark_onnx.jobs.job import BatchJob, BatchOptions
from bark_onnx.jobs.ledger import Ledger
from bark_onnx.jobs.result import Result
from bark_onnx.jobs.row import AnyRow, BadRow, Record, parse_row
from bark_onnx.jobs.running import finished, open_rows, wait_for_others
from bark_onnx.jobs.speaking import AHEAD, speak_rows

__all__ = ["on_ray", "speak_dataset"]

ROWS_IN_TASK = 4
MOST_TASKS = 20_000  # of a job, since Ray keeps something for each; a larger job has more rows in a task
ADDRESS_SECONDS = 10  # to connect to a cluster


def speak_dataset(
    rows: Dataset, options: BatchOptions | None = None, *, least: int | None = None, most: int | None = None
) -> Dataset:
    """Speak the rows of a dataset: a step between `ray.data.read_parquet` and `write_parquet`, for example.

    Args:
        rows: with columns as `bark-onnx batch` reads them (`options.columns`). Each row needs an id.
        options: what is spoken, and how. The bundle and voices that are files must be on every node. `threads` are
            those of an actor, and the CPUs that Ray keeps for it; None is 1.

        least, most: as for `on_ray`.

    Returns the dataset with two more columns: `audio`, the bytes of a file in the format of the options, or null for a
    row that failed; and `result`, the row's line of a results file as JSON.
    """
    options = or_default("options", options, BatchOptions)
    return _spoken(rows, _SpeakColumns, options, _Actors(least, most))


def on_ray(least: int | None = None, most: int | None = None, address: str | None = None) -> Runner:
    """Return what `run_batch(..., run=on_ray())` needs to speak the rows of a job on Ray.

    Args:
        least, most: actors of the pool, which grows and shrinks between them; None is 1, and as many as the cluster has
            room for.
        address: of a cluster; None starts Ray on this machine, unless the program has started it.

    The job raises BarkError if Ray does not start, or if it fails as a whole.
    """
    return partial(_run, actors=_Actors(least, most), address=address)


@dataclass(frozen=True)
class _Actors:
    least: int | None
    most: int | None

    def __post_init__(self) -> None:
        require(self, {"least must be at least 1": self.least is None or self.least >= 1})
        require(self, {"most must not be less than least": self.most is None or self.most >= (self.least or 1)})


def _run(
    job: BatchJob, ledger: Ledger, count: Callable[[float], None], *, actors: _Actors, address: str | None
) -> None:
    with _connected(address, (actors.least or 1) * (job.options.threads or 1)), _quiet():
        while True:
            try:
                _run_open_rows(job, ledger, count, actors)
            except ray.exceptions.RayError as error:
                raise BarkError(f"the job failed on Ray: {_said(error)}; the same command goes on") from None
            if not wait_for_others(ledger, count):
                return


def _run_open_rows(job: BatchJob, ledger: Ledger, count: Callable[[float], None], actors: "_Actors") -> None:
    size = max(ROWS_IN_TASK, -(-job.rows // MOST_TASKS))
    tasks: list[Any] = [ray.put(task) for task in _tasks(open_rows(job, ledger), size)]
    if not tasks:
        return
    spoken = _spoken(ray.data.from_arrow_refs(tasks), _SpeakRows, job.options, actors)
    for table in spoken.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        assert isinstance(table, pa.Table)
        for row in table.to_pylist():
            ledger.end(Result.from_json(row["result"]), row["name"], row["audio"] or b"")
            count(ledger.ended)


def _tasks(rows: Iterator[AnyRow], size: int) -> Iterator[pa.Table]:
    while some := [*islice(rows, size)]:
        yield pa.table({"row": pa.array([pickle.dumps(row) for row in some], pa.binary())})


def _spoken(rows: Dataset, speaker: type["_Speaker"], options: BatchOptions, actors: _Actors) -> Dataset:
    options = replace(options, threads=options.threads or 1)
    tasks = max(1, options.slots * AHEAD // ROWS_IN_TASK)
    return rows.map_batches(
        speaker,
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            min_size=actors.least or 1,
            max_size=actors.most,
            max_tasks_in_flight_per_actor=tasks,
            max_concurrent_calls_per_actor=tasks,
            enable_true_multi_threading=True,
        ),
        fn_constructor_args=(options,),
        num_cpus=options.threads,
        num_gpus=int(options.device.partition(":")[0] in ("cuda", "tensorrt")),
    )


class _Speaker:
    """What an actor has. Ray calls it in several threads, which share the engine."""

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        self._bark = options.load()
        self._worker = self._bark.worker(slots=options.slots, max_waiting=options.slots * AHEAD)

    def _speak(self, rows: Sequence[AnyRow]) -> Iterator[tuple[Result, str | None, bytes]]:
        """The results as they come, each with the name and the content of the audio file."""
        narration, normalize = self._options.narration, self._options.normalize
        for spoken in speak_rows(self._bark, rows, worker=self._worker, narration=narration, normalize=normalize):
            yield finished(spoken, self._options)


class _SpeakRows(_Speaker):
    """For the rows of a job."""

    def __call__(self, table: pa.Table) -> pa.Table:
        spoken = [*self._speak([pickle.loads(row) for row in table.column("row").to_pylist()])]
        return pa.table(
            {
                "result": pa.array([result.to_json() for result, _, _ in spoken], pa.string()),
                "name": pa.array([name for _, name, _ in spoken], pa.string()),
                "audio": pa.array([content for _, _, content in spoken], pa.large_binary()),
            }
        )


class _SpeakColumns(_Speaker):
    """For the rows of any dataset."""

    def __call__(self, table: pa.Table) -> pa.Table:
        rows = [self._row(line, fields) for line, fields in enumerate(table.to_pylist(), 1)]
        spoken = {result.line: (result.to_json(), content) for result, _, content in self._speak(rows)}
        columns = {
            "audio": pa.array([spoken[row.line][1] or None for row in rows], pa.large_binary()),
            "result": pa.array([spoken[row.line][0] for row in rows], pa.string()),
        }
        for name, column in columns.items():
            if name in table.column_names:
                raise BarkError(f"the dataset has a column {name!r} already: rename it")
            table = table.append_column(name, column)
        return table

    def _row(self, line: int, fields: Mapping[str, Any]) -> AnyRow:
        columns = self._options.columns
        try:
            if fields.get(columns.id) is None:
                raise BarkError(f"no id (column {columns.id!r}), which the seed and the name of a row come from")
            return parse_row(Record(line, fields), columns, self._options.defaults)
        except BarkError as error:  # an id that cannot be the name of a file
            return BadRow(line, str(fields.get(columns.id)), str(error))


@contextmanager
def _connected(address: str | None, cpus: int) -> Iterator[None]:
    """Be connected to a cluster, or to Ray on this machine.

    Args:
        cpus: that are needed at least; Ray on this machine says that it has so many.
    """
    if ray.is_initialized():
        _check_room(cpus)
        yield
        return
    if address is not None:
        _check_address(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    try:
        if address is None:
            ray.init("local", num_cpus=max(cpus, usable_cores()), include_dashboard=False, **quiet)
        else:
            ray.init(address, **quiet)
    except (ray.exceptions.RayError, ConnectionError, ValueError, RuntimeError) as error:
        where = "on this machine" if address is None else f"at {address}"
        raise BarkError(f"cannot reach Ray {where}: {reason(error)}") from None
    try:
        _check_room(cpus)
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise a BarkError if nothing answers at an address of the form HOST:PORT. Ray itself tries for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not host or not port.isdecimal():
        return  # such as `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ADDRESS_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise BarkError(f"cannot reach Ray at {address}: {reason(error)}") from None


def _check_room(cpus: int) -> None:
    resources: Callable[[], Mapping[str, float]] = ray.cluster_resources
    there = resources().get("CPU", 0)
    if there < cpus:
        warn(f"the actors need {cpus} CPUs, and the cluster has {there:g}: the job waits until there are more")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Ray Data's own bars and messages."""
    context = DataContext.get_current()
    before = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars, context.print_on_execution_start = False, False
    log = logging.getLogger("ray.data")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        context.enable_progress_bars, context.print_on_execution_start = before


def _said(error: Exception) -> str:
    """What a task said, without the text of the traceback that Ray puts around it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
