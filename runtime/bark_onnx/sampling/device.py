"""Loops that sample on the device: each run reads there what the run before has sampled.

Sampling is a graph as well (`bark_onnx.graphs.sampler`), so nothing crosses to the host between a prompt and its
tokens. A block of `BLOCK` steps is prepared in the device's memory beforehand, since everything but the tokens is
known: each step has inputs of its own there, and its sampled ids are written where the next step reads them. The host
sends a block's inputs in one copy, starts all its runs, waits, and reads its tokens. If a sequence ends within a block,
its tokens after the end are dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray
from ..errors import BarkError
from ..graphs.cache import KVCache, Recent
from ..graphs.decoder import Decoder
from ..graphs.device import Device
from ..graphs.fine import FineModel
from ..graphs.memory import Feed, Memory, Parcel, Part
from ..graphs.networks import Networks
from ..graphs.sampler import SAMPLER_DTYPES, FineSamplerGraph, SamplerGraph, SamplerInputs
from ..graphs.session import Binding
from ..model.vocabulary import CausalStage
from .sequence import NOT_NUMBERS, Errors, FineWindow, TokenSequence

BLOCK = 8  # steps; an utterance that ends wastes half of them on average
_RULE_STEPS = SamplerInputs(BLOCK, BLOCK, 1, 1, 1, 1, 1, 1)  # of each input of the sampler; 1: the same at all steps


class Blocks:
    """The memory of blocks of steps over one KV cache, allocated once for all rows, and the bindings to it.

    A block over some neighbouring rows is bound to its part of each tensor.
    """

    def __init__(self, rows: int, choices: int, device: Device) -> None:
        self.logits = Memory.zeros((1, rows, choices), np.float32, device)
        self.sampled = Feed.of(np.zeros((BLOCK, rows, 1), np.int64), device)
        ids, moving = (1, rows, 1), (BLOCK, rows, 1)
        rules = [((steps, rows), dtype) for steps, dtype in zip(_RULE_STEPS, SAMPLER_DTYPES, strict=True)]
        self._sent = Parcel(
            [(ids, np.int64), (ids, np.int64), (moving, np.int64), (moving[:2], np.int32), *rules], device
        )
        self.first, self.history, self.positions, self.lengths, *parts = self._sent.parts
        self.rules: SamplerInputs[Part] = SamplerInputs(*parts)
        self.totals = np.zeros((BLOCK, 1), np.int32)  # the attention reads these in the host's memory
        self.steps: Recent[list[Binding]] = Recent()
        self.samplers: dict[bool, Recent[list[Binding]]] = {False: Recent(), True: Recent()}  # by top_k_top_p

    def inputs(self, step: int, rows: range) -> list[Memory]:
        """The decoder's inputs at a step, in the order of CAUSAL_INPUTS."""
        total = Memory.of(self.totals[step].reshape(()))
        ids = self.sampled.memory[step - 1, rows] if step else self.first.memory[0, rows]
        moving = (self.positions.memory[step, rows], self.lengths.memory[step, rows])
        return [ids, self.history.memory[0, rows], *moving, total]

    def sampler_inputs(self, step: int, rows: range) -> SamplerInputs[Memory]:
        return SamplerInputs(*(part.memory[step % len(part.array), rows] for part in self.rules))

    def write_rules(self, sequences: Mapping[int, TokenSequence], count: int, choices: int) -> bool:
        """Write the rules of the next `count` tokens of these rows; True if one of them has top-k or top-p."""
        rules = SamplerInputs(*(part.array for part in self.rules))
        # A row without a sequence takes the first choice.
        for array, value in zip(rules, (0.0, 0, 1, 0.0, -1, np.inf, 1, np.inf), strict=True):
            array[:] = value
        top_k_top_p = False
        for row, sequence in sequences.items():
            rule = sequence.rule
            rules.uniforms[:count, row] = sequence.stream.random(count)
            rules.firsts[:, row] = [(rule.codebook + n) % rule.codebooks * rule.choices for n in range(BLOCK)]
            rules.widths[:, row] = rule.choices
            rules.temperatures[:, row] = rule.temperature
            rules.ends[:, row] = -1 if rule.end is None else rule.end
            rules.min_eos_ps[:, row] = np.inf if rule.min_eos_p is None else rule.min_eos_p
            rules.top_ks[:, row] = choices if rule.top_k is None else min(rule.top_k, choices)
            rules.top_ps[:, row] = np.inf if rule.top_p is None else rule.top_p
            top_k_top_p = top_k_top_p or rule.top_k is not None or rule.top_p is not None
        return top_k_top_p

    def push(self) -> None:
        """Send everything that the host has written for the next block."""
        self._sent.push()


