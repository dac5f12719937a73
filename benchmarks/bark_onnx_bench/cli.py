"""The command `bark-onnx bench`: measure a bundle on this machine, on the workload of every comparison."""

from pathlib import Path
from time import perf_counter
from typing import Any

import click
from click.core import ParameterSource

from bark_onnx import Bark, BarkError
from bark_onnx.command.group import bundle_argument, check_writable, device_options
from bark_onnx.errors import how_to_install
from bark_onnx.files import replacing
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import STAGES
from bark_onnx.stages.options import PROFILES

from .load.options import LoadOptions, load_options
from .load.target import Target
from .machine.busy import others
from .machine.description import machine, machine_line
from .measure.batching import measure_batch
from .measure.quick import QuickMeasurement, measure_quickly, sentence, warning
from .measure.stages import measure_stages
from .measure.startup import measure_start
from .measure.streaming import measure_streaming
from .measure.sweeps import sweep_batches, sweep_threads
from .measure.workload import measure, short_name
from .report.figures import write_figures
from .report.plot import check_matplotlib, draw
from .report.report import Report
from .report.tables import (
    batch_row,
    batch_table,
    limits_line,
    stage_table,
    start_lines,
    streaming_row,
    thread_table,
    workload_header,
    workload_row,
)  # fmt: skip
from .roofline.limits import Limits, measure_limits

LONG_RUN = ("repeats", "streams", "batch", "starts", "fast", "threads_sweep", "batch_sweep")  # what to measure


@click.command(short_help="Measure the speed of a bundle or a server.")
@bundle_argument
@click.option("--quick", is_flag=True, help="Only say in one sentence whether this machine is fast enough.")
@click.option("--serve", metavar="URL",
              help="Measure the server at this address instead of a bundle; any with OpenAI's API.")  # fmt: skip
@click.option("--voice", metavar="NAME",
              help="Measure with this voice too (a voice name of the bundle, or an .npz file). "
              "With --serve: the voice to ask for.  [default there: alloy]")  # fmt: skip
@click.option("--repeats", type=click.IntRange(1, 100), default=5, show_default=True, help="Runs of the workload.")
@click.option(
    "--streams", type=click.IntRange(0, 1000), default=10, show_default=True,
    help="Streams for the time to first audio (TTFA).",
)  # fmt: skip
@click.option("--batch", type=click.IntRange(0, 64), default=0, help="Also measure this many utterances together.")
@click.option("--starts", type=click.IntRange(1, 100), default=3, show_default=True, help="Fresh processes to start.")
@click.option("--fast", is_flag=True, help="Also measure the fast profile, alternating with the reference profile.")
@click.option("--threads-sweep", is_flag=True, help="Measure the stages with 1, 2, ... threads up to all cores.")
@click.option("--batch-sweep", is_flag=True, help="Measure decode steps of 1, 2, 4, 8 and 16 sequences.")
@click.option("--json", "json_file", type=click.Path(path_type=Path),
              help="Write the figures to this file, after each measurement.")  # fmt: skip
@click.option("--plot", "plot_file", type=click.Path(path_type=Path),
              help="Draw measured times and floors, or with --serve the loads (.png).")  # fmt: skip
