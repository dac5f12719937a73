"""Voices with random tokens, their files in both formats, and the check that something else is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from bark_onnx import Vocabulary, VoiceError, VoicePreset

Arrays = dict[str, NDArray[Any]]

PUBLISHED = Vocabulary()


def make_voice(space: Vocabulary, tokens: int = 60, seed: int = 1) -> VoicePreset:
    """A voice of so many semantic tokens, and codes for the same time."""
    rng = np.random.default_rng(seed)
    frames = round(tokens * space.coarse_rate / space.semantic_rate)
    codes = rng.integers(0, space.codebook_size, (space.fine_codebooks, frames))
    return VoicePreset(rng.integers(0, space.semantic_size, tokens), codes[: space.coarse_codebooks], codes)


def voice_or_none(space: Vocabulary, tokens: int, seed: int = 1) -> VoicePreset | None:
    """The same; None for 0 tokens."""
    return make_voice(space, tokens, seed) if tokens else None


def same_tokens(one: VoicePreset | None, other: VoicePreset | None) -> bool:
    if one is None or other is None:
        return one is other
    mine, theirs = one.to_prompt(), other.to_prompt()
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)


def arrays(dtype: DTypeLike = np.int64, seconds: float = 2) -> Arrays:
    """The three arrays of a voice: tokens below 64, which every token space of the tests has."""
    rng = np.random.default_rng(0)
    fine = rng.integers(64, size=(8, int(75 * seconds))).astype(dtype)
    semantic = rng.integers(64, size=int(49.9 * seconds)).astype(dtype)
    return {"semantic_prompt": semantic, "coarse_prompt": fine[:2], "fine_prompt": fine}


def write_npz(path: Path, changes: dict[str, Any] | None = None) -> Path:
    """Write these arrays to an .npz file, some of them replaced by others or left out (None)."""
    np.savez(path, **{key: array for key, array in (arrays() | (changes or {})).items() if array is not None})
    return path


def write_triple(directory: Path, name: str, voice: VoicePreset) -> None:
    """Write a voice as the hub has it: one .npy file for each array."""
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    for key, array in voice.to_prompt().items():
        np.save(directory / f"{name}_{key}.npy", array)


@contextmanager
def refused(*fragments: str) -> Iterator[None]:
    """Expect a VoiceError whose text is one printable line and contains all of these."""
    with pytest.raises(VoiceError) as caught:
        yield
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    assert len(message) < 1000, message
    assert [fragment for fragment in fragments if fragment not in message] == [], message
