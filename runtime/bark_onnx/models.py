"""The networks behind the stages, as verbs on ONNX Runtime sessions: prefill, decode step, logits, decode.

This is the only file that names graph inputs and outputs; the exporter takes the names from here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .arrays import FloatArray, IntArray, Waveform
from .bundle import Bundle
from .session import Device, Graph, Shapes
from .sizes import TransformerSize

CAUSAL_INPUTS = ("input_ids", "history_ids", "position_ids", "lengths", "total")
FINE_INPUTS = ("codes", "codebook")
CODEC_INPUTS = ("codes",)
LOGITS = "logits"
WAVEFORM = "waveform"

KV_CACHE_DTYPES: dict[str, type[np.generic]] = {"fp32": np.float32, "fp16": np.float16}

# Positions of one prefill run on the CPU. Its attention computes the scores of every query with every key and masks
# them afterwards: runs of this size skip most of what lies above the diagonal, and their scores stay in the cache.
PREFILL_CHUNK = 128

IdArray: TypeAlias = NDArray[np.int64]


def cache_names(prefix: str, layers: int) -> list[str]:
    """The cache tensors of a causal graph, `past` in and `present` out, in their order."""
    return [f"{prefix}.{layer}.{half}" for layer in range(layers) for half in ("key", "value")]


@dataclass
class KVCache:
    """Keys and values of the positions a causal decoder has seen, and which ids those were.

    One buffer per layer and half, [1, heads, context, head_size], which the graph appends to in place.
    """

    values: list[ort.OrtValue]
    owner: Any = field(repr=False)  # keeps the memory of `values` alive: ONNX Runtime does not own it
    ids: IdArray  # [2, context]: input and history ids, the first `length` of them valid
    length: int = 0
    step: ort.IOBinding | None = field(default=None, repr=False)  # the decode step's binding, which never changes


class CausalDecoder:
    """The semantic or the coarse transformer.

    Prefill is compute-bound: every position of a prompt at once. A decode step reads each weight once for one token
    and is bound by bandwidth, so nothing else may cost there: its inputs, its outputs and the cache are bound once.
    """

    def __init__(self, path: Path, size: TransformerSize, choices: int, kv_cache: str, device: Device) -> None:
        """`choices` is the number of ids that can be sampled, `kv_cache` the cache's precision."""
        self.size = size
        self.device = device
        self.nothing = size.input_vocabulary  # the all-zero embedding row: "no history here"
        self._chunk = PREFILL_CHUNK if device.memory == "cpu" else size.context
        self._kv_dtype = KV_CACHE_DTYPES[kv_cache]
        ids, cache = (np.int64, (None, None)), (self._kv_dtype, (None, size.heads, size.context, size.head_size))
        inputs: Shapes = dict(zip(CAUSAL_INPUTS, (ids, ids, ids, (np.int32, (None,)), (np.int32, ())), strict=True))
        self._graph = Graph(
            path,
            device,
            {**inputs, **dict.fromkeys(cache_names("past", size.layers), cache)},
            {LOGITS: (np.float32, (None, choices)), **dict.fromkeys(cache_names("present", size.layers), cache)},
        )
        self._logits: FloatArray = np.zeros((1, choices), np.float32)
        self._step_inputs = _causal_inputs(1, self.nothing)

    def new_cache(self) -> KVCache:
        shape = (1, self.size.heads, self.size.context, self.size.head_size)
        values, owner = self.device.zeros(2 * self.size.layers, shape, self._kv_dtype)
        return KVCache(values, owner, np.zeros((2, self.size.context), np.int64))

    def prefill(self, cache: KVCache, input_ids: IntArray, history_ids: IntArray | None = None) -> FloatArray:
        """Make the cache hold exactly this prompt; logits [V] after its last position.

        What the cache already holds of the prompt's beginning is kept: keys and values depend only on what is left of
        them. So a coarse window whose start has not moved costs no prefill.

        Args:
            input_ids: [S] token ids, S at most the model's context.
            history_ids: [S] ids whose embeddings are added, `nothing` where there are none.
        """
        ids = np.full((2, len(input_ids)), self.nothing, np.int64)
        ids[0] = input_ids
        if history_ids is not None:
            ids[1] = history_ids
        cache.length = min(_common_prefix(ids, cache.ids[:, : cache.length]), len(input_ids) - 1)
        for start in range(cache.length, len(input_ids), self._chunk):
            chunk = ids[:, start : start + self._chunk]
            inputs = _causal_inputs(chunk.shape[1], self.nothing)
            inputs["input_ids"][0], inputs["history_ids"][0] = chunk
            self._place(inputs, start)
            self._graph.run_bound(self._bind(cache, inputs))
            cache.length = start + chunk.shape[1]
            cache.ids[:, start : cache.length] = chunk
        return self._logits[0]  # type: ignore[no-any-return]

    def decode_step(self, cache: KVCache, token: int) -> FloatArray:
        """Append one token; logits [V] after it. The array is the decoder's own: it changes with the next call."""
        inputs = self._step_inputs
        inputs["input_ids"][0, 0] = token
        self._place(inputs, cache.length)
        if cache.step is None or self.device.memory != "cpu":  # elsewhere, binding is what copies the inputs over
            cache.step = self._bind(cache, inputs)
        self._graph.run_bound(cache.step)
        cache.ids[:, cache.length] = token, self.nothing
        cache.length += 1
        return self._logits[0]  # type: ignore[no-any-return]

    @staticmethod
    def _place(inputs: dict[str, NDArray[np.integer[Any]]], start: int) -> None:
        """Put the inputs' positions at `start` and after."""
        count = inputs["input_ids"].shape[1]
        inputs["position_ids"][0] = np.arange(start, start + count)
        inputs["lengths"][0] = start + count - 1
        inputs["total"][...] = start + count

    def _bind(self, cache: KVCache, inputs: dict[str, NDArray[np.integer[Any]]]) -> ort.IOBinding:
        values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        outputs = {LOGITS: ort.OrtValue.ortvalue_from_numpy(self._logits)}
        for prefix, bound in (("past", values), ("present", outputs)):
            bound |= zip(cache_names(prefix, self.size.layers), cache.values, strict=True)
        return self._graph.bind(values, outputs)


