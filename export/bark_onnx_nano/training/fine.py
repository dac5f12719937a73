"""Train the fine model: one codebook of a window of 1024 frames at a time, as the runtime calls it.

In the codebook that is predicted, the codes that are not known yet are padding. Where a window overlaps the one before,
its codes are known, and the model learns to repeat them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..corpus.codebooks import Codebooks
from ..corpus.tokens import Tokens
from ..units import UNITS, VOCABULARY
from .batches import IGNORED, ROWS, VALIDATION, WITH_HISTORY, TokenBatches
from .loop import Batch, Task
from .transformer import SIZES, Fine

_V = VOCABULARY


class Batches(TokenBatches):
    """Batches of windows with one or several utterances, and one codebook to predict."""

    def make(self, indices: NDArray[np.int64], random: np.random.Generator) -> Batch:
        codebook = int(random.integers(_V.coarse_codebooks, _V.fine_codebooks))
        codes = np.full((len(indices), _V.fine_window, _V.fine_codebooks), _V.codebook_size)
        targets = np.full(codes.shape[:2], IGNORED)
        for row, index in enumerate(indices):
            own, before = self.tokens.codes[index].T, np.zeros((0, _V.fine_codebooks), np.int64)
            if random.random() < WITH_HISTORY:
                history = self.tokens.codes[self.same_voice(int(index), random)].T
                before = history[-int(random.integers(1, _V.fine_history + 1)) :]
            while random.random() < 0.6:  # long texts fill the window
                own = np.concatenate([own, self.tokens.codes[self.same_voice(int(index), random)].T])
            frames = np.concatenate([before, own])[: _V.fine_window]
            known = len(before) if random.random() < 0.7 else int(random.integers(0, len(frames)))
            codes[row, : len(frames)] = frames
            codes[row, known:, codebook] = _V.codebook_size
            targets[row, len(before) : len(frames)] = frames[len(before) :, codebook]
        return {
            "codes": torch.from_numpy(codes),
            "targets": torch.from_numpy(targets),
            "codebook": torch.tensor(codebook),
        }


def loss(module: Fine, batch: Batch) -> Tensor:
    """Return the cross entropy of one codebook's codes."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = module(batch["codes"], int(batch["codebook"]))
    return F.cross_entropy(logits.float().flatten(0, 1), batch["targets"].flatten(), ignore_index=IGNORED)


@torch.no_grad()
def predictions(module: Fine, tokens: Tokens, count: int, seed: int) -> Tokens:
    """Return the first `count` utterances with the codes that the runtime would have for them.

    Their first two codebooks are the true ones, the others the model's most probable codes. The history of each is
    another utterance of its voice, as a voice preset is in use.
    """
    given, of_voice = _V.coarse_codebooks, tokens.of_voice()
    made = Tokens(tokens.semantic[:count], [])
    for first in range(0, count, ROWS):
        own = tokens.codes[first : min(first + ROWS, count)]
        window = np.full((len(own), _V.fine_window, _V.fine_codebooks), _V.codebook_size)
        places = []
        for row, codes in enumerate(own):
            random = np.random.default_rng((seed, first + row))
            voice = of_voice[int(tokens.semantic[first + row][0]) // UNITS]
            room = min(_V.fine_history, _V.fine_window - codes.shape[1])
            before = tokens.codes[int(random.choice(voice))][:, -room:].T
            places.append((row, slice(len(before), len(before) + codes.shape[1])))
            window[row, : len(before)] = before
            window[*places[row], :given] = codes[:given].T
        ids = torch.from_numpy(window)  # shares the memory of `window`
        for codebook in range(given, _V.fine_codebooks):
            with torch.autocast("cpu", torch.bfloat16):
                best = module(ids, codebook).argmax(-1).numpy()
            for place in places:
                window[*place, codebook] = best[place]
        made.codes.extend(window[place].T.copy() for place in places)
    return made


def task(tokens: Tokens, codebooks: Codebooks, seed: int) -> Task:
    """Return the task of the fine model."""
    torch.manual_seed(seed)
    module = Fine(SIZES["fine"])
    with torch.no_grad():  # codes that sound alike begin with similar vectors
        for n, table in enumerate(module.token_embeddings):
            table[: _V.codebook_size] = codebooks.features(n, module.size.width, 0.15)
    batches = Batches(tokens, seed)

    def validate() -> float:
        """Return the loss on the validation utterances, over the codebooks."""
        rows = np.arange(VALIDATION)[: ROWS * 12].reshape(-1, ROWS)
        return float(
            np.mean([float(loss(module, batches.make(r, np.random.default_rng(n)))) for n, r in enumerate(rows)])
        )

    return Task(module, batches, lambda batch: loss(module, batch), validate)
