"""The corpus: shards of texts, semantic tokens and (in the first shards) speech. Each shard is made once and kept.

The voice of an utterance is chosen at random. Only the codec, the coarse and the fine model need speech. The semantic
model, which has the most to learn, needs only timings, which take a third of the time.
"""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from .. import units
from ..speech.synthesis import speak
from ..text import sentences
from . import shards

SHARD = 500  # utterances
LONGEST = 11.0  # seconds


@dataclass(frozen=True)
class Utterance:
    """The text with its marks, the voice, semantic tokens [S], and samples [n] int16 at 24 kHz (or none)."""

    text: str
    voice: str
    semantic: NDArray[np.int16]
    samples: NDArray[np.int16]


def make(directory: Path, *, spoken: int, timed: int, seed: int, processes: int) -> None:
    """Make the missing shards: `spoken` shards with speech, then `timed` shards with semantic tokens only."""
    directory.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(spoken + timed) if not shards.shard(directory, n).exists()]
    if not missing:
        return
    texts = list(sentences.training_texts(SHARD * spoken, seed, sentences.SPOKEN))
    validation = [spoken_text for _, spoken_text in texts[:SHARD]]
    texts += sentences.training_texts(SHARD * timed, seed + 1, sentences.TIMED, validation)
    tasks = [(shards.shard(directory, n), texts[SHARD * n : SHARD * (n + 1)], n < spoken, seed + n) for n in missing]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.starmap(_make_shard, tasks, chunksize=1)


def _make_shard(path: Path, texts: list[tuple[str, str]], aloud: bool, seed: int) -> None:
    random = Random(seed)
    made = [utterance for pair in texts if (utterance := _speak(*pair, random.choice(units.VOICES), aloud))]
    shards.write(
        path,
        {"semantic": [u.semantic for u in made], "samples": [u.samples for u in made]},
        texts=np.array([u.text for u in made]),
        voices=np.array([u.voice for u in made]),
    )


def _speak(text: str, spoken_text: str, voice: str, aloud: bool) -> Utterance | None:
    """Synthesize an utterance; None if it is too long."""
    spoken = speak(spoken_text, voice, aloud=aloud)
    if spoken.seconds > LONGEST:
        return None
    semantic = units.tokens(spoken.segments, voice, spoken.seconds).astype(np.int16)
    return Utterance(text, voice, semantic, spoken.samples)


def read(directory: Path, first: int = 0, last: int | None = None, *, samples: bool = True) -> Iterator[Utterance]:
    """Yield the utterances of shards [first, last).

    Args:
        samples: False to leave out the samples and save the time to read them.
    """
    for path in shards.shards(directory)[first:last]:
        with np.load(path, allow_pickle=False) as shard:
            texts, voices = shard["texts"], shard["voices"]
            semantic = shards.split(shard, "semantic")
            waves = shards.split(shard, "samples") if samples else [np.zeros(0, np.int16)] * len(semantic)
        for text, voice, tokens, wave in zip(texts, voices, semantic, waves, strict=True):
            yield Utterance(str(text), str(voice), tokens.astype(np.int16), wave.astype(np.int16))


def speech(directory: Path, last: int) -> list[NDArray[np.int16]]:
    """Return the samples of the utterances in shards [0, last)."""
    return [utterance.samples for utterance in read(directory, 0, last)]
