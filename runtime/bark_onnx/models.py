"""The networks behind the stages, as verbs on ONNX Runtime sessions: prefill, decode step, logits, decode.

This is the only file that names graph inputs and outputs; the exporter takes the names from here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray, IntArray, Waveform
from .device import Device
from .errors import DeviceError
from .session import Binding, Feed, Graph, Memory, Shapes
from .sizes import CodecSize, TransformerSize, codec_state
from .tensorrt import ROWS, EngineProfile, causal_profile

FINE_INPUTS = ("codes", "codebook")
CODEC_INPUTS = ("codes", "fresh")
LOGITS = "logits"
WAVEFORM = "waveform"

KV_CACHE_DTYPES: dict[str, type[np.generic]] = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}

# Positions of one prefill run on the CPU. Its attention computes the scores of every query with every key and masks
# them afterwards: runs of this size skip most of what lies above the diagonal, and their scores stay in the cache.
PREFILL_CHUNK = 128
SHORT = 16  # positions more of a prompt, for which the rest of it is not prefilled anew

IdArray: TypeAlias = NDArray[np.int64]


def cache_names(prefix: str, layers: int) -> list[str]:
    """The cache tensors of a causal graph, `past` in and `present` out, in their order."""
    return [f"{prefix}.{layer}.{half}" for layer in range(layers) for half in ("key", "value")]


def codec_state_names(prefix: str, size: CodecSize) -> list[str]:
    """The state tensors of a codec graph, `past` in and `present` out, in their order."""
    return [f"{prefix}.{name}" for name in codec_state(size)]


class CausalInputs(NamedTuple):
    """The inputs of a causal graph beside its KV cache, by their names."""

    input_ids: IdArray  # [B, S]
    history_ids: IdArray  # [B, S]
    position_ids: IdArray  # [B, S]
    lengths: NDArray[np.int32]  # [B]: where each row's last position is after the run
    total: NDArray[np.int32]  # []: the longest row's number of positions after the run

    @classmethod
    def empty(cls, rows: int, length: int) -> "CausalInputs":
        ids = np.zeros((3, rows, length), np.int64)
        return cls(ids[0], ids[1], ids[2], np.zeros(rows, np.int32), np.zeros((), np.int32))


CAUSAL_INPUTS = CausalInputs._fields

# Providers that read and write the bound memory itself; with others it is binding that copies, each time.
_BINDING_ONCE = ("cpu", "cuda", "tensorrt")


@dataclass
class KVCache:
    """Keys and values of the positions that a causal decoder has seen, a row for a sequence, and which ids those were.

    `memory` is [2 * layers, rows, heads, context, head_size]; the graph appends to it in place.
    """

    memory: Memory
    ids: IdArray  # [rows, 2, context]: input and history ids, of which a row's first `lengths[row]` are valid
    lengths: IdArray  # [rows]
    steps: dict[range, "DecodeStep"] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def clear(self, row: int = 0) -> None:
        """Forget a row, so that what comes next owes nothing to what was there.

        Not for exactness, but because quantised activations depend on which positions run together: with a prefix kept
        from another utterance, the same seed could make other tokens.
        """
        self.lengths[row] = 0


class WideCache:
    """Where a sequence is prefilled in fp32, if it is kept in 8 bits afterwards. Pages are taken when they are used."""

    def __init__(self, size: TransformerSize) -> None:
        self._shape = (2 * size.layers, 1, size.heads, size.context, size.head_size)
        self._memory: Memory | None = None

    def take(self) -> Memory:
        self._memory = self._memory or Memory.of(np.zeros(self._shape, np.float32))
        return self._memory


@dataclass(frozen=True)
class DecodeStep:
    """What decode steps over the same neighbouring rows share: the inputs' arrays, the logits [n, V], their binding."""

    inputs: CausalInputs
    feeds: list[Feed]  # of these inputs
    logits: FloatArray
    binding: Binding


