"""Decode loops that stay on the device: what one run samples, the next reads there.

A sampler is a graph too (`bark_onnx.sampling` in ONNX operators, see the exporter), so that between a prompt and its
tokens nothing crosses to the host and back. A block of steps is laid out in the device's memory beforehand, since all
of it but the tokens is known: every step has a place of its own there, and its token goes where the next one reads. The
host sends a block's random numbers and reads its tokens, `BLOCK` at a time; what a sequence that ended within a block
was given behind its end is dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import IntArray
from ..errors import BarkError
from ..sampling.sampling import NOT_NUMBERS, TokenSequence
from .decoder import LOGITS, CausalDecoder, Errors, KVCache
from .device import Device
from .models import FINE_INPUTS, FineModel, FineWindow
from .session import Binding, Feed, Graph, Memory, Shapes

SAMPLED = "sampled"
SAMPLER_INPUTS = ("uniforms", "firsts", "widths", "temperatures", "ends", "min_eos_ps")
RANKED_INPUTS = ("top_ks", "top_ps")  # beside them, with top-k and top-p
SAMPLER_FLOATS = ("uniforms", "temperatures", "min_eos_ps", "top_ps")  # of these; the others are ids
FINE_SAMPLER_INPUTS = (*FINE_INPUTS, "fills", "uniforms", "temperatures")

BLOCK = 8  # steps: an utterance that ends makes half of them in vain, on average
_EACH_STEP = ("uniforms", "firsts")  # differ from step to step


class SamplerGraph:
    """The graph that samples a causal decoder's logits."""

    def __init__(self, path: Path, choices: int, device: Device, *, ranked: bool) -> None:
        self.names = SAMPLER_INPUTS + (RANKED_INPUTS if ranked else ())
        inputs: Shapes = {
            LOGITS: (np.float32, (None, choices)),
            **{name: (np.float64 if name in SAMPLER_FLOATS else np.int64, (None,)) for name in self.names},
        }
        self.graph = Graph(path, device, inputs, {SAMPLED: (np.int64, (None, 1))}, repeated=True)


class Block:
    """A block of steps of some neighbouring rows: where each step's inputs lie, and how they are bound."""

    def __init__(self, rows: int, choices: int, device: Device) -> None:
        self.rows = range(rows)
        self.logits = Memory.zeros((rows, choices), np.float32, device)
        self.ids = Feed.of(np.zeros((BLOCK + 1, rows, 1), np.int64), device)
        self.positions = Feed.of(np.zeros((BLOCK, rows, 1), np.int64), device)
        self.lengths = Feed.of(np.zeros((BLOCK, rows), np.int32), device)
        self.history = Feed.of(np.zeros((1, rows, 1), np.int64), device)
        self.totals = np.zeros((BLOCK, 1), np.int32)  # the attention reads these on the host
        self.rules = {
            name: Feed.of(np.zeros((BLOCK if name in _EACH_STEP else 1, rows), _kind(name)), device)
            for name in SAMPLER_INPUTS + RANKED_INPUTS
        }
        self.steps: list[Binding] = []
        self.samplers: dict[bool, list[Binding]] = {}  # by whether choices are ranked

    def inputs(self, step: int) -> list[Memory]:
        """Of the decoder, in the order of CAUSAL_INPUTS."""
        total = Memory.of(self.totals[step].reshape(()))
        moving = (self.positions.memory[step, self.rows], self.lengths.memory[step, self.rows])
        return [self.ids.memory[step, self.rows], self.history.memory[0, self.rows], *moving, total]

    def lay_rules(self, sequences: Mapping[int, TokenSequence], count: int, choices: int) -> bool:
        """How the next tokens of the sequences are sampled, by their places; True if choices must be ranked for it."""
        arrays = {name: feed.array for name, feed in self.rules.items()}
        for name, nothing in (("widths", 1), ("ends", -1), ("top_ks", 1)):
            arrays[name][:] = nothing  # a row that only runs along takes the first choice
        for name in ("firsts", "temperatures", "uniforms"):
            arrays[name][:] = 0
        ranked = False
        for place, sequence in sequences.items():
            rule = sequence.rule
            values = {
                "firsts": [(rule.turn + n) % rule.sets * rule.width for n in range(BLOCK)],
                "widths": rule.width,
                "temperatures": rule.temperature,
                "ends": -1 if rule.end is None else rule.end,
                "min_eos_ps": np.inf if rule.min_eos_p is None else rule.min_eos_p,
                "top_ks": choices if rule.top_k is None else min(rule.top_k, choices),
                "top_ps": np.inf if rule.top_p is None else rule.top_p,
            }
            for name, value in values.items():
                arrays[name][:, place] = value
            arrays["uniforms"][:count, place] = sequence.stream.random(count)
            ranked = ranked or rule.top_k is not None or rule.top_p is not None
        for feed in self.rules.values():
            feed.push()
        return ranked


