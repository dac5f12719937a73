"""The manifest of a bundle: its files, its precision, and the sizes and token-space constants of its model.

Reading is strict, since a bundle comes from outside: an unknown revision, a missing or unknown field, an unknown file
and a path outside the directory are one error that names all problems.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from ..errors import BundleError
from .sizes import CodecSize, TransformerSize, misfits
from .strict_json import parse
from .vocabulary import CausalStage, Vocabulary

FORMAT_REVISION = 1
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
VOICES = "voices"
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int4", "mixed", "w8a16", "w4a16")
GPU_PRECISIONS = ("fp16", "bf16", "w8a16", "w4a16")  # the precisions of the static attention's CUDA kernel
EXPERIMENTAL_ON_GPU = ("fp32", *GPU_PRECISIONS)  # have never run on a GPU; a precision that has is removed here
MATRIX_FORMS = ("int4-32", "int8-32", "int4-128", "int8")  # bits and block; without a block, a scale for each output
BLOCK_WEIGHTS = ("int4", "w8a16", "w4a16")  # the precisions whose graphs have matrices in blocks only
KV_LAYOUTS = ("static", "portable")
STAGES = ("semantic", "coarse", "fine", "codec")
CAUSAL_STAGES: tuple[CausalStage, ...] = ("semantic", "coarse")
MAX_MANIFEST_BYTES = 4 << 20

# The graphs of a stage beside the network itself, by the middle part of their file names.
STEP, QUANTIZE_CACHE = "step", "quantize_cache"
SAMPLER, TOP_K_TOP_P = "sampler", "top_k_top_p"
SAMPLERS = (
    *((stage, sampler) for stage in CAUSAL_STAGES for sampler in (SAMPLER, TOP_K_TOP_P)),
    ("fine", SAMPLER),
)

# The largest sizes of a transformer that are accepted, since they decide how much memory is allocated.
_MOST = {"layers": 256, "heads": 256, "input_vocabulary": 1 << 24, "output_vocabulary": 1 << 24}


def graph_file(stage: str, part: str | None = None) -> str:
    """The file name of a graph: of a stage's network, or of one of the other graphs of the stage."""
    return f"{stage}.onnx" if part is None else f"{stage}.{part}.onnx"


@dataclass(frozen=True)
class GraphPrecision:
    """The number formats of one graph: of its matrix weights, and of its embeddings or codebooks."""

    weights: str
    embeddings: str


@dataclass(frozen=True)
class CausalPrecision:
    """The same for a causal decoder, which also has a KV cache, and may have other matrices for its decode steps."""

    weights: str
    embeddings: str
    kv_cache: str
    step_weights: str

    @property
    def split(self) -> bool:
        """Whether decode steps have a graph of their own."""
        return self.step_weights != self.weights


@dataclass(frozen=True)
class Precisions:
    semantic: CausalPrecision
    coarse: CausalPrecision
    fine: GraphPrecision
    codec: GraphPrecision


@dataclass(frozen=True)
class Sizes:
    semantic: TransformerSize
    coarse: TransformerSize
    fine: TransformerSize
    codec: CodecSize


