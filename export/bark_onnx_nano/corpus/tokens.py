"""The spoken part of the corpus as tokens, which train the coarse and the fine model and become voice presets.

The synthesizer's excitation is noise, which differs every time it speaks a sentence. Between two takes, a quarter of
the first codebook's codes differ and more than half of the second's, and no model can predict them. So an utterance is
spoken several times, and its codes are those of the mean of its frames.
"""

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bark_onnx.model.voice import VoicePreset

from ..speech import mel
from ..speech.synthesis import speak
from ..text.sentences import without_marks
from ..units import UNITS, VOCABULARY, VOICES
from . import shards, utterances
from .codebooks import Codebooks

_TAKES = 4  # per utterance, the take of the corpus included


@dataclass(frozen=True)
class Tokens:
    """Semantic tokens [S] and codes [8, T] of each utterance, with lengths that fit each other."""

    semantic: list[NDArray[np.int64]]
    codes: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.semantic)

    def of_voice(self) -> list[NDArray[np.int64]]:
        """Return for each voice the indices of its utterances."""
        voices = np.array([int(tokens[0]) // UNITS for tokens in self.semantic])
        return [np.flatnonzero(voices == n) for n in range(len(VOICES))]

    def preset(self, index: int) -> VoicePreset:
        """Return an utterance as a voice preset."""
        codes = self.codes[index]
        return VoicePreset(self.semantic[index], codes[: VOCABULARY.coarse_codebooks], codes)


def codes_of(codebooks: Codebooks, *takes: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return the codes [8, T] of speech: of the mean of the frames of its takes, which have equal lengths."""
    frames = torch.stack([mel.frames(torch.from_numpy(samples) / 32768.0) for samples in takes]).mean(0)
    codes: NDArray[np.int64] = codebooks.encode(frames).numpy()
    return codes


def encode(directory: Path, last: int, codebooks: Codebooks, out: Path, processes: int) -> None:
    """Encode shards [0, last) of the corpus in `directory`, each to a shard in `out`. Existing shards are kept."""
    out.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(last) if not shards.shard(out, n).exists()]
    if missing:
        tasks = [(directory, n, codebooks, shards.shard(out, n)) for n in missing]
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pool.starmap(_encode_shard, tasks, chunksize=1)


def _encode_shard(directory: Path, number: int, codebooks: Codebooks, path: Path) -> None:
    torch.set_num_threads(1)
    tokens = Tokens([], [])
    for utterance in utterances.read(directory, number, number + 1):
        spoken = without_marks(utterance.text)
        takes = [utterance.samples, *(speak(spoken, utterance.voice).samples for _ in range(_TAKES - 1))]
        codes = codes_of(codebooks, *takes)
        frames = VOCABULARY.coarse_length(len(utterance.semantic)) // VOCABULARY.coarse_codebooks
        tokens.semantic.append(utterance.semantic.astype(np.int64))
        tokens.codes.append(codes[:, : min(frames, codes.shape[1])])
    save(tokens, path)


def save(tokens: Tokens, path: Path) -> None:
    """Write a shard. A failure leaves no shard."""
    lists = {"semantic": tokens.semantic, "codes": tokens.codes}
    shards.write(path, {name: [array.astype(np.int16) for array in arrays] for name, arrays in lists.items()})


def load(directory: Path) -> Tokens:
    """Return the tokens of all shards in a folder."""
    tokens = Tokens([], [])
    for path in shards.shards(directory):
        with np.load(path, allow_pickle=False) as shard:
            tokens.semantic.extend(array.astype(np.int64) for array in shards.split(shard, "semantic"))
            tokens.codes.extend(array.astype(np.int64) for array in shards.split(shard, "codes"))
    return tokens
