"""The spoken corpus: shards of texts, semantic tokens and (of the first shards) speech, made once and kept.

Sentences alternate between the voices at random. Only the codec, coarse and fine models need speech; the semantic
model, which has the most to learn, reads timings, and these are cheap.
"""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from . import text, units
from .speech import speak

SHARD = 500  # utterances
LONGEST = 11.0  # seconds


@dataclass(frozen=True)
class Utterance:
    """What is read, who speaks it, the semantic tokens [S], and samples [n] int16 at 24 kHz (or none)."""

    text: str
    voice: str
    semantic: NDArray[np.int16]
    samples: NDArray[np.int16]


def make(directory: Path, *, spoken: int, timed: int, seed: int, processes: int) -> None:
    """Make the shards that are missing: `spoken` with speech, then `timed` with semantic tokens only."""
    directory.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(spoken + timed) if not shard(directory, n).exists()]
    if not missing:
        return
    texts = list(text.training_texts(SHARD * spoken, seed, text.SPOKEN))
    unseen = [said for _, said in texts[:SHARD]]  # what the networks are validated on
    texts += text.training_texts(SHARD * timed, seed + 1, text.TIMED, unseen)
    tasks = [(shard(directory, n), texts[SHARD * n : SHARD * (n + 1)], n < spoken, seed + n) for n in missing]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.starmap(_make_shard, tasks, chunksize=1)


def shard(directory: Path, number: int) -> Path:
    """Where a shard is kept, of the corpus or of what is made of it."""
    return directory / f"{number:04}.npz"


def shards(directory: Path) -> list[Path]:
    """All whole shards, in order."""
    return sorted(directory.glob("[0-9]*[0-9].npz"))


def _make_shard(path: Path, texts: list[tuple[str, str]], aloud: bool, seed: int) -> None:
    random = Random(seed)
    made = [utterance for pair in texts if (utterance := _speak(*pair, random.choice(units.VOICES), aloud))]
    temporary = path.with_suffix(".partial.npz")
    np.savez(
        temporary,
        texts=np.array([u.text for u in made]),
        voices=np.array([u.voice for u in made]),
        semantic=np.concatenate([u.semantic for u in made]),
        semantic_ends=np.cumsum([len(u.semantic) for u in made]),
        samples=np.concatenate([u.samples for u in made]),
        samples_ends=np.cumsum([len(u.samples) for u in made]),
    )
    temporary.replace(path)


def _speak(shown: str, said: str, voice: str, aloud: bool) -> Utterance | None:
    spoken = speak(said, voice, aloud=aloud)
    if spoken.seconds > LONGEST:
        return None
    semantic = units.tokens(spoken.segments, voice, spoken.seconds).astype(np.int16)
    return Utterance(shown, voice, semantic, spoken.samples)


def read(directory: Path, first: int = 0, last: int | None = None, *, samples: bool = True) -> Iterator[Utterance]:
    """The utterances of shards [first, last), without their samples if these are not wanted."""
    for path in shards(directory)[first:last]:
        with np.load(path) as shard:
            arrays = {name: shard[name] for name in shard.files if samples or name != "samples"}
        semantic = np.split(arrays["semantic"], arrays["semantic_ends"][:-1])
        waves = (
            np.split(arrays["samples"], arrays["samples_ends"][:-1])
            if samples
            else [np.zeros(0, np.int16)] * len(semantic)
        )
        for words, voice, s, x in zip(arrays["texts"], arrays["voices"], semantic, waves, strict=True):
            yield Utterance(str(words), str(voice), s, x)
