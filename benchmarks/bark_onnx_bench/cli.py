"""`bark-onnx bench`: what this machine does with a bundle, on the workload of every comparison."""

import json
from pathlib import Path
from time import perf_counter

import click

from bark_onnx import Bark
from bark_onnx.command import check_writable, device_options
from bark_onnx.files import replacing

from .batching import measure_batch
from .batching import row as batch_row
from .machine import machine, peak_memory_mb
from .streaming import measure_streaming
from .streaming import row as streaming_row
from .workload import Measurement, measure


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--voice", help="Measure with this voice too (a name of the bundle's, or an .npz file).")
@click.option("--repeats", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--streams", type=click.IntRange(0, 1000), default=10, show_default=True, help="Streams begun, for TTFA.")
@click.option("--batch", type=click.IntRange(0, 64), default=0, help="Measure this many utterances together, too.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
@device_options
def bench(
    bundle: Path, voice: str | None, repeats: int, streams: int, batch: int, json_file: Path | None, device: str,
    threads: int | None,
) -> None:  # fmt: skip
    """Measure BUNDLE: 256 semantic tokens, 5.12 s of audio; medians by stage, time to first audio, batches."""
    if json_file is not None:
        check_writable(json_file, "--json", [".json"])
    here = machine()
    start = perf_counter()
    bark = Bark.load(bundle, device=device, threads=threads)
    load_seconds = perf_counter() - start
    click.echo(f"{here['processor']}, {here['cores']} cores, {here['read_bandwidth_gb_s']} GB/s; {bundle.name}")
    click.echo(f"{'voice':20}" + "".join(f"{stage:>12}" for stage in ("semantic", "coarse", "fine", "codec", "RTF")))
    measurements, streaming, batches = [], [], []
    names = [None] if voice is None else [None, voice]
    for name in names:
        measurements.append(measure(bark, name, repeats))
        click.echo(row(measurements[-1]))
    for name in names if streams else []:
        streaming.append(measure_streaming(bark, name and Path(name).stem, bark.voice(name), streams))
        click.echo(streaming_row(streaming[-1]))
    for name in names if batch else []:
        batches.append(measure_batch(bark, name and Path(name).stem, bark.voice(name), batch, max(1, repeats // 2)))
        click.echo(batch_row(batches[-1]))
    click.echo(f"loaded in {load_seconds:.2f} s, peak memory {peak_memory_mb():.0f} MB")
    if json_file is not None:
        spoken_by = f" --voice {Path(voice).stem}" if voice else ""
        counts = f"--repeats {repeats} --streams {streams} --batch {batch}"
        figures = {
            "command": f"bark-onnx bench {bundle.name} {counts}{spoken_by}",
            "machine": here,
            "bundle": {"model": bark.bundle.manifest.model, "precision": bark.bundle.manifest.precision},
            "device": bark.device.name,
            "threads": bark.device.threads,
            "load_seconds": round(load_seconds, 3),
            "peak_memory_mb": round(peak_memory_mb()),
            "measurements": [measurement.to_json() for measurement in measurements],
            "streaming": [measurement.to_json() for measurement in streaming],
            "batches": [measurement.to_json() for measurement in batches],
        }
        with replacing(json_file) as temporary:
            temporary.write_text(json.dumps(figures, indent=2) + "\n")


def row(measurement: Measurement) -> str:
    """A measurement as a line of the table."""
    seconds = "".join(f"{measurement.seconds[stage]:10.2f} s" for stage in ("semantic", "coarse", "fine", "codec"))
    return f"{measurement.voice or 'none':20}{seconds}{measurement.real_time_factor:12.3f}"
