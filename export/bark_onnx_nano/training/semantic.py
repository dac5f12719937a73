"""Train the semantic model: characters to units, with the prompts of the runtime.

Most of the 256 prompt positions are padding, which costs more than the sentence itself. So the first part of the
training leaves out the positions after the longest text of the batch; all other positions keep their numbers. The
second part includes a few random padding positions, so that the model learns to ignore padding. Attention weighs each
of them by the number of positions that it stands for.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bark_onnx.model.voice import VoicePreset
from bark_onnx.stages.semantic import semantic_prompt

from ..corpus import utterances
from ..text import tokenizer
from ..units import STATES, UNITS, VOCABULARY, VOICES
from .alignment import align
from .batches import IGNORED, WITH_HISTORY
from .loop import Batch, Task
from .transformer import SIZES, Causal, make_voices_similar

_V = VOCABULARY
VALIDATION = 200  # utterances at the start of the corpus, on which the semantic model is not trained
ROWS = 12
PHONE_WEIGHT = 20.0
PADDING = 24  # padding positions that stand for all

Example = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # input ids, history ids, tokens


class Sentences:
    """The text ids and semantic tokens of a corpus, in memory."""

    def __init__(self, directory: Path, tokenizer_file: Path, last: int | None = None) -> None:
        encoder = tokenizer.encoder(tokenizer_file)
        self.texts: list[NDArray[np.int16]] = []
        self.semantic: list[NDArray[np.int16]] = []
        for utterance in utterances.read(directory, 0, last, samples=False):
            ids = encoder.encode(utterance.text)
            self.texts.append(ids[ids != _V.text_pad].astype(np.int16))
            self.semantic.append(utterance.semantic)
        self.voices = np.array([tokens[0] // UNITS for tokens in self.semantic])
        self.of_voice = [np.flatnonzero(self.voices == n) for n in range(len(VOICES))]

    def example(self, index: int, random: np.random.Generator) -> Example:
        """Return the prompt's input ids and history ids [257], and the tokens after it with the end token."""
        text = np.full(_V.text_window, _V.text_pad, np.int64)
        text[: len(self.texts[index])] = self.texts[index]
        voice = None
        if random.random() < WITH_HISTORY:
            history_tokens = self.semantic[random.choice(self.of_voice[self.voices[index]])]
            empty = np.zeros((2, 1), np.int64)
            voice = VoicePreset(history_tokens.astype(np.int64), empty, np.zeros((8, 1), np.int64))
        ids, history = semantic_prompt(text, voice, _V.semantic_pad, _V)
        return ids, history, np.append(self.semantic[index], _V.semantic_pad).astype(np.int64)


def collate(examples: list[Example], kept: NDArray[np.int64], weight: float = 1.0) -> Batch:
    """Return examples as a batch with rows of one length.

    Args:
        kept: the positions of the prompt that are kept.
        weight: how many positions each kept position after the first gap stands for.
    """
    longest = max(len(after) for _, _, after in examples)
    before = len(kept)
    ids = np.full((len(examples), before + longest), _V.semantic_pad)
    targets = np.full((len(examples), longest), IGNORED)
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
    """Batches of sentences of similar lengths. A batch depends only on the seed and on its step."""

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
        """Return a batch of these utterances with at most `padding` positions after the longest text."""
        examples = [self.sentences.example(int(i), random) for i in indices]
        longest = max(len(self.sentences.texts[i]) for i in indices)
        rest = np.arange(min(_V.text_window, longest + int(random.integers(1, 12))), _V.text_window)
        sampled = np.sort(random.choice(rest, min(padding, len(rest)), replace=False))
        kept = np.concatenate([np.arange(_V.text_window - len(rest)), sampled])
        return collate(examples, kept, len(rest) / max(1, len(sampled)))


def loss(module: Causal, batch: Batch, phone_weight: float = 0.0) -> Tensor:
    """Return the cross entropy of the tokens after the prompt, plus `phone_weight` times the phone loss."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = module(batch["ids"], batch["positions"], batch["history"], batch.get("bias"))
        known = batch["targets"] != IGNORED
        after = hidden[:, -known.shape[1] :]
        logits = module.head(after[known]).float()
    targets = batch["targets"][known]
    total = F.cross_entropy(logits, targets)
    if phone_weight:
        total = total + phone_weight * phone_loss(logits, batch["ids"][:, -known.shape[1] :][known], targets)
    return total


def phone_loss(logits: Tensor, before: Tensor, targets: Tensor) -> Tensor:
    """Return the part of the cross entropy that depends on the phones: at the end of a phone, which one is next.

    The state of the next phone does not matter.

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
    spoken = others.masked_fill((tokens <= phone - STATES) | (tokens > phone), -torch.inf)
    return (others.logsumexp(1) - spoken.logsumexp(1)).sum() / len(ends)


def _last_state(tokens: Tensor) -> Tensor:
    """Return the last unit of the phone of each token."""
    return tokens // STATES * STATES + STATES - 1


def task(sentences: Sentences, seed: int, padding_from: int) -> Task:
    """Return the task of the semantic model.

    Args:
        padding_from: the first step whose batches include padding.
    """
    torch.manual_seed(seed)
    module = Causal(SIZES["semantic"])
    with torch.no_grad():
        table = module.token_embedding.weight
        inner = torch.randn(table.shape[1]) * 0.2
        for piece, plain in tokenizer.similar_pieces():
            table[_V.text_offset + piece] = table[_V.text_offset + plain] + 0.4 * table[_V.text_offset + piece]
            table[_V.text_offset + piece] += inner if tokenizer.PIECES[piece].startswith("##") else 0
        make_voices_similar(table)
    align(module, "semantic")
    batches = Batches(sentences, seed, padding_from)

    def validate() -> float:
        """Return the loss on the validation utterances with whole prompts."""
        random = np.random.default_rng(0)
        order = np.argsort([len(sentences.semantic[i]) for i in range(VALIDATION)])
        rows = order.reshape(-1, VALIDATION // 10)[::3]
        return float(np.mean([float(loss(module, batches.make(row, random, _V.text_window))) for row in rows]))

    return Task(module, batches, lambda batch: loss(module, batch, PHONE_WEIGHT), validate)
