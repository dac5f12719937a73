"""A decoder with a KV cache of fp32 for prompts, and one of int8 for decode steps.

A prefill is bound by arithmetic, and attention is fastest with a cache of fp32. A decode step is bound by memory
bandwidth, and reads a quarter of that in int8. A graph of its own quantises the cache of a prompt to that of its steps.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..arrays import FloatArray, IntArray
from .cache import KVCache
from .causal_graph import PAST, PRESENT, cache_names
from .decoder import CausalDecoder, Decoder, prompt_ids
from .memory import Memory
from .session import Binding, Graph

SHORT = 16  # positions


class SplitDecoder(Decoder):
    """A causal transformer with two KV caches.

    The cache of a prefill takes 75 MB for bark-small. It is kept with the sequence's cache, since the coarse stage
    prefills once in each window, and is freed when no row of that cache is in use.

    Args:
        prompts: runs prefills, with a KV cache of fp32.
        steps: runs decode steps, with a KV cache of int8. Both may have the same graph.
        quantize_cache: the graph that makes the second cache from the first.
    """

    def __init__(self, prompts: CausalDecoder, steps: CausalDecoder, quantize_cache: Path) -> None:
        self.size, self.choices, self.device = steps.size, steps.choices, steps.device
        self._prompts, self._steps = prompts, steps
        self._past, self._present = (cache_names(prefix, self.size.layers) for prefix in (PAST, PRESENT))
        shape = (None, self.size.heads, self.size.context, self.size.head_size)
        inputs, outputs = dict.fromkeys(self._past, (np.float32, shape)), dict.fromkeys(self._present, (np.int8, shape))
        self._quantize = Graph(quantize_cache, self.device, inputs, outputs)

    def new_cache(self, rows: int = 1) -> KVCache:
        return self._steps.new_cache(rows)

    def prefill_into(
        self, cache: KVCache, logits: Memory, input_ids: IntArray, history_ids: IntArray | None = None, row: int = 0
    ) -> None:
        """If at most SHORT positions of the prompt are new, run them like decode steps.

        Otherwise prefill the whole prompt from its first position, since the cache of fp32 holds another one.
        """
        ids = prompt_ids(self.size, input_ids, history_ids)
        count = ids.shape[1]
        if count - cache.held(row, ids) <= SHORT:
            self._steps.prefill_into(cache, logits, input_ids, history_ids, row)
            return
        if cache.prefilled is None:
            cache.prefilled = self._prompts.new_cache()
        cache.lengths[row] = cache.prefilled.lengths[0] = 0
        self._prompts.prefill_into(cache.prefilled, logits, input_ids, history_ids)
        self._quantize.bind(
            {name: cache.prefilled.memory[n, range(1)] for n, name in enumerate(self._past)},
            {name: cache.memory[n, range(row, row + 1)] for n, name in enumerate(self._present)},
        ).run()
        cache.ids[row, :, :count] = ids
        cache.lengths[row] = count

    def decode_step(self, cache: KVCache, tokens: Sequence[int], rows: Sequence[int] = (0,)) -> FloatArray:
        return self._steps.decode_step(cache, tokens, rows)

    def bind_step(self, cache: KVCache, rows: range, inputs: Iterable[Memory], logits: Memory) -> Binding:
        return self._steps.bind_step(cache, rows, inputs, logits)
