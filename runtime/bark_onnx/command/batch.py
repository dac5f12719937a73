"""`bark-onnx batch`: the rows of a file as audio files in a directory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

import click

from ..audio.formats import FORMATS
from ..errors import BarkError, how_to_install
from ..jobs.batch import MOST_WORKERS, Runner, run_batch
from ..jobs.job import BatchOptions
from ..jobs.report import BatchReport
from ..jobs.row import Columns
from ..long.guards import Guards
from ..long.plan import NarrationOptions
from ..normalizing.choice import AUTO
from ..normalizing.libraries import missing
from .group import about_nano, about_numbers, device_options
from .options import Sampling, with_options

SOME_FAILED = 3  # the exit status
RUNNERS = "bark_onnx.batch"  # entry points by which other packages speak the rows of a job
LOCAL = "local"  # Ray on this machine


@dataclass(frozen=True)
class Rows:
    """Which columns are read, and how rows are spoken and written."""

    id_column: str
    text_column: str
    voice_column: str
    seed_column: str
    audio_format: str
    sample_rate: int | None
    retries: int | None
    bundle: Path | None
    device: str
    threads: int | None
    provider_options: dict[str, str]
    slots: int

    OPTIONS: ClassVar[list[Any]] = [
        click.option("--id-column", default="id", show_default=True, metavar="NAME",
                     help="Column of the names of the audio files, without suffix."),
        click.option("--text-column", default="text", show_default=True, metavar="NAME", help="Column of the texts."),
        click.option("--voice-column", default="voice", show_default=True, metavar="NAME",
                     help="Column of the voices."),
        click.option("--seed-column", default="seed", show_default=True, metavar="NAME", help="Column of the seeds."),
        click.option("--format", "audio_format", type=click.Choice(list(FORMATS)), default="wav", show_default=True,
                     help="Format of the audio files."),
        click.option("--sample-rate", type=click.IntRange(8_000, 192_000), metavar="HZ",
                     help="Sample rate of the audio files.  [default: the model's]"),
        click.option("--retries", type=click.IntRange(0, 100),
                     help="How often to repeat a passage that went wrong.  [default: 2]"),
        click.option("--bundle", type=click.Path(path_type=Path),
                     help="Model to speak with: a directory that `bark-onnx export` made, or ORG/NAME on the Hugging "
                     "Face hub.  [default: nano, a small demonstration model]"),
        device_options,
        click.option("--slots", type=click.IntRange(1, 1024), default=8, show_default=True,
                     help="Utterances that each process speaks together; each needs memory for its KV cache."),
    ]  # fmt: skip

    def options(self, sampling: Sampling) -> BatchOptions:
        """Return what the API takes. Raises BarkError."""
        return BatchOptions(
            bundle=None if self.bundle is None else str(self.bundle),
            voice=sampling.voice,
            seed=sampling.seed or 0,
            generation=sampling.options(),
            narration=NarrationOptions(guards=Guards() if self.retries is None else Guards(retries=self.retries)),
            columns=Columns(self.id_column, self.text_column, self.voice_column, self.seed_column),
            format=self.audio_format,
            sample_rate=self.sample_rate,
            device=self.device,
            provider_options=self.provider_options,
            threads=self.threads,
            slots=self.slots,
            normalize=sampling.normalize,
        )


@click.command()
@click.argument("lines", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS),
              help="Processes that share the job, each with a part of the cores; with --ray, actors.  "
              "[default: 1; with --ray, as many as the cluster has room for]")  # fmt: skip
@click.option("--ray", is_flag=False, flag_value=LOCAL, metavar="[ADDRESS]",
              help="Speak on Ray (extra `ray`): on the cluster at this address, or on this machine.")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Speak rows again that failed in an earlier run.")
@click.option("--report", is_flag=True, help="Print what became of all rows, as a table.")
@click.option("-q", "--quiet", is_flag=True, help="Show warnings and errors only.")
@with_options(rows=Rows, sampling=Sampling)
@click.pass_context
def batch(
    context: click.Context,
    lines: Path,
    out: Path,
    workers: int | None,
    ray: str | None,
    retry_failed: bool,
    report: bool,
    quiet: bool,
    rows: Rows,
    sampling: Sampling,
) -> None:
    """Speak every row of LINES into an audio file in the directory OUT.

    LINES is JSON lines (.jsonl), CSV (.csv) or Parquet (.parquet). A row has a text, and may have an id, which names
    its file, a voice, a seed, and options such as text_temperature and max_seconds. OUT/results.jsonl has one line for
    each row. If the job is stopped, run the same command again to go on. The exit status is 3 if rows failed.
    """
    try:
        options = rows.options(sampling)
    except BarkError as error:
        raise click.UsageError(str(error)) from None
    if rows.bundle is None and not quiet:
        click.echo(f"bark-onnx: {about_nano('batch')}", err=True)
    if sampling.normalize == AUTO and missing() and not quiet:
        click.echo(f"bark-onnx: {about_numbers()}", err=True)
    with _resumable(quiet):
        done = run_batch(
            lines,
            out,
            options,
            workers=1 if workers is None or ray is not None else workers,
            run=None if ray is None else _on_ray(ray, workers),
            retry_failed=retry_failed,
            progress=not quiet,
        )
    if not quiet:
        click.echo(f"bark-onnx: {_summary(out, done)}", err=True)
    if report:
        click.echo(done.table)
    if done.failed:
        context.exit(SOME_FAILED)


def _on_ray(address: str, workers: int | None) -> Runner:
    """Find what speaks rows on Ray, in a package that is not imported here."""
    for entry in entry_points(group=RUNNERS, name="ray"):
        try:
            on_ray: Callable[..., Runner] = entry.load()
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("bark_onnx"):
                raise
            raise BarkError(f"--ray needs {error.name}: {how_to_install('ray')}") from None
        return on_ray(workers, workers, None if address == LOCAL else address)
    raise BarkError("--ray is not a part of this installation of bark-onnx")


def _summary(out: Path, done: BatchReport) -> str:
    said = f"{out}: {_rows(done.done)}, {done.audio_seconds:.0f} s of audio; {_rows(done.made)} in {done.seconds:.0f} s"
    failed = f"; {_rows(done.failed)} failed: see {done.results.name}, or --retry-failed"
    return said + (failed if done.failed else "")


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


@contextmanager
def _resumable(quiet: bool) -> Iterator[None]:
    """Tell how to go on if Ctrl-C stops the job."""
    try:
        yield
    except KeyboardInterrupt:
        if not quiet:
            click.echo("bark-onnx: stopped; run the same command again to go on", err=True)
        raise
