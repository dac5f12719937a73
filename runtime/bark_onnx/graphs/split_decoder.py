"""The decoder of `mixed` bundles: one graph for prompts, another for decode steps, each with a KV cache of its own.

A prompt is prefilled with matrices of 8 bits and a KV cache of fp32. A third graph then quantises that cache to the
8 bits that the decode steps read.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import DeviceError
from ..model.sizes import TransformerSize
from .cache import KVCache
from .decoder import PAST, PRESENT, CausalDecoder, Decoder, cache_names, prompt_ids
from .device import Device
from .memory import Memory
from .session import Binding, Graph

SHORT = 16  # positions


class SplitDecoder(Decoder):
    """A causal transformer in two graphs.

    The cache of a prefill takes 75 MB for bark-small. It is kept with the sequence's cache, since the coarse stage
    prefills once in each window, and is freed when no row of that cache is in use.

    Args:
        prefill: the graph of prefills, with a KV cache of fp32.
        step: the graph of decode steps, with a KV cache of int8.
        quantize_cache: the graph that makes the second cache from the first.
        pairs: whether decode steps run an even number of rows (see PAIR).
    """

    def __init__(
        self, prefill: Path, step: Path, quantize_cache: Path, size: TransformerSize, choices: int, device: Device,
        *, pairs: bool,
    ) -> None:  # fmt: skip
        if device.memory != "cpu":
            raise DeviceError("a bundle of mixed precision is for the CPU: export with --precision fp16 for GPUs")
        self.size, self.choices, self.device = size, choices, device
        self._prompts = CausalDecoder(prefill, size, choices, "fp32", device)
        self._steps = CausalDecoder(step, size, choices, "int8", device, pairs=pairs)
        self._past, self._present = (cache_names(prefix, self.size.layers) for prefix in (PAST, PRESENT))
        shape = (None, self.size.heads, self.size.context, self.size.head_size)
        inputs, outputs = dict.fromkeys(self._past, (np.float32, shape)), dict.fromkeys(self._present, (np.int8, shape))
        self._quantize = Graph(quantize_cache, self.device, inputs, outputs)

    def new_cache(self, rows: int = 1) -> KVCache:
        return self._steps.new_cache(rows)

    def prefill_into(
        self, cache: KVCache, logits: Memory, input_ids: IntArray, history_ids: IntArray | None = None, row: int = 0
    ) -> None:
        """If at most SHORT positions of the prompt are new, use the graph of decode steps.

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
