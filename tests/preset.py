"""Voice presets with invented tokens, files of them, and the check that something else is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from bark_onnx import VoiceError

Arrays = dict[str, NDArray[Any]]


def arrays(dtype: DTypeLike = np.int64, seconds: float = 2) -> Arrays:
    """The three arrays of a voice. Their lengths fit together."""
    rng = np.random.default_rng(0)
    frames = int(75 * seconds)
    fine = rng.integers(1024, size=(8, frames)).astype(dtype)
    semantic = rng.integers(10_000, size=int(49.9 * seconds)).astype(dtype)
    return {"semantic_prompt": semantic, "coarse_prompt": fine[:2], "fine_prompt": fine}


def write(path: Path, changes: dict[str, Any] | None = None) -> Path:
    """Write these arrays to an .npz file, some of them replaced by others or left out (None)."""
    np.savez(path, **{key: array for key, array in (arrays() | (changes or {})).items() if array is not None})
    return path


@contextmanager
def refused(*fragments: str) -> Iterator[None]:
    """Expect a VoiceError whose text is one printable line and contains all of these."""
    with pytest.raises(VoiceError) as caught:
        yield
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    assert len(message) < 1000, message
    assert [fragment for fragment in fragments if fragment not in message] == [], message
