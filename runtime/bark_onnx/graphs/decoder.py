"""The semantic and the coarse transformer on ONNX Runtime, with two verbs: `prefill` and `decode_step`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray, IntArray
from ..model.sizes import TransformerSize
from .cache import IdArray, KVCache, Recent
from .causal_graph import CausalGraph, CausalInputs
from .device import Device
from .memory import Feed, Memory
from .session import Binding

# The most positions of one prefill run on the CPU. The attention there computes the scores of every query with every
# key and masks those above the diagonal afterwards. Runs of this size skip many of them.
PREFILL_CHUNK = 256

# On CPUs (seen with AVX-512) products with matrices in blocks (MatMulNBits) take rows in pairs. A row without a partner
# is added up in another order, and its last bits differ. Steps therefore run an even number of rows, so that a sequence
# has the same logits alone and beside others. Two rows of 4-bit products take 1.2 times as long as one (2 cores, AMX).
PAIR = 2

# Providers that read and write bound memory itself. The others copy inputs when they are bound, so they need a new
# binding for every step.
_BINDING_ONCE = ("cpu", "cuda", "tensorrt")


class Decoder(ABC):
    """A causal transformer: `prefill` runs a prompt, `decode_step` runs one more token of each sequence.

    Prefill is compute-bound: every position of a prompt at once. A decode step reads each weight once, for one token of
    each row, and is bound by memory bandwidth. So sequences share their steps.

    Attributes:
        choices: the number of ids that can be sampled, which is the number of logits V.
    """

    size: TransformerSize
    choices: int
    device: Device

    def prefill(
        self, cache: KVCache, input_ids: IntArray, history_ids: IntArray | None = None, row: int = 0
    ) -> FloatArray:
        """Make a row of the cache hold exactly this prompt; logits [V] after its last position.

        Positions at the beginning that the row holds already are not run again: their keys and values depend only on
        the positions before them. So the next coarse window, if its beginning has not moved, costs no prefill.

        Args:
            input_ids: [S] token ids, S at most the model's context.
            history_ids: [S] ids whose embeddings are added, `size.no_history_id` where nothing is.
        """
        logits: NDArray[np.float32] = np.zeros((1, self.choices), np.float32)
        self.prefill_into(cache, Memory.of(logits), input_ids, history_ids, row)
        last: NDArray[np.float32] = logits[0]
        return last

    @abstractmethod
    def new_cache(self, rows: int = 1) -> KVCache:
        """An empty cache for this many sequences."""

    @abstractmethod
    def prefill_into(
        self, cache: KVCache, logits: Memory, input_ids: IntArray, history_ids: IntArray | None = None, row: int = 0
    ) -> None:
        """The same as `prefill`, but write the logits [1, V] to the caller's memory, on any device."""

    @abstractmethod
    def decode_step(self, cache: KVCache, tokens: Sequence[int], rows: Sequence[int] = (0,)) -> FloatArray:
        """Append one token to each of these rows; logits [len(rows), V] after them.

        A batch has no gaps, so the rows between the first and the last run too, but keep their positions. The next call
        with this cache overwrites the logits.
        """

    @abstractmethod
    def bind_step(self, cache: KVCache, rows: range, inputs: Iterable[Memory], logits: Memory) -> Binding:
        """A decode step over neighbouring rows whose inputs and logits are in the caller's memory.

        The caller keeps `cache.ids` and `cache.lengths` up to date.

        Args:
            inputs: in the order of CAUSAL_INPUTS, for these rows; `total` in the host's memory.
            logits: [len(rows), V].
        """


