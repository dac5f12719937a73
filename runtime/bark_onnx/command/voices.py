"""`bark-onnx voices`: the names for `say --voice`."""

from pathlib import Path

import click

from ..model.bundle import Bundle
from .group import bundle_argument


@click.command()
@bundle_argument
def voices(bundle: Path) -> None:
    """List the voices of a model, one per line.

    BUNDLE is a directory that `bark-onnx export` made, or ORG/NAME on the Hugging Face hub. Without it, this lists the
    voices of nano, the small demonstration model that comes with bark-onnx.
    """
    for name in Bundle.open(bundle, progress=True).voices:
        click.echo(name)
