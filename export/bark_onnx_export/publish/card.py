"""The model card of a bundle, made from its manifest."""

import json
import shlex
from collections.abc import Iterator, Mapping

from huggingface_hub import ModelCardData

from bark_onnx.errors import how_to_install, one_line
from bark_onnx.hub.repository import Repository
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import EXPERIMENTAL_ON_GPU, STAGES, CausalPrecision, Manifest

LIBRARY = "bark-onnx"
_QUANTIZED = ("int8", "int4", "mixed", "w8a16", "w4a16")
_FIGURES = {  # the columns of the table, and how a figure is written
    "nll": ("NLL", "{:+.5f}"),
    "kl": ("KL", "{:.2g}"),
    "top_1": ("top-1", "{:.1%}"),
    "top_5": ("top-5", "{:.1%}"),
    "snr": ("SNR, dB", "{:.1f}"),
    "lsd": ("LSD, dB", "{:.3f}"),
}


def model_card(bundle: Bundle, repository: Repository, licence: str | None) -> str:
    """Return the README.md of a bundle on the hub: metadata in YAML, and Markdown.

    Args:
        repository: where the bundle will be.
        licence: the base model's, as the hub names it; None if it is not known.
    """
    manifest = bundle.manifest
    metadata = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag="text-to-speech",
        license=licence,
        base_model=manifest.model if manifest.revision else None,  # only a model of the hub has a revision
        base_model_relation="quantized" if manifest.revision and manifest.precision in _QUANTIZED else None,
        tags=["bark", "onnx", "onnxruntime", "text-to-audio"],
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n" + "\n".join(_lines(bundle, repository)) + "\n"


def _lines(bundle: Bundle, repository: Repository) -> Iterator[str]:
    manifest, voices = bundle.manifest, list(bundle.voices)
    commit = f" at commit `{_plain(manifest.revision)}`" if manifest.revision else ""
    yield f"# {repository.name.partition('/')[2]}"
    yield ""
    yield (
        f"Bark, a model that turns text into speech: `{_plain(manifest.model)}`{commit}, exported to ONNX graphs in "
        f"{manifest.precision} with bark-onnx {_plain(manifest.exporter)}. It runs on ONNX Runtime, without PyTorch."
    )
    if manifest.for_gpu and manifest.precision in EXPERIMENTAL_ON_GPU:
        yield ""
        yield f"It is meant for GPUs. This is experimental: {manifest.precision} has not run on a GPU yet."
    yield from _use(manifest, repository, voices)
    yield from _files(manifest, len(voices))
    yield from _cost(manifest.precision, manifest.quality)


def _use(manifest: Manifest, repository: Repository, voices: list[str]) -> Iterator[str]:
    install = how_to_install("gpu,hub" if manifest.for_gpu else "cpu,hub")
    say = ["bark-onnx", "say", "Hello.", "--bundle", str(repository)]
    say += ["--voice", voices[0]] if voices else []
    argument = f", voice={json.dumps(voices[0])}" if voices else ""
    yield from ["", "## How to use it", ""]
    yield f"{install[0].upper()}{install[1:]}. Then:"
    yield from ["", "```console"]
    yield f"$ {shlex.join([*say, '-o', 'hello.wav'])}"  # quoted: whoever copies it runs what it shows
    yield from ["```", "", "```python", "from bark_onnx import Bark", ""]
    yield f"bark = Bark.load({json.dumps(str(repository))})"
    yield f'bark.generate("Hello."{argument}, seed=7).save("hello.wav")'
    yield from ["```", ""]
    number = "one voice" if len(voices) == 1 else f"{len(voices)} voices"
    yield f"It has {number}" + ("; `bark-onnx voices` with the name of this model lists them." if voices else ".")


def _files(manifest: Manifest, voices: int) -> Iterator[str]:
    total = sum(entry.bytes for entry in manifest.files.values())
    yield from ["", "## Precision and sizes", ""]
    yield f"{manifest.precision}, {manifest.kv_layout} KV layout; {total / 1e6:.1f} MB in all."
    yield from ["", "| network | size | weights | embeddings | KV cache | MB |", "|---|---|---|---|---|---|"]
    for stage in STAGES:
        size, precision = getattr(manifest.sizes, stage), getattr(manifest.precisions, stage)
        if stage == "codec":
            shape = f"{size.filters} filters"
        else:
            shape = f"{size.layers} layers, {size.heads} heads, width {size.width}"
        weights, kv_cache = precision.weights, ""
        if isinstance(precision, CausalPrecision):
            kv_cache = precision.kv_cache
            weights += f", {precision.step_weights} in decode steps" if precision.split else ""
        own = sum(entry.bytes for name, entry in manifest.files.items() if name.startswith(f"{stage}."))
        yield f"| {stage} | {shape} | {weights} | {precision.embeddings} | {kv_cache} | {own / 1e6:.1f} |"


def _cost(precision: str, quality: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield from ["", "## What the precision costs", ""]
    if not quality:
        yield "It was not measured when the bundle was exported."
        return
    yield (
        f"Measured at the export: the networks in {precision} against those in fp32, on the tokens of voices. NLL is "
        "the rise of the mean negative log-likelihood, KL the Kullback-Leibler divergence, both in nats; top-1 and "
        "top-5 say how often the best token is the same, or among the five best; SNR and LSD compare waveforms."
    )
    yield from ["", f"| network | {' | '.join(title for title, _ in _FIGURES.values())} |", "|---" * 7 + "|"]
    for stage in [stage for stage in STAGES if stage in quality]:
        figures = quality[stage]
        cells = [form.format(figures[name]) if name in figures else "" for name, (_, form) in _FIGURES.items()]
        yield f"| {stage} | {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """A text of the manifest, which may come from a stranger, as the inside of code in Markdown."""
    return one_line(text).replace("`", "'")
