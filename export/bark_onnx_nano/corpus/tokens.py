"""The spoken part of the corpus as tokens: what coarse and fine model learn from, and voices are made of.

The synthesizer's excitation is noise, another one every time it says a sentence: of two takes' first codes a quarter
differ, of the second ones more than half, and no model can know which it will be. So an utterance is said several
times, and its codes are those of the mean of its frames.
"""

import multiprocessing
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bark_onnx.model.voice import VoicePreset

from . import corpus, mel, text
from .codebooks import Codebooks
from .speech import speak
from .training import Batch
from .units import UNITS, VOCABULARY, VOICES

VALIDATION = 100  # utterances at the beginning that the coarse and the fine model are not trained on
ROWS = 4
_TAKES = 4  # of an utterance, the one in the corpus among them


@dataclass(frozen=True)
class Tokens:
    """Semantic tokens [S] and codes [8, T] of each utterance, lengths consistent."""

    semantic: list[NDArray[np.int64]]
    codes: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.semantic)

    def of_voice(self) -> list[NDArray[np.int64]]:
        """Indices of the utterances of each voice."""
        voices = np.array([int(tokens[0]) // UNITS for tokens in self.semantic])
        return [np.flatnonzero(voices == n) for n in range(len(VOICES))]

    def preset(self, index: int) -> VoicePreset:
        codes = self.codes[index]
        return VoicePreset(self.semantic[index], codes[: VOCABULARY.coarse_codebooks], codes)


class TokenBatches(ABC):
    """Batch n of a network's training is a function of the seed and n; the first utterances are kept for validation."""

    def __init__(self, tokens: Tokens, seed: int) -> None:
        self.tokens, self.seed = tokens, seed
        self.of_voice = [indices[indices >= VALIDATION] for indices in tokens.of_voice()]
        self.voices = np.array([int(s[0]) // UNITS for s in tokens.semantic])

    def __call__(self, step: int) -> Batch:
        random = np.random.default_rng((self.seed, step))
        return self.make(random.integers(VALIDATION, len(self.tokens), ROWS), random)

    @abstractmethod
    def make(self, indices: NDArray[np.int64], random: np.random.Generator) -> Batch:
        """A batch of these utterances."""


def samples_of(codebooks: Codebooks, *takes: NDArray[np.int16]) -> NDArray[np.int64]:
    """The codes [8, T] of speech; of the mean of the takes, which are of one length."""
    frames = torch.stack([mel.frames(torch.from_numpy(samples) / 32768.0) for samples in takes]).mean(0)
    codes: NDArray[np.int64] = codebooks.encode(frames).numpy()
    return codes


def encode(directory: Path, last: int, codebooks: Codebooks, out: Path, processes: int) -> None:
    """Encode the first shards of the corpus in `directory`, each to a file in `out`; those that are there are kept."""
    out.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(last) if not corpus.shard(out, n).exists()]
    if missing:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pool.starmap(_encode_shard, [(directory, n, codebooks, corpus.shard(out, n)) for n in missing], chunksize=1)


def _encode_shard(directory: Path, number: int, codebooks: Codebooks, path: Path) -> None:
    torch.set_num_threads(1)
    tokens = Tokens([], [])
    for utterance in corpus.read(directory, number, number + 1):
        said = text.without_marks(utterance.text)
        again = [speak(said, utterance.voice).samples for _ in range(_TAKES - 1)]
        found = samples_of(codebooks, utterance.samples, *again)
        frames = VOCABULARY.coarse_length(len(utterance.semantic)) // VOCABULARY.coarse_codebooks
        frames = min(frames, found.shape[1])
        tokens.semantic.append(utterance.semantic.astype(np.int64))
        tokens.codes.append(found[:, :frames])
    save(tokens, path)


def save(tokens: Tokens, path: Path) -> None:
    """Write a shard; whole or not at all."""
    temporary = path.with_suffix(".partial.npz")
    np.savez(
        temporary,
        semantic=np.concatenate(tokens.semantic).astype(np.int16),
        semantic_ends=np.cumsum([len(s) for s in tokens.semantic]),
        codes=np.concatenate(tokens.codes, axis=1).astype(np.int16),
        codes_ends=np.cumsum([c.shape[1] for c in tokens.codes]),
    )
    temporary.replace(path)


def load(out: Path) -> Tokens:
    """The tokens of all shards in `out`."""
    tokens = Tokens([], [])
    for path in corpus.shards(out):
        with np.load(path) as file:
            tokens.semantic.extend(np.split(file["semantic"].astype(np.int64), file["semantic_ends"][:-1]))
            tokens.codes.extend(np.split(file["codes"].astype(np.int64), file["codes_ends"][:-1], axis=1))
    return tokens