class DeviceLoop:
    """Samples the sequences of a causal decoder.

    Args:
        networks: the bundle's networks, which have the graphs that sample.
        blocks: the memory of each KV cache.
    """

    def __init__(
        self, decoder: Decoder, networks: Networks, stage: CausalStage, blocks: WeakKeyDictionary[KVCache, Blocks]
    ) -> None:
        self._decoder, self._networks, self._stage, self._blocks = decoder, networks, stage, blocks
        self._first_id = networks.vocabulary.first_id(stage)

    def new_cache(self, rows: int = 1) -> KVCache:
        """An empty KV cache: the one that an engine before has left, with its recordings, if it has as many rows.

        A cache of more than one row takes the place of a spare one of another size, since both may not fit.
        """
        with self._networks.lock:
            spares = self._networks.spare_caches
            left = spares.pop(self._stage, None)  # in one step: an engine may be freed, and call `release`, at any time
            if left is not None and left.rows == rows:
                for row in range(rows):
                    left.clear(row)
                return left
            if left is not None and rows == 1:
                spares.setdefault(self._stage, left)
            left = None
            return self._decoder.new_cache(rows)

    def release(self, cache: KVCache) -> None:
        """Keep the cache for the next engine where steps are recorded."""
        if self._decoder.device.captures and not self._networks.closed:
            self._networks.spare_caches[self._stage] = cache

    def begin(
        self,
        cache: KVCache,
        sequence: TokenSequence,
        prompt_ids: IntArray,
        history_ids: IntArray | None = None,
        row: int = 0,
    ) -> Errors:
        blocks, own = self._blocks_of(cache), range(row, row + 1)
        top_k_top_p = blocks.write_rules({row: sequence}, 1, self._decoder.choices)
        graph = self._networks.sampler(self._stage, top_k_top_p=top_k_top_p)

        def run() -> None:
            blocks.push()
            logits, ids = blocks.logits[0, own], blocks.sampled.memory[0, own]
            self._decoder.prefill_into(cache, logits, prompt_ids, history_ids, row)
            graph.bind(logits, blocks.sampler_inputs(0, own), ids, repeated=False).run()
            blocks.sampled.pull()

        self._networks.run(run)
        return self._take(blocks, {row: sequence}, 1)

    def step(self, cache: KVCache, sequences: Mapping[int, TokenSequence]) -> Errors:
        """Decode the last token of each sequence and sample up to BLOCK tokens after it."""
        decoder, blocks = self._decoder, self._blocks_of(cache)
        size, rows = decoder.size, list(sequences)
        span = self._span(rows, cache.rows)
        part = slice(span.start, span.stop)
        count = min(BLOCK, *(sequence.left for sequence in sequences.values()))
        top_k_top_p = blocks.write_rules(sequences, count, decoder.choices)
        # A row without a sequence writes its next position, which is not counted, again and again.
        lengths = np.minimum(cache.lengths[part], size.context - 1)
        moves = np.isin(np.array(span), rows)
        reached = lengths + np.arange(BLOCK)[:, None] * moves
        blocks.positions.array[:, part, 0] = blocks.lengths.array[:, part] = np.minimum(reached, size.context - 1)
        blocks.totals[:, 0] = self._totals(blocks.lengths.array[:, part])
        blocks.first.array[:] = 0
        blocks.first.array[0, rows, 0] = [sequence.last for sequence in sequences.values()]
        blocks.history.array[:] = size.no_history_id
        graph = self._networks.sampler(self._stage, top_k_top_p=top_k_top_p)

        def run() -> None:
            blocks.push()
            steps = blocks.steps.get(span, lambda rows: self._bind_steps(cache, blocks, rows))
            samplers = blocks.samplers[top_k_top_p].get(span, lambda rows: _bind_samplers(graph, blocks, rows))
            try:
                for step, sampler in zip(steps[:count], samplers[:count], strict=True):
                    step.run()
                    sampler.run()
            finally:
                decoder.device.wait()  # also after a run that failed: the others read the block's memory
            blocks.sampled.pull()

        self._networks.run(run)
        cache.lengths[part] = lengths
        errors = self._take(blocks, sequences, count)
        for row in rows:
            start = cache.lengths[row]
            cache.ids[row, 0, start] = blocks.first.array[0, row, 0]
            cache.ids[row, 0, start + 1 : start + count] = blocks.sampled.array[: count - 1, row, 0]
            cache.ids[row, 1, start : start + count] = size.no_history_id
            cache.lengths[row] += count
        return errors

    def _span(self, rows: Sequence[int], most: int) -> range:
        """The neighbouring rows that a step of these rows runs.

        Where steps are recorded these are the first 1, 2, 4, 8 and so on, up to all rows: so there are few recordings.
        """
        if not self._decoder.device.captures:
            return range(min(rows), max(rows) + 1)
        return range(min(1 << max(rows).bit_length(), most))

    def _totals(self, lengths: NDArray[np.int32]) -> IntArray:
        """The decoder's `total` at each step, from the index [BLOCK, R] of each row's last position.

        A step that is replayed cannot read another total, so it is given the largest possible one.
        """
        if self._decoder.device.captures:
            return np.full(len(lengths), self._decoder.size.context)
        longest: NDArray[np.int32] = lengths.max(axis=1)
        return longest + 1

    def _blocks_of(self, cache: KVCache) -> Blocks:
        blocks = self._blocks.get(cache)
        if blocks is None:
            blocks = self._blocks[cache] = Blocks(cache.rows, self._decoder.choices, self._decoder.device)
        return blocks

    def _bind_steps(self, cache: KVCache, blocks: Blocks, rows: range) -> list[Binding]:
        logits = blocks.logits[0, rows]
        return [self._decoder.bind_step(cache, rows, blocks.inputs(n, rows), logits) for n in range(BLOCK)]

    def _take(self, blocks: Blocks, sequences: Mapping[int, TokenSequence], count: int) -> Errors:
        """Give each sequence its tokens of a block, up to its end."""
        errors: Errors = {}
        for row, sequence in sequences.items():
            for choice in (blocks.sampled.array[:count, row, 0] - self._first_id).tolist():
                if choice < 0:
                    errors[row] = BarkError(NOT_NUMBERS)
                    break
                sequence.take(choice)
                if not sequence.left:
                    break
        return errors


