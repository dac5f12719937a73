"""Train the coarse model: units to the first two codebooks, with the sliding windows of the runtime.

In use the model continues its own codes, which are sometimes wrong. So some of the codes in its input are replaced by
codes that sound similar; the targets stay the true codes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bark_onnx.stages.coarse import coarse_context, coarse_history, flatten_codes

from ..corpus.codebooks import Codebooks
from ..corpus.tokens import Tokens
from ..units import VOCABULARY
from .alignment import align
from .batches import IGNORED, ROWS, VALIDATION, WITH_HISTORY, TokenBatches
from .loop import Batch, Task
from .transformer import SIZES, Causal, make_voices_similar

_V = VOCABULARY
_SLIDE = 60
_PREFIX = _V.coarse_semantic_window + 1
_REPLACED = 0.15  # the largest share of a batch's codes that are replaced
_NEIGHBOURS = 12  # codes by which a code may be replaced


def window(
    tokens: Tokens, index: int, history: int | None, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a random window of an utterance as the runtime cuts it: the context's ids, and the coarse ids after it.

    Args:
        history: the utterance that is the history; None for no history.
    """
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
    """Batches of windows. Either all windows of a batch have a history or none has."""

    def __init__(self, tokens: Tokens, codebooks: Codebooks, seed: int) -> None:
        super().__init__(tokens, seed)
        self._neighbours = np.concatenate(
            [codebooks.neighbours(n, _NEIGHBOURS).numpy() + n * _V.codebook_size for n in range(_V.coarse_codebooks)]
        )

    def __call__(self, step: int) -> Batch:
        batch = super().__call__(step)
        random = np.random.default_rng((self.seed, step, 1))
        return {**batch, "ids": self._with_errors(batch["ids"].numpy(), random)}

    def make(self, indices: NDArray[np.int64], random: np.random.Generator) -> Batch:
        with_history = random.random() < WITH_HISTORY
        pairs = []
        for index in indices:
            history = self.same_voice(int(index), random) if with_history else None
            pairs.append(window(self.tokens, int(index), history, random))
        longest = max(len(context) + len(after) for context, after in pairs)
        ids = np.full((len(pairs), longest), _V.coarse_infer)
        for row, (context, after) in enumerate(pairs):
            ids[row, : len(context) + len(after)] = np.concatenate([context, after])
        codes = ids[:, _PREFIX:] - _V.semantic_size
        targets = np.where(codes < _V.coarse_choices, codes, IGNORED)
        return {"ids": torch.from_numpy(ids[:, :-1]), "targets": torch.from_numpy(targets)}

    def _with_errors(self, ids: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """Return ids [B, T] in which some coarse codes are replaced by neighbours in their codebook."""
        codes = ids - _V.semantic_size
        chosen = (codes >= 0) & (codes < _V.coarse_choices) & (random.random(ids.shape) < random.uniform(0, _REPLACED))
        others = self._neighbours[codes[chosen], random.integers(0, _NEIGHBOURS, int(chosen.sum()))]
        changed = ids.copy()
        changed[chosen] = others + _V.semantic_size
        return torch.from_numpy(changed)


def loss(module: Causal, batch: Batch) -> Tensor:
    """Return the cross entropy of all coarse codes of the windows, each over the codes of its codebook."""
    ids, targets = batch["ids"], batch["targets"]
    sampled = module.head.weight[_V.semantic_size : _V.semantic_size + _V.coarse_choices]
    rows = torch.split(sampled, _V.codebook_size)
    total = torch.zeros(())
    with torch.autocast("cpu", torch.bfloat16):
        hidden = module(ids, torch.arange(ids.shape[1]))[:, _PREFIX - 1 :]
        for codebook, row in enumerate(rows):  # a history may begin with either codebook
            chosen = (targets >= 0) & (targets // _V.codebook_size == codebook)
            logits = F.linear(hidden[chosen], row)
            total = total + F.cross_entropy(logits.float(), targets[chosen] % _V.codebook_size) / len(rows)
    return total


def task(tokens: Tokens, codebooks: Codebooks, seed: int) -> Task:
    """Return the task of the coarse model."""
    torch.manual_seed(seed)
    module = Causal(SIZES["coarse"])
    with torch.no_grad():
        table = module.token_embedding.weight
        make_voices_similar(table)
        for n in range(_V.coarse_codebooks):  # codes that sound alike begin with similar vectors
            first = _V.semantic_size + n * _V.codebook_size
            table[first : first + _V.codebook_size] = codebooks.features(n, module.size.width, 0.5)
            rows = module.head.weight[first : first + _V.codebook_size]
            rows.copy_(codebooks.features(n, module.size.width, 0.08))
    align(module, "coarse")
    batches = Batches(tokens, codebooks, seed)

    def validate() -> float:
        """Return the loss on the validation utterances."""
        losses = []
        for n in range(6):
            random = np.random.default_rng(n)
            losses.append(float(loss(module, batches.make(np.arange(n, VALIDATION, VALIDATION // ROWS), random))))
        return float(np.mean(losses))

    return Task(module, batches, lambda batch: loss(module, batch), validate)