@dataclass(frozen=True)
class FileEntry:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The description of a bundle.

    Args:
        format: the revision of this format.
        model, revision: the checkpoint, and its commit on the hub.
        exporter: the version of bark-onnx that wrote the bundle.
        precision, kv_layout: as they were chosen for the export.
        precisions: the number formats of each network.
        matrices: for each graph whose matrices have different formats, by file name: the format of each matrix by name.
        quality: what the precision costs, by stage: the figures of `checks.quality`, measured at the export. Empty if
            the export did not measure.
        sizes, vocabulary: of the model.
        files: every file except the manifest, by posix path.
    """

    format: int
    model: str
    revision: str | None
    exporter: str
    precision: str
    kv_layout: str
    precisions: Precisions
    matrices: dict[str, dict[str, str]]
    quality: dict[str, dict[str, float]]
    sizes: Sizes
    vocabulary: Vocabulary
    files: dict[str, FileEntry]

    @property
    def for_gpu(self) -> bool:
        """Whether this bundle is meant for GPUs: `auto` then runs it on CUDA, and it has the graphs that sample.

        The static layout's attention has CUDA kernels for 16 bits only. Quantising activations to 8 bits is slow on
        GPUs.
        """
        return self.precision in GPU_PRECISIONS or (self.precision == "fp32" and self.kv_layout == "portable")

    @property
    def int8_cache(self) -> bool:
        """Whether decode steps have a KV cache of 8 bits, as in bundles for CPUs only."""
        return any(getattr(self.precisions, stage).kv_cache == "int8" for stage in CAUSAL_STAGES)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Raises BundleError, naming every problem at once."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST} is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise BundleError(f"{MANIFEST} is not a JSON object")
        if document.get("format") != FORMAT_REVISION:
            exporter = document.get("exporter", "which is unknown")
            raise BundleError(
                f"{MANIFEST} has format {document.get('format')!r:.20}, this bark-onnx reads {FORMAT_REVISION}: "
                f"export the checkpoint again, or install the version that wrote it, {exporter!s:.40}"
            )
        problems: list[str] = []
        manifest: Manifest = parse(cls, document, "", problems)
        if not problems:
            problems += _contradictions(manifest)
        if problems:
            raise BundleError(f"{MANIFEST} is not valid: " + "; ".join(problems))
        return manifest


def _contradictions(manifest: Manifest) -> Iterable[str]:
    if manifest.precision not in PRECISIONS:
        yield f"precision is {manifest.precision!r}, not one of {', '.join(PRECISIONS)}"
    if manifest.kv_layout not in KV_LAYOUTS:
        yield f"kv_layout is {manifest.kv_layout!r}, not one of {', '.join(KV_LAYOUTS)}"
    for stage in CAUSAL_STAGES:
        causal: CausalPrecision = getattr(manifest.precisions, stage)
        if causal.kv_cache not in ("fp32", "fp16", "bf16", "int8"):
            yield f"precisions.{stage}.kv_cache is {causal.kv_cache!r}, not fp32, fp16, bf16 or int8"
        if causal.split and causal.kv_cache != "int8":
            yield f"precisions.{stage}: decode steps with weights of their own need a KV cache of int8"
        if causal.kv_cache == "int8" and (manifest.for_gpu or manifest.kv_layout == "portable"):
            yield f"precisions.{stage}.kv_cache is int8, which only bundles for CPUs in the static layout have"
    graphs = _graph_files(manifest)
    for name in manifest.matrices.keys() - set(graphs):
        yield f"matrices names {name!r:.80}, which is not a graph of this bundle"
    for form in {form for forms in manifest.matrices.values() for form in forms.values()} - set(MATRIX_FORMS):
        yield f"matrices has the format {form!r:.20}, not one of {', '.join(MATRIX_FORMS)}"
        break  # there may be any number of them
    for network in STAGES:
        own = getattr(manifest.precisions, network)
        for field in ("weights", "step_weights"):
            if (weights := getattr(own, field, "fp32")) not in (*PRECISIONS, *MATRIX_FORMS):
                yield f"precisions.{network}.{field} is {weights!r:.20}, which is no format of matrices"
    for name in manifest.quality.keys() - set(STAGES):
        yield f"quality names {name!r:.80}, which is not a stage"
    if not all(math.isfinite(value) for figures in manifest.quality.values() for value in figures.values()):
        yield "quality has a figure that is not a finite number"
    for name in [*graphs, TOKENIZER]:
        if name not in manifest.files:
            yield f"files lacks {name}"
    known = {*graphs, *(f"{name}.data" for name in graphs), TOKENIZER}
    for name in manifest.files:
        if not is_plain(name):
            yield f"files names {name!r:.80}, which is not a plain path inside the bundle"
        elif name not in known and not (name.startswith(f"{VOICES}/") and name.endswith(".npz")):
            yield f"files names {name!r:.80}, which does not belong to this bundle"
    for transformer in ("semantic", "coarse", "fine"):
        size: TransformerSize = getattr(manifest.sizes, transformer)
        in_range = all(1 <= value <= _MOST.get(name, 1 << 16) for name, value in asdict(size).items())
        if not in_range or size.width % size.heads:
            yield f"sizes.{transformer} is impossible: {size}"
    for network in STAGES:
        for problem in misfits(network, getattr(manifest.sizes, network), manifest.vocabulary):
            yield f"sizes.{network}: {problem}"


def _graph_files(manifest: Manifest) -> list[str]:
    """The names of all graphs that the bundle must have."""
    names = [graph_file(stage) for stage in STAGES]
    for stage in CAUSAL_STAGES:
        causal: CausalPrecision = getattr(manifest.precisions, stage)
        parts = [STEP] * causal.split + [QUANTIZE_CACHE] * (causal.kv_cache == "int8")
        names += [graph_file(stage, part) for part in parts]
    return names + [graph_file(stage, part) for stage, part in SAMPLERS if manifest.for_gpu]


def is_plain(name: str) -> bool:
    """Whether a name is a relative path that means the same file on every system and stays inside the bundle."""
    path = PurePosixPath(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts and path.as_posix() == name != VOICES
    return bool(inside) and name.isprintable() and not set(name) & set('\\:*?"<>|')
