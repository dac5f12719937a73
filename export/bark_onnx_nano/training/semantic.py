"""Training the semantic model: characters to units, in the runtime's own prompts.

The 256 prompt positions are mostly padding, which costs more than the sentence itself. So the first part of the
training leaves out the positions beyond the batch's longest text (all positions keep their numbers). The second learns
that there is nothing in them, from a random few: attention counts each of these as many times as it stands for others.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bark_onnx.model.voice import VoicePreset
from bark_onnx.stages.semantic import semantic_prompt

from . import corpus, spelling
from .alignment import align
from .training import Batch, Task
from .transformer import Causal, build
from .units import STATES, UNITS, VOCABULARY, VOICES

_V = VOCABULARY
VALIDATION = 200  # utterances at the beginning of the corpus
ROWS = 12
_WITH_HISTORY = 0.85
_NONE = -100
PHONE_WEIGHT = 20.0
PADDING = 24  # positions of padding that stand for all


class Sentences:
    """Text ids and semantic tokens of a corpus, in memory."""

    def __init__(self, directory: Path, tokenizer: Path, last: int | None = None) -> None:
        encoder = spelling.encoder(tokenizer)
        self.texts: list[NDArray[np.int16]] = []
        self.semantic: list[NDArray[np.int16]] = []
        for utterance in corpus.read(directory, 0, last, samples=False):
            ids = encoder.encode(utterance.text)
            self.texts.append(ids[ids != _V.text_pad].astype(np.int16))
            self.semantic.append(utterance.semantic)
        self.voices = np.array([tokens[0] // UNITS for tokens in self.semantic])
        self.of_voice = [np.flatnonzero(self.voices == n) for n in range(len(VOICES))]

    def example(self, index: int, random: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
        """Input ids and history ids of the prompt [257], and the tokens after it, the end included."""
        text = np.full(_V.text_window, _V.text_pad, np.int64)
        text[: len(self.texts[index])] = self.texts[index]
        voice = None
        if random.random() < _WITH_HISTORY:
            said = self.semantic[random.choice(self.of_voice[self.voices[index]])]
            empty = np.zeros((2, 1), np.int64)
            voice = VoicePreset(said.astype(np.int64), empty, np.zeros((8, 1), np.int64))
        ids, history = semantic_prompt(text, voice, _V.semantic_pad, _V)
        return ids, history, np.append(self.semantic[index], _V.semantic_pad).astype(np.int64)


def collate(examples: list[tuple[NDArray[np.int64], ...]], kept: NDArray[np.int64], weight: float = 1.0) -> Batch:
    """Rows of one length, of whose prompt the positions `kept` are left; those after a gap count `weight` times."""
    longest = max(len(after) for _, _, after in examples)
    before = len(kept)
    ids = np.full((len(examples), before + longest), _V.semantic_pad)
    targets = np.full((len(examples), longest), _NONE)
    history = np.stack([h[kept] for _, h, _ in examples])
    for row, (prompt, _, after) in enumerate(examples):
        ids[row, :before], ids[row, before] = prompt[kept], prompt[-1]
        ids[row, before + 1 : before + len(after)] = after[:-1]
        targets[row, : len(after)] = after
    positions = np.concatenate([kept, _V.text_window + np.arange(longest)])
    arrays = {"ids": ids, "history": history, "positions": positions, "targets": targets}
    if weight > 1:
        sampled = (positions != np.arange(len(positions))) & (positions < _V.text_window)
        arrays["bias"] = np.where(sampled, np.log(weight), 0).astype(np.float32)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class Batches:
    """Batch n is a function of the seed and n: sentences of about one length together."""

    def __init__(self, sentences: Sentences, seed: int, padding_from: int) -> None:
        self.sentences, self.seed, self.padding_from = sentences, seed, padding_from
        self.order: list[NDArray[np.int64]] = []
        self.epoch = -1

    def __call__(self, step: int) -> Batch:
        count = (len(self.sentences.texts) - VALIDATION) // ROWS
        if step // count != self.epoch:
            self.epoch = step // count
            random = np.random.default_rng((self.seed, self.epoch))
            shuffled = VALIDATION + random.permutation(count * ROWS)
            lengths = np.array([len(self.sentences.semantic[i]) for i in shuffled]) + random.uniform(
                0, 20, len(shuffled)
            )
            self.order = list(random.permutation(shuffled[lengths.argsort()].reshape(count, ROWS)))
        random = np.random.default_rng((self.seed, 1, step))
        return self.make(self.order[step % count], random, PADDING if step >= self.padding_from else 0)

    def make(self, indices: NDArray[np.int64], random: np.random.Generator, padding: int) -> Batch:
        """These utterances, with so many positions of padding beyond the longest text of them."""
        examples = [self.sentences.example(int(i), random) for i in indices]
        longest = max(len(self.sentences.texts[i]) for i in indices)
        rest = np.arange(min(_V.text_window, longest + int(random.integers(1, 12))), _V.text_window)
        sampled = np.sort(random.choice(rest, min(padding, len(rest)), replace=False))
        kept = np.concatenate([np.arange(_V.text_window - len(rest)), sampled])
        return collate(examples, kept, len(rest) / max(1, len(sampled)))


def loss(module: Causal, batch: Batch, phone_weight: float = 0.0) -> Tensor:
    """Cross entropy of the tokens after the prompt; that of which phone comes next counts so many times more."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = module(batch["ids"], batch["positions"], batch["history"], batch.get("bias"))
        asked = batch["targets"] != _NONE
        after = hidden[:, -asked.shape[1] :]
        logits = module.head(after[asked]).float()
    targets = batch["targets"][asked]
    total = F.cross_entropy(logits, targets)
    if phone_weight:
        total = total + phone_weight * phone_loss(logits, batch["ids"][:, -asked.shape[1] :][asked], targets)
    return total