def _causal_inputs(length: int, nothing: int) -> dict[str, NDArray[np.integer[Any]]]:
    """Input arrays of a causal graph for `length` positions of one row."""
    shape = (1, length)
    arrays: tuple[NDArray[np.integer[Any]], ...] = (
        np.zeros(shape, np.int64),
        np.full(shape, nothing, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(1, np.int32),
        np.zeros((), np.int32),
    )
    return dict(zip(CAUSAL_INPUTS, arrays, strict=True))


def _common_prefix(a: IdArray, b: IdArray) -> int:
    """Columns from the left in which two id arrays [2, n] and [2, m] agree."""
    shorter = min(a.shape[1], b.shape[1])
    differs = (a[:, :shorter] != b[:, :shorter]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shorter


class FineModel:
    """The non-causal transformer that fills in the fine codebooks."""

    def __init__(self, path: Path, codebooks: int, codebook_size: int, window: int, device: Device) -> None:
        inputs = dict(zip(FINE_INPUTS, ((np.int64, (None, window, codebooks)), (np.int64, ())), strict=True))
        self._graph = Graph(path, device, inputs, {LOGITS: (np.float32, (None, window, codebook_size))})

    def logits(self, codes: IntArray, codebook: int) -> FloatArray:
        """Logits [window, codebook_size] of one codebook, given a window's codes [codebooks, window]."""
        arrays = (np.ascontiguousarray(codes.T[None], np.int64), np.array(codebook, np.int64))
        logits: NDArray[np.float32] = self._graph.run(dict(zip(FINE_INPUTS, arrays, strict=True)))
        return logits[0]  # type: ignore[no-any-return]


class CodecDecoder:
    """EnCodec's decoder."""

    def __init__(self, path: Path, codebooks: int, device: Device) -> None:
        self._graph = Graph(
            path, device, {CODEC_INPUTS[0]: (np.int64, (codebooks, None))}, {WAVEFORM: (np.float32, (None,))}
        )

    def decode(self, codes: IntArray) -> Waveform:
        """Fine codes [codebooks, T] -> waveform [T * frame_samples], full scale at 1."""
        waveform: Waveform = self._graph.run({CODEC_INPUTS[0]: np.ascontiguousarray(codes, np.int64)})
        return waveform


def open_causal(bundle: Bundle, stage: Literal["semantic", "coarse"], device: Device) -> CausalDecoder:
    """The causal decoder of a bundle's stage."""
    sizes, precisions, space = bundle.manifest.sizes, bundle.manifest.precisions, bundle.manifest.vocabulary
    size, precision, choices = {
        "semantic": (sizes.semantic, precisions.semantic, space.semantic_choices),
        "coarse": (sizes.coarse, precisions.coarse, space.coarse_choices),
    }[stage]
    return CausalDecoder(bundle.graph(stage), size, choices, precision.kv_cache, device)


def open_fine(bundle: Bundle, device: Device) -> FineModel:
    """The fine model of a bundle."""
    space = bundle.manifest.vocabulary
    return FineModel(bundle.graph("fine"), space.fine_codebooks, space.codebook_size, space.fine_window, device)


def open_codec(bundle: Bundle, device: Device) -> CodecDecoder:
    """The codec of a bundle."""
    return CodecDecoder(bundle.graph("codec"), bundle.manifest.vocabulary.fine_codebooks, device)
