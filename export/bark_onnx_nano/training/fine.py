"""Training the fine model: a window of 1024 frames at a time, one codebook of it, as the runtime asks for them.

The codes of the wanted codebook are padding where they are still unknown; where a window overlaps one before it, they
are known already, and the model is to confirm them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .codebooks import Codebooks
from .codes import ROWS, VALIDATION, TokenBatches, Tokens
from .training import Batch, Task
from .transformer import Fine, build
from .units import UNITS, VOCABULARY

_V = VOCABULARY
_WITH_HISTORY = 0.85
_NONE = -100


class Batches(TokenBatches):
    """Windows filled with one utterance or several, and one codebook of them asked for."""

    def make(self, indices: NDArray[np.int64], random: np.random.Generator) -> Batch:
        codebook = int(random.integers(_V.coarse_codebooks, _V.fine_codebooks))
        codes = np.full((len(indices), _V.fine_window, _V.fine_codebooks), _V.codebook_size)
        targets = np.full(codes.shape[:2], _NONE)
        for row, index in enumerate(indices):
            own, before = self.tokens.codes[index].T, np.zeros((0, _V.fine_codebooks), np.int64)
            if random.random() < _WITH_HISTORY:
                voice = self.of_voice[self.voices[index]]
                before = self.tokens.codes[int(random.choice(voice))].T[-int(random.integers(1, _V.fine_history + 1)) :]
            while random.random() < 0.6:  # long texts fill the window
                own = np.concatenate([own, self.tokens.codes[int(random.choice(self.of_voice[self.voices[index]]))].T])
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
    with torch.autocast("cpu", torch.bfloat16):
        logits = module(batch["codes"], int(batch["codebook"]))
    return F.cross_entropy(logits.float().flatten(0, 1), batch["targets"].flatten(), ignore_index=_NONE)


@torch.no_grad()
def guesses(module: Fine, tokens: Tokens, count: int, seed: int) -> Tokens:
    """The first utterances as the runtime would have them: the codes that it is given, and the model's for the rest.

    Each follows another utterance of its voice, as speech follows a voice preset.
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
        ids = torch.from_numpy(window)  # of the same memory
        for codebook in range(given, _V.fine_codebooks):
            with torch.autocast("cpu", torch.bfloat16):
                best = module(ids, codebook).argmax(-1).numpy()
            for place in places:
                window[*place, codebook] = best[place]
        made.codes.extend(window[place].T.copy() for place in places)
    return made


def task(tokens: Tokens, codebooks: Codebooks, seed: int) -> Task:
    torch.manual_seed(seed)
    module = build("fine")
    assert isinstance(module, Fine)
    with torch.no_grad():  # codes that sound alike begin alike
        for n, table in enumerate(module.token_embeddings):
            table[: _V.codebook_size] = codebooks.features(n, module.size.width, 0.15)
    batches = Batches(tokens, seed)

    def validate() -> float:
        """The loss on utterances that are not trained on, over the codebooks."""
        rows = np.arange(VALIDATION)[: ROWS * 12].reshape(-1, ROWS)
        return float(
            np.mean([float(loss(module, batches.make(r, np.random.default_rng(n)))) for n, r in enumerate(rows)])
        )

    return Task(module, batches, lambda batch: loss(module, batch), validate)