def _bind_samplers(graph: SamplerGraph, blocks: Blocks, rows: range) -> list[Binding]:
    """The sampler of each step of a block; its ids are those that the next step decodes."""
    logits = blocks.logits[0, rows]
    return [graph.bind(logits, blocks.sampler_inputs(n, rows), blocks.sampled.memory[n, rows]) for n in range(BLOCK)]


@dataclass(frozen=True)
class Passes:
    """The memory of passes over windows of one shape, and the bindings to it.

    Args:
        shape: windows and frames.
        codes: the codes before and after a pass; the two change places from pass to pass.
        bound: the fine model's run and the sampler's, by codebook.
    """

    shape: tuple[int, int]
    codes: tuple[Feed, Feed]
    fills: Feed
    temperatures: Feed
    uniforms: Feed
    bound: dict[int, tuple[Binding, Binding]] = field(repr=False)


class DeviceFine:
    """Samples the codebooks of the fine model; between its passes nothing leaves the device.

    Args:
        passes: the memory of each model's last shape of windows.
    """

    def __init__(
        self, model: FineModel, sampler: FineSamplerGraph, passes: WeakKeyDictionary[FineModel, Passes]
    ) -> None:
        self._model, self._sampler, self._passes = model, sampler, passes

    def fill(self, windows: Sequence[FineWindow], given: int) -> Errors:
        passes = self._passes_of((len(windows), windows[0].codes.shape[1]))
        codebooks = self._model.codebooks
        first = passes.codes[given % 2]
        passes.uniforms.array[:] = 0
        for place, window in enumerate(windows):
            first.array[place] = window.codes.T
            passes.fills.array[0, place], passes.temperatures.array[0, place] = window.fill, window.temperature
            passes.uniforms.array[:, place, window.fill :] = window.uniforms.T
        for feed in (first, passes.fills, passes.temperatures, passes.uniforms):
            feed.push()
        try:
            for codebook in range(given, codebooks):
                for binding in passes.bound[codebook]:
                    binding.run()
        finally:
            self._model.device.wait()
        last = passes.codes[codebooks % 2]
        last.pull()
        errors: Errors = {}
        for place, window in enumerate(windows):
            new = last.array[place, window.fill :, given:].T
            if (new < 0).any():
                errors[place] = BarkError(NOT_NUMBERS)
            else:
                window.codes[given:, window.fill :] = new
        return errors

    def _passes_of(self, shape: tuple[int, int]) -> Passes:
        passes = self._passes.get(self._model)
        if passes is None or passes.shape != shape:
            del passes
            self._passes.pop(self._model, None)  # frees the last shape's memory before more is allocated
            passes = self._passes[self._model] = self._new_passes(shape)
        return passes

    def _new_passes(self, shape: tuple[int, int]) -> Passes:
        model, device, (rows, length) = self._model, self._model.device, shape
        books, own = model.codebooks, range(rows)
        logits = Memory.zeros((rows, length, model.codebook_size), np.float32, device)
        codes = [Feed.of(np.zeros((rows, length, books), np.int64), device) for _ in range(2)]
        fills = Feed.of(np.zeros((1, rows), np.int64), device)
        temperatures = Feed.of(np.zeros((1, rows)), device)
        uniforms = Feed.of(np.zeros((books, rows, length)), device)
        bound = {}
        for n in range(1, books):
            before, after = codes[n % 2].memory, codes[(n + 1) % 2].memory
            codebook = Memory.of(np.array(n, np.int64))
            inputs = (before, codebook, fills.memory[0, own], uniforms.memory[n, own], temperatures.memory[0, own])
            bound[n] = (
                model.bind(before, codebook, logits),
                self._sampler.bind(logits, inputs, after),
            )
        return Passes(shape, (codes[0], codes[1]), fills, temperatures, uniforms, bound)
