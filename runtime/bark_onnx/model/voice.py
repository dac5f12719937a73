"""Voice presets: the tokens of something already spoken, which the stages take as their history.

The file format is suno-ai/bark's `.npz`: semantic_prompt [S], coarse_prompt [2, T], fine_prompt [8, T], integers.
"""

import difflib
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..arrays import IntArray
from ..errors import BarkWarning, VoiceError, reason
from ..files import replacing
from .vocabulary import Vocabulary

_ARRAYS = {"semantic": "semantic_prompt", "coarse": "coarse_prompt", "fine": "fine_prompt"}
_MAX_TOKENS = 1 << 20  # about half an hour; nothing reads more than the last seconds of a voice
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class VoicePreset:
    """The tokens of one utterance.

    Args:
        semantic: [S] semantic tokens.
        coarse: [2, T] coarse codes.
        fine: [8, T] fine codes, the coarse ones first.

    Raises VoiceError if the arrays do not have these shapes or hold anything but whole numbers from 0 up.
    """

    semantic: IntArray
    coarse: IntArray
    fine: IntArray

    def __post_init__(self) -> None:
        problems = []
        for name, dimensions in (("semantic", 1), ("coarse", 2), ("fine", 2)):
            try:
                array = np.asarray(getattr(self, name))
            except ValueError:
                problems.append(f"{name} is no array")
                continue
            if array.dtype.kind not in "iu":
                problems.append(f"{name} holds {array.dtype}, not integers")
            elif array.ndim != dimensions or not 0 < array.size <= _MAX_TOKENS:
                problems.append(
                    f"{name} has shape {array.shape}, expected {'[S]' if dimensions == 1 else '[codebooks, T]'}"
                )
            elif array.min() < 0 or array.max() >= 1 << 63:
                problems.append(f"{name} holds negative or huge tokens")
            else:
                array = array.astype(np.int64)
                array.flags.writeable = False
                object.__setattr__(self, name, array)
        if problems:
            raise VoiceError("not a voice preset: " + "; ".join(problems))

    @classmethod
    def load(cls, path: str | Path) -> "VoicePreset":
        """Read an `.npz` file. Raises VoiceError; nothing in the file is executed."""
        path = Path(path)
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > _MAX_BYTES:
                    raise VoiceError(f"over {_MAX_BYTES >> 20} MiB: not a voice preset")
            with np.load(path, allow_pickle=False) as file:
                return cls.from_prompt(file)
        except FileNotFoundError:
            raise VoiceError(f"{path}: no such voice file") from None
        except VoiceError as error:
            raise VoiceError(f"{path}: {error}") from None
        except Exception as error:  # a hostile file can fail in zipfile, zlib, struct or numpy
            raise VoiceError(f"{path} cannot be read as a voice preset: {reason(error)}") from None

    @classmethod
    def from_prompt(cls, prompt: Mapping[str, Any]) -> "VoicePreset":
        """From suno-ai/bark's dictionary of `semantic_prompt`, `coarse_prompt` and `fine_prompt`."""
        missing = [key for key in _ARRAYS.values() if key not in prompt]
        if missing:
            raise VoiceError(f"not a voice preset: {', '.join(missing)} missing")
        return cls(**{name: prompt[key] for name, key in _ARRAYS.items()})

    def to_prompt(self) -> dict[str, IntArray]:
        """suno-ai/bark's dictionary of the three arrays."""
        return {key: getattr(self, name) for name, key in _ARRAYS.items()}

    def save(self, path: str | Path) -> None:
        """Write an `.npz` that this package, suno-ai/bark and transformers read; whole or not at all."""
        path = Path(path)
        if path.suffix != ".npz":
            raise VoiceError(f"{path}: a voice preset is saved as .npz")
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **self.to_prompt())  # type: ignore[arg-type]
        except OSError as error:
            raise VoiceError(f"cannot write {path}: {reason(error)}") from None

    def check(self, vocabulary: Vocabulary) -> None:
        """Raise VoiceError if these tokens are not this model's."""
        problems = []
        if self.semantic.max() >= vocabulary.semantic_size:
            problems.append(f"semantic token {self.semantic.max()} of {vocabulary.semantic_size}")
        for name, array, rows in (
            ("coarse", self.coarse, vocabulary.coarse_codebooks),
            ("fine", self.fine, vocabulary.fine_codebooks),
        ):
            if array.shape[0] != rows:
                problems.append(f"{array.shape[0]} {name} codebooks instead of {rows}")
            if array.max() >= vocabulary.codebook_size:
                problems.append(f"{name} code {array.max()} of {vocabulary.codebook_size}")
        if problems:
            raise VoiceError("the voice does not fit this model: " + "; ".join(problems))

    def warn_if_uneven(self, vocabulary: Vocabulary) -> None:
        """Warn if the lengths do not fit together: the reference refuses that, but good cloned voices do it."""
        frames = vocabulary.coarse_per_semantic / vocabulary.coarse_codebooks
        found = self.coarse.shape[1] / len(self.semantic)
        rounding = 1.5 / len(self.semantic)  # a short utterance has whole frames too
        if round(found, 1) != round(frames, 1) and abs(found - frames) > rounding:
            warnings.warn(
                f"the voice has {found:.2f} coarse frames for a semantic token instead of {frames:.2f}: "
                "what it says may lose its timing",
                BarkWarning,
                stacklevel=3,
            )


Voice: TypeAlias = VoicePreset | str | Path
"""How a caller names a voice: a preset, a name of the bundle's, the path of an `.npz` file."""


def succession(voice: VoicePreset, before: VoicePreset, vocabulary: Vocabulary) -> VoicePreset:
    """The end of a voice, then the end of what was said last, each about half of what the stages read of a history.

    Where `before` is short, there is more of the voice.
    """
    ratio = vocabulary.coarse_per_semantic / vocabulary.coarse_codebooks
    tokens = min(len(before.semantic), vocabulary.max_semantic_history(vocabulary.max_coarse_history) // 2)
    frames = round(tokens * ratio)
    return VoicePreset(
        np.concatenate([voice.semantic, before.semantic[len(before.semantic) - tokens :]]),
        np.concatenate([voice.coarse, before.coarse[:, -frames:]], axis=1),
        np.concatenate([voice.fine, before.fine[:, -frames:]], axis=1),
    )


def find_voice(name: str | Path, voices: Mapping[str, Path]) -> Path:
    """The file of a voice: a name of the bundle's, or the path of an `.npz` file. Raises VoiceError with near names."""
    if str(name) in voices:
        return voices[str(name)]
    path = Path(name)
    if path.suffix == ".npz":
        return path
    near = difflib.get_close_matches(str(name), voices, n=3, cutoff=0.5)
    if near:
        advice = f"did you mean {' or '.join(near)}?"
    elif voices:
        advice = f"the bundle has {len(voices)}: {', '.join(list(voices)[:3])}{' ...' if len(voices) > 3 else ''}"
    else:
        advice = "the bundle has no voices; give the path of an .npz file"
    raise VoiceError(f"no voice {str(name)!r}: {advice}")
