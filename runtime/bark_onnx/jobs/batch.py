"""Run a batch job: rows of a file in, a directory of audio out, by one or several processes that share it."""

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

from ..errors import BarkError, or_default
from ..numbers import whole
from ..progress import ProgressOption, counted
from .job import BatchJob, BatchOptions, check_job
from .ledger import Ledger
from .processes import run_processes
from .report import BatchReport, read_report
from .running import run_rows

MOST_WORKERS = 256

Runner: TypeAlias = Callable[[BatchJob, Ledger, Callable[[float], None]], None]
"""Speaks the rows of a job that have no result, and ends each in the ledger. It tells how many have ended."""


def run_batch(
    source: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    options: BatchOptions | None = None,
    *,
    workers: int = 1,
    run: Runner | None = None,
    retry_failed: bool = False,
    progress: ProgressOption = False,
) -> BatchReport:
    """Speak every row of a file into a directory, and write one line about each to `results.jsonl` there.

    A job that was stopped in whatever way goes on when it is run again with the same arguments. Rows with a result are
    not spoken again, and the audio is that of a job that was never stopped. Several processes that run the same job at
    the same time share it.

    Args:
        source: JSON lines (`.jsonl`, `.ndjson`), CSV (`.csv`, `.tsv`) or Parquet (`.parquet`, extra `parquet`).
        directory: of the job; it is created, or is that of the same job.
        options: how rows are spoken and written.
        workers: processes, each with a Bark of its own; 1 works in this process.
        run: where the rows are spoken, if not on this machine; None is by the number of workers.
        retry_failed: speak rows again that failed.
        progress: True shows a progress bar on standard error where that is a terminal; a function gets each `Progress`.

    Returns when every row has a result, the rows that failed too.

    Raises BarkError if the arguments are wrong, or nothing more can be written.
    """
    options, workers = or_default("options", options, BatchOptions), whole("workers", workers)
    if not 1 <= workers <= MOST_WORKERS:
        raise BarkError(f"workers must be 1 to {MOST_WORKERS}, not {workers}")
    start = perf_counter()
    # Whoever runs it elsewhere has cores of its own there: by default one thread for each process.
    checked = check_job(Path(source), options, workers if run is None else MOST_WORKERS, progress=progress is True)
    with Ledger(Path(directory), checked.last_line) as ledger:
        job = checked.begin(ledger)
        if retry_failed:
            ledger.forget_failed()
        ledger.refresh()
        before = ledger.ended
        if before < job.rows:
            with counted("batch", job.rows, progress, done=before) as count:
                if run is not None:
                    run(job, ledger, count)
                elif workers == 1:
                    with job.options.load() as bark:
                        run_rows(bark, job, ledger, count=count)
                else:
                    run_processes(job, ledger, min(workers, job.rows - before), count)
        if ledger.ended < job.rows:
            raise BarkError(f"{job.rows - ledger.ended} rows have no result: run the same command again to go on")
        made = ledger.ended - before
    return read_report(ledger.results, job.rows, made, perf_counter() - start)
