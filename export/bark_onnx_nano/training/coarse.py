"""Training the coarse model: units to the first two codebooks, in the runtime's own sliding windows.

When it speaks, what it goes on from is its own, and not always right. So some of the codes that it sees in training are
others that sound alike; what it is to say stays what was said.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bark_onnx.stages.coarse import coarse_context, coarse_history, flatten_codes

from .alignment import align
from .codebooks import Codebooks
from .codes import ROWS, VALIDATION, TokenBatches, Tokens
from .training import Batch, Task
from .transformer import Causal, build
from .units import UNITS, VOCABULARY

_V = VOCABULARY
_SLIDE = 60
_WITH_HISTORY = 0.85
_PREFIX = _V.coarse_semantic_window + 1
_NONE = -100
_CONFUSED = 0.15  # of the codes that are seen, at most
_ALIKE = 12  # codes of a codebook that one may be taken for


def window(
    tokens: Tokens, index: int, history: int | None, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One window of an utterance as the runtime cuts it: ids of the context, and the coarse ids that follow it."""
    voice = tokens.preset(history) if history is not None else None
    before = coarse_history(voice, _V.max_coarse_history, _V)
    semantic = np.concatenate([before.semantic, tokens.semantic[index]])
    coarse = flatten_codes(tokens.codes[index][: _V.coarse_codebooks], _V)
    start = _SLIDE * int(random.integers(0, -(-len(coarse) // _SLIDE)))
    position = len(before.semantic) + round(start / _V.coarse_per_semantic)
    ids = np.concatenate([before.coarse, coarse[: start + _SLIDE]])
    known = len(before.coarse) + start
    context = coarse_context(semantic, position, ids[:known], _V.max_coarse_history, _V)
    return context, ids[known:]


class Batches(TokenBatches):
    """A batch has voices to go on from, or none."""

    def __init__(self, tokens: Tokens, codebooks: Codebooks, seed: int) -> None:
        super().__init__(tokens, seed)
        self.alike = np.concatenate(
            [codebooks.alike(n, _ALIKE).numpy() + n * _V.codebook_size for n in range(_V.coarse_codebooks)]
        )

    def __call__(self, step: int) -> Batch:
        batch = super().__call__(step)
        return {**batch, "ids": self.confuse(batch["ids"].numpy(), np.random.default_rng((self.seed, step, 1)))}

    def make(self, indices: NDArray[np.int64], random: np.random.Generator) -> Batch:
        with_history = random.random() < _WITH_HISTORY
        pairs = []
        for index in indices:
            history = int(random.choice(self.of_voice[self.voices[index]])) if with_history else None
            pairs.append(window(self.tokens, int(index), history, random))
        longest = max(len(context) + len(after) for context, after in pairs)
        ids = np.full((len(pairs), longest), _V.coarse_infer)
        for row, (context, after) in enumerate(pairs):
            ids[row, : len(context) + len(after)] = np.concatenate([context, after])
        codes = ids[:, _PREFIX:] - _V.semantic_size
        targets = np.where(codes < _V.coarse_choices, codes, _NONE)
        return {"ids": torch.from_numpy(ids[:, :-1]), "targets": torch.from_numpy(targets)}

    def confuse(self, ids: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """Ids [B, T] with some of their coarse codes taken for others that sound alike."""
        codes = ids - _V.semantic_size
        chosen = (codes >= 0) & (codes < _V.coarse_choices) & (random.random(ids.shape) < random.uniform(0, _CONFUSED))
        others = self.alike[codes[chosen], random.integers(0, _ALIKE, int(chosen.sum()))]
        confused = ids.copy()
        confused[chosen] = others + _V.semantic_size
        return torch.from_numpy(confused)


def loss(module: Causal, batch: Batch) -> Tensor:
    """Cross entropy of all coarse codes of the windows, each among those of its codebook."""
    ids, targets = batch["ids"], batch["targets"]
    sampled = module.head.weight[_V.semantic_size : _V.semantic_size + _V.coarse_choices]
    rows = torch.split(sampled, _V.codebook_size)
    total = torch.zeros(())
    with torch.autocast("cpu", torch.bfloat16):
        hidden = module(ids, torch.arange(ids.shape[1]))[:, _PREFIX - 1 :]
        for codebook, row in enumerate(rows):  # a history may begin with either codebook
            asked = (targets >= 0) & (targets // _V.codebook_size == codebook)
            logits = F.linear(hidden[asked], row)
            total = total + F.cross_entropy(logits.float(), targets[asked] % _V.codebook_size) / len(rows)
    return total


def task(tokens: Tokens, codebooks: Codebooks, seed: int) -> Task:
    torch.manual_seed(seed)
    module = build("coarse")
    assert isinstance(module, Causal)
    with torch.no_grad():
        table = module.token_embedding.weight
        for unit in range(UNITS):  # the voices' units begin alike
            table[UNITS + unit] = table[unit] + 0.4 * table[UNITS + unit]
        for n in range(_V.coarse_codebooks):  # codes that sound alike begin alike
            first = _V.semantic_size + n * _V.codebook_size
            table[first : first + _V.codebook_size] = codebooks.features(n, module.size.width, 0.5)
            rows = module.head.weight[first : first + _V.codebook_size]
            rows.copy_(codebooks.features(n, module.size.width, 0.08))
    align(module, "coarse")
    batches = Batches(tokens, codebooks, seed)

    def validate() -> float:
        """The loss on utterances that are not trained on."""
        losses = []
        for n in range(6):
            random = np.random.default_rng(n)
            losses.append(float(loss(module, batches.make(np.arange(n, VALIDATION, VALIDATION // ROWS), random))))
        return float(np.mean(losses))

    return Task(module, batches, lambda batch: loss(module, batch), validate)