class CausalDecoder:
    """The semantic or the coarse transformer.

    Prefill is compute-bound: every position of a prompt at once. A decode step reads each weight once, for one token of
    each row, and is bound by bandwidth: so rows share it, and nothing else may cost there: inputs, outputs and the
    cache are bound once.
    """

    def __init__(
        self, path: Path, size: TransformerSize, choices: int, kv_cache: str, device: Device,
        step: Path | None = None, engines: Path | None = None,
    ) -> None:  # fmt: skip
        """`choices` is the number of ids that can be sampled, `kv_cache` the cache's precision.

        `step` is the graph of a decode step, if it is not the same; TensorRT keeps what it builds in `engines`.
        """
        if step is not None and device.memory != "cpu":
            raise DeviceError("a bundle of mixed precision is for the CPU: export with --precision fp16 for GPUs")
        self.size = size
        self.device = device
        self.nothing = size.input_vocabulary  # the all-zero embedding row: "no history here"
        self._choices = choices
        self._kv_dtype = KV_CACHE_DTYPES[kv_cache]
        self._narrow = cache_names("narrow", size.layers)
        self._wide = None if step is None else WideCache(size)
        ids, shape = (np.int64, (None, None)), (None, size.heads, size.context, size.head_size)
        cache = (self._kv_dtype if step is None else np.float32, shape)
        inputs: Shapes = dict(zip(CAUSAL_INPUTS, (ids, ids, ids, (np.int32, (None,)), (np.int32, ())), strict=True))
        inputs = {**inputs, **dict.fromkeys(cache_names("past", size.layers), cache)}
        logits = (np.float32, (None, choices))
        outputs: Shapes = {LOGITS: logits, **dict.fromkeys(cache_names("present", size.layers), cache)}
        if engines is not None:  # TensorRT optimises for one length
            *id_names, row = CAUSAL_INPUTS[:4]
            names, half = cache_names("past", size.layers), kv_cache == "fp16"
            self._prefill, self._step = (
                Graph(path, device, inputs, outputs,
                      causal_profile(id_names, row, names, size, span, half=half, engines=engines / phase))
                for phase, span in (("prefill", (1, size.context - 1, size.context)), ("step", (1, 1, 1)))
            )  # fmt: skip
        else:
            narrow = {} if step is None else dict.fromkeys(self._narrow, (np.int8, (None, None, size.width)))
            self._prefill = Graph(path, device, inputs, {**outputs, **narrow})
            self._step = self._prefill
            if step is not None:
                caches = [dict.fromkeys(cache_names(n, size.layers), (np.int8, shape)) for n in ("past", "present")]
                self._step = Graph(step, device, {**inputs, **caches[0]}, {**outputs, **caches[1]})

    def new_cache(self, rows: int = 1) -> KVCache:
        if self.device.name == "tensorrt" and rows > ROWS:
            raise DeviceError(f"TensorRT's engines take up to {ROWS} sequences together, not {rows}")
        shape = (2 * self.size.layers, rows, self.size.heads, self.size.context, self.size.head_size)
        ids = np.zeros((rows, 2, self.size.context), np.int64)
        return KVCache(Memory.zeros(shape, self._kv_dtype, self.device), ids, np.zeros(rows, np.int64))

    def prefill(
        self, cache: KVCache, input_ids: IntArray, history_ids: IntArray | None = None, row: int = 0
    ) -> FloatArray:
        """Make a row of the cache hold exactly this prompt; logits [V] after its last position.

        What the row already holds of the prompt's beginning is kept: keys and values depend only on what is left of
        them. So a coarse window whose start has not moved costs no prefill.

        Args:
            input_ids: [S] token ids, S at most the model's context.
            history_ids: [S] ids whose embeddings are added, `nothing` where there are none.
        """
        ids = np.full((2, len(input_ids)), self.nothing, np.int64)
        ids[0] = input_ids
        if history_ids is not None:
            ids[1] = history_ids
        logits: NDArray[np.float32] = np.zeros((1, self._choices), np.float32)
        count = ids.shape[1]
        held = min(_common_prefix(ids, cache.ids[row, :, : cache.lengths[row]]), count - 1)
        # Where decode steps have a cache of their own, a few positions more are theirs, and a prompt is the prefill's.
        graph = self._step if self._wide is not None and count - held <= SHORT else self._prefill
        wide = self._wide if graph is not self._step else None
        run = PREFILL_CHUNK if self.device.memory == "cpu" else self.size.context
        for start in range(held if wide is None else 0, count, run):
            chunk = ids[:, start : start + run]
            end = start + chunk.shape[1]
            inputs = CausalInputs.empty(1, chunk.shape[1])
            inputs.input_ids[0], inputs.history_ids[0] = chunk
            inputs.position_ids[0] = np.arange(start, end)
            inputs.lengths[0], inputs.total[...] = end - 1, end
            cache.lengths[row] = start  # what lies behind is being written over
            feeds = [Memory.of(array) for array in inputs]  # elsewhere than on the CPU, it is binding that copies them
            if wide is None:
                graph.run_bound(self._bind(graph, cache.memory, range(row, row + 1), feeds, logits))
            else:
                narrow = np.empty((2 * self.size.layers, 1, chunk.shape[1], self.size.width), np.int8)
                graph.run_bound(self._bind(graph, wide.take(), range(1), feeds, logits, narrow))
                heads = narrow.reshape(*narrow.shape[:1], -1, self.size.heads, self.size.head_size)
                cache.memory.owner[:, row, :, start:end] = heads.transpose(0, 2, 1, 3)
            cache.lengths[row], cache.ids[row, :, start:end] = end, chunk
        return logits[0]  # type: ignore[no-any-return]

    def decode_step(self, cache: KVCache, tokens: Sequence[int], rows: Sequence[int] = (0,)) -> FloatArray:
        """Append one token to each of these rows; logits [len(rows), V] after them.

        The rows between the first and the last run too, since a batch has no gaps, but keep what they hold; so the
        rows in use should lie together. The array is the cache's own: it changes with the next call.
        """
        span = range(min(rows), max(rows) + 1)
        step = cache.steps.get(span)
        if step is None:
            inputs = CausalInputs.empty(len(span), 1)
            inputs.history_ids[...] = self.nothing
            logits = np.zeros((len(span), self._choices), np.float32)
            feeds = [Feed.of(array, self.device) for array in inputs]
            binding = self._bind(self._step, cache.memory, span, [feed.memory for feed in feeds], logits)
            step = DecodeStep(inputs, feeds, logits, binding)
            if self.device.name in _BINDING_ONCE:
                cache.steps[span] = step
        # A row that only runs along writes behind what it holds.
        lengths = np.minimum(cache.lengths[span.start : span.stop], self.size.context - 1)
        places = [row - span.start for row in rows]
        step.inputs.input_ids[places, 0] = tokens
        step.inputs.position_ids[:, 0] = step.inputs.lengths[:] = lengths
        step.inputs.total[...] = lengths.max() + 1
        for feed in step.feeds:
            feed.push()
        self._step.run_bound(step.binding)
        cache.lengths[span.start : span.stop] = lengths
        for row, token in zip(rows, tokens, strict=True):
            cache.ids[row, :, cache.lengths[row]] = token, self.nothing
            cache.lengths[row] += 1
        return step.logits if len(places) == len(span) else step.logits[places]

    def _bind(
        self, graph: Graph, cache: Memory, rows: range, inputs: Iterable[Memory], logits: FloatArray,
        narrow: Iterable[NDArray[np.int8]] = (),
    ) -> Binding:  # fmt: skip
        """A binding of these rows of a cache, which lie together in memory."""
        values: dict[str, Memory] = {}
        outputs = {LOGITS: Memory.of(logits), **dict(zip(self._narrow, map(Memory.of, narrow), strict=False))}
        for prefix, bound in (("past", values), ("present", outputs)):
            for n, name in enumerate(cache_names(prefix, self.size.layers)):
                bound[name] = cache[n, rows]
        return graph.bind(values | dict(zip(CAUSAL_INPUTS, inputs, strict=True)), outputs)