def phone_loss(logits: Tensor, before: Tensor, targets: Tensor) -> Tensor:
    """Of the cross entropy, what is due to the phones: where one ends, which is next, in whatever state.

    Args:
        logits: [N, V].
        before: the tokens [N] that the targets follow.
        targets: [N].

    Returns:
        The sum over the ends of phones, divided by N.
    """
    last = _last_state(before)
    ends = ((targets < before) | (targets > last)) & (before < UNITS * len(VOICES))
    logits, before, last, targets = logits[ends], before[ends, None], last[ends, None], targets[ends]
    tokens = torch.arange(logits.shape[1])
    others = logits.masked_fill((tokens >= before) & (tokens <= last), -torch.inf)
    phone = _last_state(targets)[:, None]
    said = others.masked_fill((tokens <= phone - STATES) | (tokens > phone), -torch.inf)
    return (others.logsumexp(1) - said.logsumexp(1)).sum() / len(ends)


def _last_state(tokens: Tensor) -> Tensor:
    """The last unit of the phone of each token."""
    return tokens // STATES * STATES + STATES - 1


def task(sentences: Sentences, seed: int, padding_from: int) -> Task:
    torch.manual_seed(seed)
    module = build("semantic")
    assert isinstance(module, Causal)
    with torch.no_grad():
        table = module.token_embedding.weight
        inner = torch.randn(table.shape[1]) * 0.2
        for piece, plain in spelling.alike():
            table[_V.text_offset + piece] = table[_V.text_offset + plain] + 0.4 * table[_V.text_offset + piece]
            table[_V.text_offset + piece] += inner if spelling.PIECES[piece].startswith("##") else 0
        for unit in range(UNITS):  # the voices' units begin alike
            table[UNITS + unit] = table[unit] + 0.4 * table[UNITS + unit]
    align(module, "semantic")
    batches = Batches(sentences, seed, padding_from)

    def validate() -> float:
        """The loss on utterances that are not trained on, with whole prompts."""
        random = np.random.default_rng(0)
        order = np.argsort([len(sentences.semantic[i]) for i in range(VALIDATION)])
        rows = order.reshape(-1, VALIDATION // 10)[::3]
        return float(np.mean([float(loss(module, batches.make(row, random, _V.text_window))) for row in rows]))

    return Task(module, batches, lambda batch: loss(module, batch, PHONE_WEIGHT), validate)
