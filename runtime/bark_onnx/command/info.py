"""`bark-onnx info`: what a bundle contains."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from ..model.bundle import Bundle
from ..model.manifest import EXPERIMENTAL_ON_GPU, STAGES, CausalPrecision, Manifest
from ..model.tokenizer import Tokenizer
from .group import bundle_argument


@click.command()
@bundle_argument
def info(bundle: Path) -> None:
    """Describe a model: its sizes, precision, voices, scripts and files. Checks every file's hash.

    BUNDLE is a directory that `bark-onnx export` made, or ORG/NAME on the Hugging Face hub. Without it, this describes
    nano, the small demonstration model that comes with bark-onnx.
    """
    opened = Bundle.open(bundle, progress=True)
    scripts = Tokenizer(opened.tokenizer, opened.manifest.vocabulary).scripts
    for line in _lines(opened.manifest, len(opened.voices), scripts):
        click.echo(line)


def _lines(manifest: Manifest, voices: int, scripts: Sequence[str]) -> Iterator[str]:
    yield f"model      {manifest.model}" + (f" at {manifest.revision}" if manifest.revision else "")
    layout = f"{manifest.kv_layout} KV layout"
    yield f"precision  {manifest.precision}, {layout}, written by bark-onnx {manifest.exporter}"
    if manifest.for_gpu and manifest.precision in EXPERIMENTAL_ON_GPU:
        yield f"gpu        experimental: {manifest.precision} has not run on a GPU yet"
    for stage in STAGES:
        yield _stage(manifest, stage)
    for graph, forms in manifest.matrices.items():
        counts = Counter(forms.values()).most_common()
        yield f"matrices   {graph}: {', '.join(f'{count} {form}' for form, count in counts)}"
    if costs := [f"{stage} {figures['kl']:.2g}" for stage, figures in manifest.quality.items() if "kl" in figures]:
        yield f"cost       KL divergence from fp32, measured at the export: {', '.join(costs)} nats"
    total = sum(entry.bytes for entry in manifest.files.values())
    yield f"voices     {voices}"
    yield f"scripts    {', '.join(scripts) or 'none'} (letters that the vocabulary has)"
    yield f"files      {len(manifest.files)}, {total / 1e6:.1f} MB, hashes right"


def _stage(manifest: Manifest, stage: str) -> str:
    size, precision = getattr(manifest.sizes, stage), getattr(manifest.precisions, stage)
    weights = sum(entry.bytes for name, entry in manifest.files.items() if name.startswith(f"{stage}."))
    if stage == "codec":
        shape = f"{size.filters} filters"
    else:
        shape = f"{size.layers} layers, {size.heads} heads, width {size.width}"
    steps = kv_cache = ""
    if isinstance(precision, CausalPrecision):
        kv_cache = f", KV cache {precision.kv_cache}"
        if precision.step_weights != precision.weights:
            steps = f" ({precision.step_weights} in decode steps)"
    return (
        f"{stage:9}  {shape}; weights {precision.weights}{steps}, embeddings {precision.embeddings}{kv_cache}; "
        f"{weights / 1e6:.1f} MB"
    )
