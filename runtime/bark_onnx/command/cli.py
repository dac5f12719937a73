"""The `bark-onnx` command: each of its commands is a thin call of the API.

Exit status: 0 done, 1 failed, 2 bad usage. A failure is one line on standard error.
"""

from pathlib import Path

import click

from .. import __version__
from ..checks import tuning
from ..model.bundle import STAGES, Bundle, CausalPrecision
from .group import Commands, bundle_argument
from .say import say


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bark-onnx")
def main() -> None:
    """Bark, Suno's text-to-audio model, on ONNX Runtime and without PyTorch."""


main.add_command(say)


@main.command()
@bundle_argument
def info(bundle: Path) -> None:
    """Say what BUNDLE is: model, precision, sizes, files. Checks every file's hash.

    Without BUNDLE, the one that comes with the package; so it is for the other commands.
    """
    opened = Bundle.open(bundle)
    manifest = opened.manifest
    click.echo(f"model      {manifest.model}" + (f" at {manifest.revision}" if manifest.revision else ""))
    click.echo(
        f"precision  {manifest.precision}, {manifest.kv_layout} KV layout, written by bark-onnx {manifest.exporter}"
    )
    for stage in STAGES:
        size, precision = getattr(manifest.sizes, stage), getattr(manifest.precisions, stage)
        weights = sum(entry.bytes for name, entry in manifest.files.items() if name.startswith(f"{stage}."))
        shape = (
            f"{size.filters} filters"
            if stage == "codec"
            else f"{size.layers} layers, {size.heads} heads, width {size.width}"
        )
        kv_cache = f", KV cache {precision.kv_cache}" if isinstance(precision, CausalPrecision) else ""
        steps = ""
        if isinstance(precision, CausalPrecision) and precision.step_weights != precision.weights:
            steps = f" ({precision.step_weights} in decode steps)"
        click.echo(
            f"{stage:9}  {shape}; weights {precision.weights}{steps}, embeddings {precision.embeddings}{kv_cache}; "
            f"{weights / 1e6:.1f} MB"
        )
    total = sum(entry.bytes for entry in manifest.files.values())
    click.echo(f"voices     {len(opened.voices)}")
    click.echo(f"files      {len(manifest.files)}, {total / 1e6:.1f} MB, hashes right")


@main.command()
@bundle_argument
def voices(bundle: Path) -> None:
    """List the voices of BUNDLE, one a line."""
    for name in Bundle.open(bundle).voices:
        click.echo(name)


@main.command()
@bundle_argument
@click.option("--dry-run", is_flag=True, help="Measure, and keep nothing.")
def tune(bundle: Path, dry_run: bool) -> None:
    """Find the threads that are best for each stage of BUNDLE on this CPU, and keep them for `say` and the API.

    Nothing else should run meanwhile.
    """
    opened, found = Bundle.open(bundle), []
    for trial in tuning.trials(opened, tuning.usable_cores()):
        found.append(trial)
        click.echo(f"  {trial}")
    chosen = tuning.best(found)
    click.echo("best:")
    for trial in found:
        if chosen[trial.stage] == trial.threads:
            click.echo(f"  {trial}")
    if not dry_run:
        click.echo(f"kept in {tuning.save(opened, chosen)}")


if __name__ == "__main__":
    main()
