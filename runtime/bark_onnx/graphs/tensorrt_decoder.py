"""The causal decoder on TensorRT, which optimises an engine for one length of its inputs: one engine for each verb.

TensorRT can build an engine for several lengths, so that it has the weights only once. But ONNX Runtime's provider runs
the first of them only (https://github.com/microsoft/onnxruntime/pull/31624 would change that).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..arrays import FloatArray, IntArray
from ..errors import DeviceError
from ..model.sizes import TransformerSize
from .cache import KVCache
from .causal_graph import CAUSAL_INPUTS, PAST, CausalGraph, cache_names
from .decoder import CausalDecoder, Decoder
from .device import Device
from .memory import Memory
from .session import Binding
from .tensorrt import ROWS, causal_profile


class TensorRTDecoder(Decoder):
    """A causal transformer in one graph, from which TensorRT builds two engines."""

    def __init__(
        self, path: Path, size: TransformerSize, choices: int, kv_cache: str, device: Device, prompt: int, engines: Path
    ) -> None:
        """`prompt` is the usual length of a prompt, `engines` the directory that TensorRT keeps its engines in."""
        self.size, self.choices, self.device = size, choices, device
        *ids, row = CAUSAL_INPUTS[:4]
        self._prompts, self._steps = (
            CausalDecoder(CausalGraph(path, size, choices, (kv_cache,), device, causal_profile(
                ids, row, cache_names(PAST, size.layers), size, lengths, rows,
                half=kv_cache == "fp16", engines=engines / phase,
            )), kv_cache)
            for phase, lengths, rows in (("prefill", (1, prompt, size.context), 1), ("step", (1, 1, 1), ROWS))
        )  # fmt: skip

    def new_cache(self, rows: int = 1) -> KVCache:
        if rows > ROWS:
            raise DeviceError(f"TensorRT's engines take up to {ROWS} sequences together, not {rows}")
        return self._steps.new_cache(rows)

    def prefill_into(
        self, cache: KVCache, logits: Memory, input_ids: IntArray, history_ids: IntArray | None = None, row: int = 0
    ) -> None:
        self._prompts.prefill_into(cache, logits, input_ids, history_ids, row)

    def decode_step(self, cache: KVCache, tokens: Sequence[int], rows: Sequence[int] = (0,)) -> FloatArray:
        return self._steps.decode_step(cache, tokens, rows)

    def bind_step(self, cache: KVCache, rows: range, inputs: Iterable[Memory], logits: Memory) -> Binding:
        return self._steps.bind_step(cache, rows, inputs, logits)
