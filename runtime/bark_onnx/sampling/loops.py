"""The loops that run a bundle's networks and sample: on the device if the bundle has graphs for that, else on the host.

A loop drives a network with its verbs. Networks know nothing of sequences, and sequences know nothing of networks.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

from ..arrays import IntArray
from ..graphs.cache import KVCache
from ..graphs.fine import FineModel
from ..graphs.networks import Networks
from ..model.vocabulary import CausalStage
from .device import Blocks, DeviceFine, DeviceLoop, Passes
from .host import HostFine, HostLoop
from .sequence import Errors, FineWindow, TokenSequence


class CausalLoop(Protocol):
    """Samples the sequences of a causal network, each in a row of a KV cache."""

    def new_cache(self, rows: int = 1) -> KVCache:
        """An empty KV cache for this many sequences."""

    def release(self, cache: KVCache) -> None:
        """Say that nobody will use a cache of `new_cache` again."""

    def begin(
        self,
        cache: KVCache,
        sequence: TokenSequence,
        prompt_ids: IntArray,
        history_ids: IntArray | None = None,
        row: int = 0,
    ) -> Errors:
        """Prefill a row with a sequence's prompt, ids [S], and sample its first token."""

    def step(self, cache: KVCache, sequences: Mapping[int, TokenSequence]) -> Errors:
        """Decode the last token of each row's sequence and sample the next one, or the next few on a device."""


class FineLoop(Protocol):
    """Samples the codebooks of the fine model."""

    def fill(self, windows: Sequence[FineWindow], given: int) -> Errors:
        """Sample the codebooks from `given` on of windows of one length, each codebook after those before it."""


class Loops:
    """The loops of a bundle's networks, made when they are asked for: so none keeps a network in memory.

    The memory of loops on a device is kept here, for as long as its KV cache or its network lives.

    Attributes:
        kept_caches: see `one_row_cache`.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.kept_caches: dict[CausalStage, KVCache] = {}
        self._blocks: WeakKeyDictionary[KVCache, Blocks] = WeakKeyDictionary()
        self._passes: WeakKeyDictionary[FineModel, Passes] = WeakKeyDictionary()

    @property
    def semantic(self) -> CausalLoop:
        return self.causal("semantic")

    @property
    def coarse(self) -> CausalLoop:
        return self.causal("coarse")

    def causal(self, stage: CausalStage) -> CausalLoop:
        """The loop of the semantic or the coarse network."""
        networks = self.networks
        decoder = networks.causal(stage)
        if not networks.device.samples:
            return HostLoop(decoder)
        return DeviceLoop(decoder, networks, stage, self._blocks)

    def one_row_cache(self, stage: CausalStage) -> KVCache:
        """A KV cache of one row, for an utterance that has the networks for itself.

        On the CPU it is a new one each time, so that the next stage can use its memory. On a GPU it is kept, with its
        bindings and recordings.
        """
        if self.networks.low_memory or self.networks.device.memory == "cpu":
            return self.causal(stage).new_cache()
        if stage not in self.kept_caches:
            self.kept_caches[stage] = self.causal(stage).new_cache()
        return self.kept_caches[stage]

    @property
    def fine(self) -> FineLoop:
        networks = self.networks
        if not networks.device.samples:
            return HostFine(networks.fine)
        return DeviceFine(networks.fine, networks.fine_sampler, self._passes)
