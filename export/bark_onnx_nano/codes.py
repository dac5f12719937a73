"""The spoken part of the corpus as tokens: what coarse and fine model learn from, and voices are made of."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bark_onnx.voice import VoicePreset

from . import corpus, mel
from .codebooks import Codebooks
from .training import Batch
from .units import UNITS, VOCABULARY, VOICES

VALIDATION = 100  # utterances at the beginning that the coarse and the fine model are not trained on
ROWS = 4


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


def samples_of(codebooks: Codebooks, samples: NDArray[np.int16]) -> NDArray[np.int64]:
    """The codes [8, T] of speech."""
    codes: NDArray[np.int64] = codebooks.encode(mel.frames(torch.from_numpy(samples) / 32768.0)).numpy()
    return codes


def encode(directory: Path, last: int, codebooks: Codebooks, path: Path) -> None:
    """Encode the first shards and keep the result."""
    semantic, codes = [], []
    for utterance in corpus.read(directory, 0, last):
        found = samples_of(codebooks, utterance.samples)
        frames = VOCABULARY.coarse_length(len(utterance.semantic)) // VOCABULARY.coarse_codebooks
        frames = min(frames, found.shape[1])
        semantic.append(utterance.semantic)
        codes.append(found[:, :frames].astype(np.int16))
    np.savez(
        path,
        semantic=np.concatenate(semantic),
        semantic_ends=np.cumsum([len(s) for s in semantic]),
        codes=np.concatenate(codes, axis=1),
        codes_ends=np.cumsum([c.shape[1] for c in codes]),
    )


def load(path: Path) -> Tokens:
    with np.load(path) as file:
        semantic = np.split(file["semantic"].astype(np.int64), file["semantic_ends"][:-1])
        codes = np.split(file["codes"].astype(np.int64), file["codes_ends"][:-1], axis=1)
    return Tokens(semantic, codes)