class CausalDecoder(Decoder):
    """A causal transformer in one graph, which runs prompts and decode steps with one KV cache."""

    def __init__(self, graph: CausalGraph, kv_cache: str, *, pairs: bool = False) -> None:
        """`kv_cache` is the number format of the KV cache, one of the graph's.

        `pairs`: whether decode steps run an even number of rows (see PAIR).
        """
        self.size, self.choices, self.device = graph.size, graph.choices, graph.device
        self._graph, self._kv_cache = graph, kv_cache
        self._together = PAIR if pairs else 1
        self._steps: WeakKeyDictionary[KVCache, _Steps] = WeakKeyDictionary()

    def new_cache(self, rows: int = 1) -> KVCache:
        own = rows + -rows % self._together
        ids = np.zeros((own, 2, self.size.context), np.int64)
        return KVCache(self._graph.new_memory(self._kv_cache, own), ids, np.zeros(own, np.int64), rows)

    def prefill_into(
        self, cache: KVCache, logits: Memory, input_ids: IntArray, history_ids: IntArray | None = None, row: int = 0
    ) -> None:
        ids = prompt_ids(self.size, input_ids, history_ids)
        count, rows = ids.shape[1], range(row, row + 1)
        held = min(cache.held(row, ids), count - 1)  # the last position runs in any case, for its logits
        run = PREFILL_CHUNK if self.device.memory == "cpu" else self.size.context
        ends = np.linspace(held, count, -(-(count - held) // run) + 1).astype(int).tolist()  # of about equal lengths
        for start, end in pairwise(ends):
            # Inputs in the host's memory: a provider with other memory copies them when they are bound.
            arrays = (
                *ids[:, None, start:end],
                np.arange(start, end)[None],
                np.array([end - 1], np.int32),
                np.array(end, np.int32),
            )
            inputs = [Memory.of(array) for array in arrays]
            cache.lengths[row] = start  # a run that fails may have overwritten the positions from here on
            self._bind(cache, rows, inputs, logits).run()
            cache.ids[row, :, start:end] = ids[:, start:end]
            cache.lengths[row] = end

    def decode_step(self, cache: KVCache, tokens: Sequence[int], rows: Sequence[int] = (0,)) -> FloatArray:
        steps = self._steps.get(cache)
        if steps is None:
            steps = self._steps[cache] = _Steps(len(cache.lengths), self.choices, self.size.no_history_id, self.device)
        span = self._span(cache, rows)
        part, places = slice(span.start, span.stop), list(rows)
        # A row between that is not decoded writes its next position, which is not counted and will be overwritten.
        lengths = np.minimum(cache.lengths[part], self.size.context - 1)
        steps.inputs.input_ids[places, 0] = tokens
        steps.inputs.position_ids[part, 0] = steps.inputs.lengths[part] = lengths
        steps.inputs.total[...] = lengths.max() + 1
        for feed in steps.feeds:
            feed.push()
        if self.device.name in _BINDING_ONCE:
            binding = steps.bindings.get(span, lambda new: self._bind_own(cache, new, steps))
        else:
            binding = self._bind_own(cache, span, steps)
        binding.run()
        cache.lengths[part] = lengths
        no_history_id = self.size.no_history_id
        for row, token in zip(rows, tokens, strict=True):
            cache.append(row, token, no_history_id)
        return steps.logits[part] if len(places) == len(span) else steps.logits[places]

    def _span(self, cache: KVCache, rows: Sequence[int]) -> range:
        """The neighbouring rows that a step of these rows runs."""
        span = range(min(rows), max(rows) + 1)
        if len(span) % self._together == 0:
            return span
        after, before = range(span.start, span.stop + 1), range(span.start - 1, span.stop)
        if after.stop > len(cache.lengths):
            return before
        if before.start < 0:
            return after
        return after if cache.lengths[after[-1]] <= cache.lengths[before[0]] else before  # the cheaper one

    def bind_step(self, cache: KVCache, rows: range, inputs: Iterable[Memory], logits: Memory) -> Binding:
        return self._bind(cache, rows, inputs, logits, repeated=True)

    def _bind_own(self, cache: KVCache, span: range, steps: "_Steps") -> Binding:
        """A decode step over these rows with the inputs and logits of `steps`."""
        inputs = [*(feed.memory[0, span] for feed in steps.feeds), Memory.of(steps.inputs.total)]
        return self._bind(cache, span, inputs, Memory.of(steps.logits[span.start : span.stop]))

    def _bind(
        self, cache: KVCache, rows: range, inputs: Iterable[Memory], logits: Memory, *, repeated: bool = False
    ) -> Binding:
        """A run over these rows of a cache, which are neighbours in memory."""
        return self._graph.bind(self._kv_cache, cache.memory, rows, inputs, logits, repeated=repeated)


class _Steps:
    """Inputs and logits of decode steps over one cache, allocated once for all rows, and the bindings to them.

    A step over some neighbouring rows is bound to its part of each array.
    """

    def __init__(self, rows: int, choices: int, no_history_id: int, device: Device) -> None:
        ids, lengths = np.zeros((3, 1, rows, 1), np.int64), np.zeros((1, rows), np.int32)
        ids[1] = no_history_id
        self.feeds = [Feed.of(array, device) for array in (*ids, lengths)]  # with an axis in front, as Memory needs it
        # The attention reads `total` in the host's memory.
        self.inputs = CausalInputs(ids[0, 0], ids[1, 0], ids[2, 0], lengths[0], np.zeros((), np.int32))
        self.logits: NDArray[np.float32] = np.zeros((rows, choices), np.float32)
        self.bindings: Recent[Binding] = Recent()


def prompt_ids(size: TransformerSize, input_ids: IntArray, history_ids: IntArray | None) -> IdArray:
    """Input and history ids of a prompt in one array [2, S]."""
    ids = np.full((2, len(input_ids)), size.no_history_id, np.int64)
    ids[0] = input_ids
    if history_ids is not None:
        ids[1] = history_ids
    return ids
