"""`bark-onnx export` and `bark-onnx verify`. PyTorch is imported only when it is needed."""

import signal
import sys
from pathlib import Path
from typing import Any

import click

from bark_onnx.bundle import PRECISIONS, Bundle
from bark_onnx.compare import check_finite, compare_bundles, table
from bark_onnx.errors import BarkError


def _checkpoint_options(command: Any) -> Any:
    """What a checkpoint in Suno's layout does not say by itself."""
    command = click.option(
        "--codec", type=click.Path(path_type=Path), help="EnCodec from elsewhere: Meta's .th file or a directory."
    )(command)
    return click.option(
        "--model-size", type=click.Choice(["small", "large"]), help="Which of Suno's models, where both are there."
    )(command)


def _open_checkpoint(name: str, codec: Path | None, model_size: Any) -> Any:
    try:
        from .checkpoint import open_checkpoint
    except ImportError as error:
        raise BarkError(f"reading a checkpoint needs {error.name}: pip install 'bark-onnx[export]'") from None
    return open_checkpoint(name, codec=codec, model_size=model_size)


@click.command()
@click.argument("checkpoint")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), help="tokenizer.json or BERT's vocab.txt.")
@click.option("--voices", type=click.Path(path_type=Path), help="Directory of voice presets (.npz, or .npy triples).")
@_checkpoint_options
@click.option("--no-verify", is_flag=True, help="Do not compare the graphs with PyTorch.")
@click.option("--force", is_flag=True, help="Overwrite a bundle of the same name.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
def export(
    checkpoint: str, out: Path, precision: str, tokenizer: Path | None, voices: Path | None, codec: Path | None,
    model_size: str | None, no_verify: bool, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Turn CHECKPOINT (a hub repository or a directory) into the bundle OUT."""
    opened = _open_checkpoint(checkpoint, codec, model_size)
    from .convert import ExportOptions, export_bundle

    for name in ("SIGTERM", "SIGHUP"):  # end as on Ctrl-C: through the cleaning up
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(1))
    options = ExportOptions(precision, tokenizer, voices, verify=not no_verify, force=force)
    export_bundle(opened, out, options, (lambda line: None) if quiet else click.echo)
    if not quiet:
        click.echo(f"wrote {out}")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--checkpoint", help="Compare with PyTorch and these weights (a hub repository or a directory).")
@click.option("--against", type=click.Path(path_type=Path), help="Compare with another bundle; needs no PyTorch.")
@_checkpoint_options
def verify(
    bundle: Path, checkpoint: str | None, against: Path | None, codec: Path | None, model_size: str | None
) -> None:
    """Check a bundle's files, run its graphs, and say how far they are from a checkpoint or another bundle."""
    if checkpoint and against:
        raise click.UsageError("--checkpoint and --against exclude each other")
    opened = Bundle.open(bundle)
    if not checkpoint and not against:
        check_finite(opened)
        click.echo(f"{bundle}: {len(opened.manifest.files)} files have the right hashes, and every graph runs")
        return
    if checkpoint:
        source = _open_checkpoint(checkpoint, codec, model_size)
        from .verify import verify as verify_checkpoint

        errors = verify_checkpoint(source, opened)
    else:
        assert against is not None
        errors = list(compare_bundles(Bundle.open(against), opened))
    click.echo(table(errors))
    failed = [str(error) for error in errors if not error.within_limit]
    if failed:
        raise BarkError(f"further from the reference than the precision allows: {'; '.join(failed)}")