class ResidentDecoder(CausalDecoder):
    """A causal decoder whose tokens are sampled where its logits are.

    Args:
        samplers: the graphs that sample, the second with top-k and top-p.
        first_id: the id of the first logit.
        arguments: of CausalDecoder.
    """

    def __init__(self, samplers: tuple[Path, Path], first_id: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sampler_paths, self._first_id = samplers, first_id

    @cached_property
    def _plain(self) -> SamplerGraph:
        return SamplerGraph(self._sampler_paths[0], self._choices, self.device, ranked=False)

    @cached_property
    def _ranked(self) -> SamplerGraph:
        return SamplerGraph(self._sampler_paths[1], self._choices, self.device, ranked=True)

    def begin(
        self,
        cache: KVCache,
        sequence: TokenSequence,
        input_ids: IntArray,
        history_ids: IntArray | None = None,
        row: int = 0,
    ) -> Errors:
        """Prefill a row with a sequence's prompt, and sample its first token."""
        block = self._block(cache, range(row, row + 1))
        self._prefill_into(cache, block.logits, input_ids, history_ids, row)
        ranked = block.lay_rules({0: sequence}, 1, self._choices)
        self._sample(block, 0, ranked=ranked)
        return self._taken(block, {row: sequence}, [0], 1)

    def go_on(self, cache: KVCache, sequences: Mapping[int, TokenSequence]) -> Errors:
        """Decode the last token of the sequence of each row, and what follows it, up to `BLOCK` tokens."""
        span = range(min(sequences), max(sequences) + 1)
        block = self._block(cache, span)
        places = [row - span.start for row in sequences]
        count = min(BLOCK, *(sequence.left for sequence in sequences.values()))
        ranked = block.lay_rules(dict(zip(places, sequences.values(), strict=True)), count, self._choices)
        # A row that only runs along writes behind what it holds, in the same place again and again.
        lengths = np.minimum(cache.lengths[span.start : span.stop], self.size.context - 1)
        moves = np.isin(np.arange(len(span)), places)
        reached = lengths + np.arange(BLOCK)[:, None] * moves
        block.positions.array[..., 0] = block.lengths.array[:] = np.minimum(reached, self.size.context - 1)
        # A step that is replayed cannot read the longest row's number of positions anew; the most there can be will do.
        longest = self.size.context if self.device.captures else block.lengths.array.max(axis=1) + 1
        block.totals[:, 0] = longest
        block.ids.array[0] = 0
        block.ids.array[0, places, 0] = [sequence.last for sequence in sequences.values()]
        block.history.array[:] = self.nothing
        for feed in (block.ids, block.positions, block.lengths, block.history):
            feed.push()
        for step in range(count):
            self._step.run_bound(block.steps[step])
            self._sample(block, step, ranked=ranked)
        cache.lengths[span.start : span.stop] = lengths
        errors = self._taken(block, sequences, places, count)
        for row, place in zip(sequences, places, strict=True):
            start = cache.lengths[row]
            cache.ids[row, 0, start : start + count] = block.ids.array[:count, place, 0]
            cache.ids[row, 1, start : start + count] = self.nothing
            cache.lengths[row] += count
        return errors

    def _block(self, cache: KVCache, span: range) -> Block:
        block = cache.blocks.get(span)
        if block is None:
            block = Block(len(span), self._choices, self.device)
            block.steps = [
                self._bind(self._step, cache.memory, span, block.inputs(n), block.logits, repeated=True)
                for n in range(BLOCK)
            ]
            cache.blocks[span] = block
        assert isinstance(block, Block)
        return block

    def _sample(self, block: Block, step: int, *, ranked: bool) -> None:
        sampler = self._ranked if ranked else self._plain
        if ranked not in block.samplers:
            block.samplers[ranked] = [
                sampler.graph.bind(
                    {
                        LOGITS: block.logits,
                        **{
                            name: block.rules[name].memory[n if name in _EACH_STEP else 0, block.rows]
                            for name in sampler.names
                        },
                    },
                    {SAMPLED: block.ids.memory[n + 1, block.rows]},
                    repeated=True,
                )
                for n in range(BLOCK)
            ]
        sampler.graph.run_bound(block.samplers[ranked][step])

    def _taken(self, block: Block, sequences: Mapping[int, TokenSequence], places: Sequence[int], count: int) -> Errors:
        """Hand each sequence its tokens of a block, up to where it ends."""
        errors: Errors = {}
        block.ids.pull()
        for (row, sequence), place in zip(sequences.items(), places, strict=True):
            for choice in (block.ids.array[1 : count + 1, place, 0] - self._first_id).tolist():
                if choice < 0:
                    errors[row] = BarkError(NOT_NUMBERS)
                    break
                sequence.take(choice)
                if not sequence.left:
                    break
        return errors


@dataclass(frozen=True)
class _Passes:
    """Windows of one shape on the device: their codes before and after a pass, by turns, and how each pass is bound."""

    codes: tuple[Feed, Feed]
    fills: Feed
    temperatures: Feed
    uniforms: Feed
    bound: dict[int, tuple[Binding, Binding]]  # of each codebook


class ResidentFine(FineModel):
    """The fine model whose codes are sampled where its logits are: between its passes nothing leaves the device."""

    def __init__(self, sampler: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        ids, books = np.int64, self.codebooks
        kinds = ((ids, (None, None, books)), (ids, ()), (ids, (None,)), (np.float64, (None, None)))
        inputs: Shapes = dict(zip(FINE_SAMPLER_INPUTS, (*kinds, (np.float64, (None,))), strict=True))
        logits = {LOGITS: (np.float32, (None, None, self.codebook_size))}
        outputs: Shapes = {SAMPLED: (ids, (None, None, books))}
        self._sampler = Graph(sampler, self.device, {**inputs, **logits}, outputs)
        self._shape = (0, 0)
        self._passes: _Passes | None = None

    def fill(self, windows: Sequence[FineWindow], given: int) -> Errors:
        """Sample the codebooks from `given` on of windows that are of one length, each after those before it."""
        shape = (len(windows), windows[0].codes.shape[1])
        if self._passes is None or shape != self._shape:  # the last shape's memory goes before this one's is taken
            self._passes = None
            self._passes, self._shape = self._lay(*shape), shape
        passes = self._passes
        first = passes.codes[given % 2]
        passes.uniforms.array[:] = 0
        for place, window in enumerate(windows):
            first.array[place] = window.codes.T
            passes.fills.array[0, place], passes.temperatures.array[0, place] = window.fill, window.temperature
            passes.uniforms.array[:, place, window.fill :] = window.uniforms.T
        for feed in (first, passes.fills, passes.temperatures, passes.uniforms):
            feed.push()
        for codebook in range(given, self.codebooks):
            logits, sampled = passes.bound[codebook]
            self._graph.run_bound(logits)
            self._sampler.run_bound(sampled)
        last = passes.codes[self.codebooks % 2]
        last.pull()
        errors: Errors = {}
        for place, window in enumerate(windows):
            new = last.array[place, window.fill :, given:].T
            if (new < 0).any():
                errors[place] = BarkError(NOT_NUMBERS)
            else:
                window.codes[given:, window.fill :] = new
        return errors

    def _lay(self, rows: int, length: int) -> _Passes:
        device, books, own = self.device, self.codebooks, range(rows)
        logits = Memory.zeros((rows, length, self.codebook_size), np.float32, device)
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
                self._graph.bind(dict(zip(FINE_INPUTS, (before, codebook), strict=True)), {LOGITS: logits}),
                self._sampler.bind(
                    {LOGITS: logits, **dict(zip(FINE_SAMPLER_INPUTS, inputs, strict=True))}, {SAMPLED: after}
                ),
            )
        return _Passes((codes[0], codes[1]), fills, temperatures, uniforms, bound)


def _kind(name: str) -> type[np.generic]:
    return np.float64 if name in SAMPLER_FLOATS else np.int64