def _common_prefix(a: IdArray, b: IdArray) -> int:
    """Columns from the left in which two id arrays [2, n] and [2, m] agree."""
    shorter = min(a.shape[1], b.shape[1])
    differs = (a[:, :shorter] != b[:, :shorter]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shorter


class FineModel:
    """The non-causal transformer that fills in the fine codebooks."""

    def __init__(
        self, path: Path, codebooks: int, codebook_size: int, device: Device, profile: EngineProfile | None = None
    ) -> None:
        self.memory = device.memory
        inputs = dict(zip(FINE_INPUTS, ((np.int64, (None, None, codebooks)), (np.int64, ())), strict=True))
        self._graph = Graph(path, device, inputs, {LOGITS: (np.float32, (None, None, codebook_size))}, profile)

    def logits(self, codes: IntArray, codebook: int) -> FloatArray:
        """Logits [B, T, codebook_size] of one codebook, given the codes [B, codebooks, T] of B windows."""
        arrays = (np.ascontiguousarray(codes.transpose(0, 2, 1), np.int64), np.array(codebook, np.int64))
        logits: NDArray[np.float32] = self._graph.run(dict(zip(FINE_INPUTS, arrays, strict=True)))
        return logits


@dataclass
class CodecState:
    """What a codec decoder must know of the chunks before: the tensors of `codec_state`, a few thousand numbers a row.

    Every row is an utterance of its own.
    """

    arrays: list[NDArray[np.float32]]  # each [rows, ...]


class CodecDecoder:
    """EnCodec's decoder. It is causal: an utterance may come whole or in chunks, and several beside each other."""

    def __init__(self, path: Path, size: CodecSize, device: Device) -> None:
        self.size = size
        shapes = [(np.float32, (None, *shape)) for shape in codec_state(size).values()]
        self._past, self._present = (codec_state_names(prefix, size) for prefix in ("past", "present"))
        codes, fresh = (np.int64, (None, size.codebooks, None)), (np.bool_, (None,))
        inputs: Shapes = dict(zip((*CODEC_INPUTS, *self._past), (codes, fresh, *shapes), strict=True))
        waveform = (np.float32, (None, None))
        outputs = {WAVEFORM: waveform, **dict(zip(self._present, shapes, strict=True))}
        self._graph = Graph(path, device, inputs, outputs)

    def new_state(self, rows: int) -> CodecState:
        """The state of rows that have decoded nothing yet, to be `fresh` in their first chunk."""
        return CodecState([np.zeros((rows, *shape), np.float32) for shape in codec_state(self.size).values()])

    def decode_chunk(self, state: CodecState, codes: IntArray, fresh: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Decode the next frames of several utterances, and update the state.

        Args:
            state: of these rows, after the chunk before.
            codes: fine codes [rows, codebooks, T], T at least 1.
            fresh: [rows], whether a row begins an utterance here; what its state holds is then ignored. Of an utterance
                that goes on afterwards, this first chunk must have at least `size.first_frames` frames.

        Returns:
            The waveforms [rows, T * frame_samples] of these frames, full scale at 1.
        """
        rows, _, frames = codes.shape
        waveform = np.empty((rows, frames * self.size.frame_samples), np.float32)
        present = [np.empty_like(array) for array in state.arrays]
        arrays = np.ascontiguousarray(codes, np.int64), np.ascontiguousarray(fresh, np.bool_), *state.arrays
        inputs = dict(zip((*CODEC_INPUTS, *self._past), map(Memory.of, arrays), strict=True))
        outputs = dict(zip((WAVEFORM, *self._present), map(Memory.of, (waveform, *present)), strict=True))
        self._graph.run_bound(self._graph.bind(inputs, outputs))
        state.arrays = present
        return waveform

    def decode(self, codes: IntArray) -> Waveform:
        """Fine codes [codebooks, T] of a whole utterance -> waveform [T * frame_samples], full scale at 1."""
        waveforms = self.decode_chunk(self.new_state(1), codes[None], np.ones(1, np.bool_))
        return waveforms[0]  # type: ignore[no-any-return]
