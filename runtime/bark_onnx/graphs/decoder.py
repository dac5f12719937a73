"""The semantic and the coarse transformer, as verbs on ONNX Runtime sessions: prefill and decode step.

A network's file names its graph's inputs and outputs; the exporter takes the names from there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, IntArray
from ..errors import BarkError, DeviceError
from ..model.sizes import TransformerSize
from ..sampling.sampling import TokenSequence, draw
from .device import Device
from .session import BFLOAT16, Binding, Feed, Graph, Memory, Shapes
from .tensorrt import ROWS, causal_profile

LOGITS = "logits"

KV_CACHE_DTYPES: dict[str, type[np.generic]] = {
    "fp32": np.float32,
    "fp16": np.float16,
    "bf16": BFLOAT16,
    "int8": np.int8,
}

# Positions of one prefill run on the CPU. Its attention computes the scores of every query with every key and masks
# them afterwards: runs of this size skip most of what lies above the diagonal, and their scores stay in the cache.
PREFILL_CHUNK = 128
SHORT = 16  # positions more of a prompt, for which the rest of it is not prefilled anew

IdArray: TypeAlias = NDArray[np.int64]
Errors: TypeAlias = dict[int, BarkError]
"""What went wrong with some of the sequences, by their rows; the others are none the worse for it."""


def cache_names(prefix: str, layers: int) -> list[str]:
    """The cache tensors of a causal graph, `past` in and `present` out, in their order."""
    return [f"{prefix}.{layer}.{half}" for layer in range(layers) for half in ("key", "value")]


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
    blocks: dict[range, object] = field(default_factory=dict, repr=False)  # of decode steps that stay on the device

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

    def __init__(self, narrow: Path, size: TransformerSize, device: Device) -> None:
        """`narrow` is the graph that makes one of the other, [rows, heads, context, head_size] each."""
        self._names = cache_names("past", size.layers), cache_names("present", size.layers)
        self._shape = (2 * size.layers, 1, size.heads, size.context, size.head_size)
        wide, kept = ((dtype, (None, *self._shape[2:])) for dtype in (np.float32, np.int8))
        self._graph = Graph(narrow, device, dict.fromkeys(self._names[0], wide), dict.fromkeys(self._names[1], kept))
        self._memory: Memory | None = None

    def take(self) -> Memory:
        self._memory = self._memory or Memory.of(np.zeros(self._shape, np.float32))
        return self._memory

    def keep(self, cache: Memory, row: int) -> None:
        """Write what was prefilled to a row of the cache."""
        places = range(1), range(row, row + 1)
        wide, kept = (
            {name: memory[n, rows] for n, name in enumerate(names)}
            for memory, rows, names in zip((self.take(), cache), places, self._names, strict=True)
        )
        self._graph.run_bound(self._graph.bind(wide, kept))


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
        steps: tuple[Path, Path] | None = None, engines: Path | None = None,
    ) -> None:  # fmt: skip
        """`choices` is the number of ids that can be sampled, `kv_cache` the cache's precision.

        `steps` are the graph of a decode step, if it is not the same, and that of its cache from a prefill's; TensorRT
        keeps what it builds in `engines`.
        """
        if steps is not None and device.memory != "cpu":
            raise DeviceError("a bundle of mixed precision is for the CPU: export with --precision fp16 for GPUs")
        if kv_cache == "bf16" and device.name == "cpu":
            raise DeviceError("a bf16 bundle needs a GPU (ONNX Runtime multiplies no bfloat16 on CPUs): export int8")
        self.size = size
        self.device = device
        self.nothing = size.input_vocabulary  # the all-zero embedding row: "no history here"
        self._choices = choices
        self._kv_dtype = KV_CACHE_DTYPES[kv_cache]
        self._wide = None if steps is None else WideCache(steps[1], size, device)
        ids, shape = (np.int64, (None, None)), (None, size.heads, size.context, size.head_size)
        cache = (self._kv_dtype if steps is None else np.float32, shape)
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
            self._step = self._prefill = Graph(path, device, inputs, outputs, repeated=True)
            if steps is not None:
                caches = [dict.fromkeys(cache_names(n, size.layers), (np.int8, shape)) for n in ("past", "present")]
                self._step = Graph(steps[0], device, {**inputs, **caches[0]}, {**outputs, **caches[1]})

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
        logits: NDArray[np.float32] = np.zeros((1, self._choices), np.float32)
        self._prefill_into(cache, Memory.of(logits), input_ids, history_ids, row)
        return logits[0]  # type: ignore[no-any-return]

    def _prefill_into(
        self, cache: KVCache, logits: Memory, input_ids: IntArray, history_ids: IntArray | None, row: int
    ) -> None:
        """`prefill`, with the logits [1, V] wherever they are wanted."""
        ids = np.full((2, len(input_ids)), self.nothing, np.int64)
        ids[0] = input_ids
        if history_ids is not None:
            ids[1] = history_ids
        count = ids.shape[1]
        held = min(_common_prefix(ids, cache.ids[row, :, : cache.lengths[row]]), count - 1)
        # Where decode steps have a cache of their own, a few positions more are theirs, and a prompt is the prefill's.
        graph = self._step if self._wide is not None and count - held <= SHORT else self._prefill
        wide = self._wide if graph is not self._step else None
        memory, place = (cache.memory, row) if wide is None else (wide.take(), 0)
        run = PREFILL_CHUNK if self.device.memory == "cpu" else self.size.context
        for start in range(held if wide is None else 0, count, run):
            chunk = ids[:, start : start + run]
            end = start + chunk.shape[1]
            inputs = CausalInputs.empty(1, chunk.shape[1])
            inputs.input_ids[0], inputs.history_ids[0] = chunk
            inputs.position_ids[0] = np.arange(start, end)
            inputs.lengths[0], inputs.total[...] = end - 1, end
            cache.lengths[row] = start if wide is None else 0  # what lies behind is being written over
            feeds = [Memory.of(array) for array in inputs]  # elsewhere than on the CPU, it is binding that copies them
            graph.run_bound(self._bind(graph, memory, range(place, place + 1), feeds, logits))
            if wide is None:
                cache.lengths[row] = end
            cache.ids[row, :, start:end] = chunk
        if wide is not None:
            wide.keep(cache.memory, row)
            cache.lengths[row] = count

    def begin(
        self,
        cache: KVCache,
        sequence: TokenSequence,
        input_ids: IntArray,
        history_ids: IntArray | None = None,
        row: int = 0,
    ) -> Errors:
        """Prefill a row with a sequence's prompt, and sample its first token."""
        return _drawn(self.prefill(cache, input_ids, history_ids, row)[None], {row: sequence})

    def go_on(self, cache: KVCache, sequences: Mapping[int, TokenSequence]) -> Errors:
        """Decode the last token of the sequence of each row, and sample its next, or its next few."""
        logits = self.decode_step(cache, [sequence.last for sequence in sequences.values()], list(sequences))
        return _drawn(logits, sequences)

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
            feeds = [Feed.of(array, self.device) for array in inputs[:-1]]
            bound = [*(feed.memory for feed in feeds), Memory.of(inputs.total)]  # the attention reads it on the host
            binding = self._bind(self._step, cache.memory, span, bound, Memory.of(logits))
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
        self, graph: Graph, cache: Memory, rows: range, inputs: Iterable[Memory], logits: Memory, *,
        repeated: bool = False,
    ) -> Binding:  # fmt: skip
        """A binding of these rows of a cache, which lie together in memory."""
        values: dict[str, Memory] = {}
        outputs = {LOGITS: logits}
        for prefix, bound in (("past", values), ("present", outputs)):
            for n, name in enumerate(cache_names(prefix, self.size.layers)):
                bound[name] = cache[n, rows]
        return graph.bind(values | dict(zip(CAUSAL_INPUTS, inputs, strict=True)), outputs, repeated=repeated)


def _drawn(logits: FloatArray, sequences: Mapping[int, TokenSequence]) -> Errors:
    """Sample the next token of each sequence from its row of logits."""
    errors: Errors = {}
    for (row, sequence), own in zip(sequences.items(), logits, strict=True):
        try:
            draw(own, sequence)
        except BarkError as error:
            errors[row] = error
    return errors


def _common_prefix(a: IdArray, b: IdArray) -> int:
    """Columns from the left in which two id arrays [2, n] and [2, m] agree."""
    shorter = min(a.shape[1], b.shape[1])
    differs = (a[:, :shorter] != b[:, :shorter]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shorter
