"""`bark-onnx bench`: what this machine does with a bundle, on the workload of every comparison."""

import json
from pathlib import Path
from time import perf_counter

import click

from bark_onnx import Bark, BarkError
from bark_onnx.command.group import bundle_argument, check_writable, device_options
from bark_onnx.files import replacing
from bark_onnx.model.bundle import STAGES
from bark_onnx.stages.options import PROFILES

from .batching import measure_batch
from .batching import row as batch_row
from .floors import Limits
from .machine import machine
from .plot import check_matplotlib, draw
from .report import (
    Report,
    batch_table,
    limits_line,
    stage_table,
    start_lines,
    thread_table,
    workload_header,
    workload_row,
)  # fmt: skip
from .stages import measure_stages
from .startup import measure_start
from .streaming import measure_streaming
from .streaming import row as streaming_row
from .sweeps import sweep_batches, sweep_threads
from .throughput import measure_limits
from .workload import measure


@click.command()
@bundle_argument
@click.option("--voice", help="Measure with this voice too (a name of the bundle's, or an .npz file).")
@click.option("--repeats", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--streams", type=click.IntRange(0, 1000), default=10, show_default=True, help="Streams begun, for TTFA.")
@click.option("--batch", type=click.IntRange(0, 64), default=0, help="Measure this many utterances together, too.")
@click.option("--starts", type=click.IntRange(1, 100), default=3, show_default=True, help="Fresh processes begun.")
@click.option("--fast", is_flag=True, help="Measure the fast profile in turn with the reference's.")
@click.option("--threads-sweep", is_flag=True, help="Stages with 1 thread, 2, and so on to the number of cores.")
@click.option("--batch-sweep", is_flag=True, help="Decode steps of 1, 2, 4, 8 and 16 sequences together.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Draw measured against floor (.png).")
@device_options
def bench(
    bundle: Path, voice: str | None, repeats: int, streams: int, batch: int, starts: int, fast: bool,
    threads_sweep: bool, batch_sweep: bool, json_file: Path | None, plot_file: Path | None, device: str,
    threads: int | None, provider_options: dict[str, str],
) -> None:  # fmt: skip
    """Measure BUNDLE: 256 semantic tokens, 5.12 s of audio, by stage; and each stage against this machine's limits.

    A stage's floor is the least time that its work can take: the bytes it must read at the machine's bandwidth, or the
    multiply-adds at the speed that ONNX Runtime reaches in a plain matrix product.
    """
    if json_file is not None:
        check_writable(json_file, "--json", [".json"])
    if plot_file is not None:
        check_writable(plot_file, "--plot", [".png"])
        check_matplotlib()
    here = machine()
    start = perf_counter()
    bark = Bark.load(bundle, device=device, threads=threads, provider_options=provider_options)
    manifest, used = bark.bundle.manifest, bark.device
    about = {
        "command": " ".join(["bark-onnx bench", bundle.name, *_options(click.get_current_context().params)]),
        "machine": here,
        "bundle": {"model": manifest.model, "precision": manifest.precision},
        "device": used.name,
        "threads": used.threads,
    }
    report = Report(about, perf_counter() - start)
    click.echo(f"{here['processor']}, {here['cores']} cores, {here['read_bandwidth_gb_s']} GB/s; {bundle.name}")
    click.echo(workload_header())
    names = [None] if voice is None else [None, voice]
    for name in names:
        for measurement in measure(bark, name, repeats, list(PROFILES) if fast else ["reference"]):
            report.measurements.append(measurement)
            click.echo(workload_row(measurement))
    for name in names if streams else []:
        report.streaming.append(measure_streaming(bark, name and Path(name).stem, bark.preset(name), streams))
        click.echo(streaming_row(report.streaming[-1]))
    for name in names if batch else []:
        stem, rounds = name and Path(name).stem, max(1, repeats // 2)
        report.batches.append(measure_batch(bark, stem, bark.preset(name), batch, rounds))
        click.echo(batch_row(report.batches[-1]))

    if used.name == "cpu":
        report.limits = _limits(bark)
    report.stages = measure_stages(bark.bundle, used, report.limits, repeats)
    _print(*stage_table(report.stages))
    if threads_sweep:
        report.thread_sweep = sweep_threads(bark.bundle, used, report.limits, repeats, here["cores"])
        _print(*thread_table(report.thread_sweep))
    if batch_sweep:
        report.batch_sweep = sweep_batches(bark.bundle, used, report.limits)
        _print(*batch_table(report.batch_sweep))
    report.start = measure_start(bundle, used.name, used.threads, starts)
    _print(*start_lines(report.start))

    if json_file is not None:
        with replacing(json_file) as temporary:
            temporary.write_text(json.dumps(report.to_json(), indent=2) + "\n")
    if plot_file is not None:
        with replacing(plot_file) as temporary:
            draw(report, temporary)


def _limits(bark: Bark) -> Limits | None:
    """This machine's. Without them there are no floors, but all else."""
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
    """The options that decide what was measured, without this machine's paths."""
    voice = given["voice"]
    words = [word for name in ("repeats", "streams", "batch", "starts") for word in (f"--{name}", str(given[name]))]
    words += [f"--{name.replace('_', '-')}" for name in ("fast", "threads_sweep", "batch_sweep") if given[name]]
    return words + (["--voice", Path(str(voice)).stem] if voice else [])


def _print(*lines: str) -> None:
    """After an empty line."""
    click.echo("\n" + "\n".join(lines))