@load_options
@device_options
def bench(
    bundle: Path, quick: bool, serve: str | None, voice: str | None, repeats: int, streams: int, batch: int,
    starts: int, fast: bool, threads_sweep: bool, batch_sweep: bool, json_file: Path | None, plot_file: Path | None,
    device: str, threads: int | None, provider_options: dict[str, str], **load: Any,
) -> None:  # fmt: skip
    """Measure the speed of a bundle on this machine, or of a server.

    Without BUNDLE, this measures nano, the small demonstration model that comes with bark-onnx. The workload is 256
    semantic tokens (5.12 s of audio). Each stage is also compared with its floor, the least time that its work can
    take: the bytes it must read at the machine's bandwidth, or its multiply-adds at the speed that ONNX Runtime
    reaches in a plain matrix product.

    With --serve URL, this measures how many requests or listeners a server can serve without gaps in the audio. Only
    --voice, --json, --plot and the options that say "With --serve" or "With --clients" go with it.
    """
    if json_file is not None:
        check_writable(json_file, "--json", [".json"])
    if plot_file is not None:
        check_writable(plot_file, "--plot", [".png"])
        check_matplotlib()
    context = click.get_current_context()
    if serve is not None:
        refused = ("bundle", "quick", *LONG_RUN, "device", "threads", "provider_options")
        _refuse(context, refused, "--serve measures a server, which has its own bundle and device")
        _measure_server(serve, voice or "alloy", LoadOptions(**load), json_file, plot_file)
        return
    if quick:
        _refuse(context, (*LONG_RUN, "plot_file"), "--quick measures nothing else")
    _refuse(context, tuple(load), "a server is measured with --serve URL")
    here = machine()
    start = perf_counter()
    opened = Bundle.open(bundle, progress=True)
    bark = Bark.load(opened, device=device, threads=threads, provider_options=provider_options)
    manifest, used = bark.bundle.manifest, bark.device
    about = {
        "command": " ".join(["bark-onnx bench", bundle.name, *_options(context.params)]),
        "machine": here,
        "bundle": {"model": manifest.model, "precision": manifest.precision},
        "device": used.name,
        "threads": used.threads,
    }
    if quick:
        measured = _quick(bark, voice)
        if json_file is not None:
            write_figures(json_file, {**about, "quick": measured.to_json()})
        return
    report = Report(about, perf_counter() - start)

    def write() -> None:
        """Write all figures so far, which a run that is stopped then keeps."""
        if json_file is not None:
            write_figures(json_file, report.to_json())

    click.echo(f"{machine_line(here)}; {bundle.name}")
    click.echo(workload_header())
    voices = [None] if voice is None else [None, voice]
    for name in voices:
        for measurement in measure(bark, name, repeats, list(PROFILES) if fast else ["reference"]):
            report.measurements.append(measurement)
            click.echo(workload_row(measurement))
        write()
    for name in voices if streams else []:
        report.streaming.append(measure_streaming(bark, name, streams))
        click.echo(streaming_row(report.streaming[-1]))
        write()
    for name in voices if batch else []:
        report.batches.append(measure_batch(bark, name, batch, max(1, repeats // 2)))
        click.echo(batch_row(report.batches[-1]))
        write()

    if used.name == "cpu":
        report.limits = _limits(bark)
    report.stages = measure_stages(bark.bundle, used, report.limits, repeats)
    _print(*stage_table(report.stages))
    write()
    if threads_sweep:
        report.thread_sweep = sweep_threads(bark.bundle, used, report.limits, repeats, here["cores"])
        _print(*thread_table(report.thread_sweep))
        write()
    if batch_sweep:
        report.batch_sweep = sweep_batches(bark.bundle, used, report.limits)
        _print(*batch_table(report.batch_sweep))
        write()
    report.start = measure_start(bark.bundle.directory, used.name, used.threads, starts)
    _print(*start_lines(report.start))
    write()
    if plot_file is not None:
        with replacing(plot_file) as temporary:
            draw(report, temporary)


def _refuse(context: click.Context, names: tuple[str, ...], why: str) -> None:
    """Raise UsageError if one of these parameters is given."""
    given = [
        parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
        for parameter in context.command.params
        if parameter.name in names and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{why}: leave out {', '.join(given)}")


def _measure_server(
    url: str, voice: str, chosen: LoadOptions, json_file: Path | None, plot_file: Path | None
) -> None:  # fmt: skip
    """Measure a server. What that needs is imported only now, since it may not be installed."""
    try:
        from .load.command import measure_server
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("bark_onnx"):
            raise
        raise BarkError(f"--serve needs {error.name}: {how_to_install('load')}") from None
    measure_server(Target(url, chosen.model, voice, chosen.api_key), chosen, json_file, plot_file)


def _quick(bark: Bark, voice: str | None) -> QuickMeasurement:
    """Measure quickly with a voice, by default the bundle's first, and print the result."""
    name = voice or next(iter(bark.voices), None)
    with others() as used:
        speed, first, streams, together = measure_quickly(bark, name)
    manifest = bark.bundle.manifest
    measured = QuickMeasurement(
        manifest.model, manifest.precision, short_name(name), round(speed, 2), round(first, 3), streams, together,
        None if used.share is None else round(used.share, 3),
    )  # fmt: skip
    click.echo(sentence(measured))
    if used.busy:
        click.echo(f"Warning: {warning(measured)}", err=True)
    return measured


def _limits(bark: Bark) -> Limits | None:
    """Measure this machine's limits; without the package onnx, say so and return None: the floors are left out."""
    manifest = bark.bundle.manifest
    try:
        formats = {getattr(manifest.precisions, stage).weights for stage in STAGES}
        limits = measure_limits(formats, manifest.sizes.fine.width)
    except BarkError as error:
        _print(f"no floors: {error}")
        return None
    _print(limits_line(limits))
    return limits


def _options(given: dict[str, object]) -> list[str]:
    """The options that decide what is measured, without paths of this machine."""
    voice = given["voice"]
    if given["quick"]:
        return ["--quick"] + (["--voice", str(short_name(str(voice)))] if voice else [])
    words = [word for name in ("repeats", "streams", "batch", "starts") for word in (f"--{name}", str(given[name]))]
    words += [f"--{name.replace('_', '-')}" for name in ("fast", "threads_sweep", "batch_sweep") if given[name]]
    return words + (["--voice", str(short_name(str(voice)))] if voice else [])


def _print(*lines: str) -> None:
    """Print the lines after an empty line."""
    click.echo("\n" + "\n".join(lines))
