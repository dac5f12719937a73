"""Semantic tokens: the synthesizer's own HMM states, three per phone, at 49.9 Hz, pauses included.

A published Bark's semantic tokens are clusters of a network's features. Here the phones and their timings are known
exactly. Vowels have stressed and unstressed units, and each voice has its own units. So, as in Bark, the tokens carry
the speaker and some of the prosody, and the coarse model has to predict little else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bark_onnx.model.vocabulary import Vocabulary

VOICES = ("slt", "rms")  # the synthesizer's names
VOICE_NAMES = {"slt": "en_female", "rms": "en_male"}  # the presets' names
CONSONANTS = "b ch d dh f g hh jh k l m n ng p r s sh t th v w y z zh".split()
VOWELS = "aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw".split()
SYMBOLS = ("pau", *CONSONANTS, *(f"{vowel}{stress}" for vowel in VOWELS for stress in (0, 1)))
STATES = 3  # per phone
UNITS = len(SYMBOLS) * STATES  # per voice

_INDEX = {symbol: index for index, symbol in enumerate(SYMBOLS)}
_TEXT_PIECES = 200  # ids reserved for the tokenizer

VOCABULARY = Vocabulary(
    semantic_size=len(VOICES) * UNITS,
    semantic_pad=len(VOICES) * UNITS,
    text_offset=len(VOICES) * UNITS + 1,
    text_pad=len(VOICES) * UNITS + 1 + _TEXT_PIECES,
    semantic_infer=len(VOICES) * UNITS + 2 + _TEXT_PIECES,
    coarse_semantic_pad=len(VOICES) * UNITS + 2048,
    coarse_infer=len(VOICES) * UNITS + 2049,
)


@dataclass(frozen=True)
class Segment:
    """One phone with the synthesizer's timings.

    Args:
        phone: the synthesizer's name.
        stressed: whether its syllable is stressed.
        ends: the end of each of its states, in seconds from the start of the utterance.
    """

    phone: str
    stressed: bool
    ends: tuple[float, ...]

    @property
    def symbol(self) -> str:
        return f"{self.phone}{int(self.stressed)}" if self.phone in VOWELS else self.phone


def tokens(segments: Sequence[Segment], voice: str, seconds: float) -> NDArray[np.int64]:
    """Return semantic tokens [S]: the unit spoken at the middle of each interval of 1 / 49.9 s."""
    first = VOICES.index(voice) * UNITS
    ids = np.array([first + _INDEX[s.symbol] * STATES + state for s in segments for state in range(STATES)])
    ends = np.array([end for segment in segments for end in segment.ends])
    middles = (np.arange(int(seconds * VOCABULARY.semantic_rate)) + 0.5) / VOCABULARY.semantic_rate
    spoken: NDArray[np.int64] = ids[np.searchsorted(ends, middles).clip(max=len(ids) - 1)].astype(np.int64)
    return spoken


def phones(semantic: NDArray[np.integer]) -> list[str]:
    """Return the phones of semantic tokens without stress and pauses. Phone error rates are counted over these."""
    spoken: list[str] = []
    previous = -1
    for token in semantic:
        unit = int(token) % UNITS
        if previous >= 0 and unit // STATES == previous // STATES and unit >= previous:
            previous = unit  # the same phone, in the same state or a later one
            continue
        previous = unit
        spoken.append(SYMBOLS[unit // STATES].rstrip("01"))
    return [phone for phone in spoken if phone != "pau"]


def voice_of(semantic: NDArray[np.integer]) -> str:
    """Return the voice to which most of the tokens belong."""
    return VOICES[int(np.bincount(np.asarray(semantic) // UNITS, minlength=len(VOICES)).argmax())]
