"""The measures that all judging uses: reference speech, word error rates, spectral distances."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import torch
from numpy.typing import NDArray

from bark_onnx import GenerationOptions

from ..speech import mel
from ..speech.synthesis import SAMPLE_RATE, speak
from ..units import tokens
from .recognise import recognise, word_errors

Wave = NDArray[np.float32]
GREEDY = GenerationOptions(text_temperature=0, coarse_temperature=0, fine_temperature=0)


def synthesized(sentence: str, voice: str) -> Wave:
    """Return the synthesizer's own speech, with full scale 1."""
    return speak(sentence, voice).samples.astype(np.float32) / np.float32(32768)


def synthesized_tokens(sentence: str, voice: str) -> NDArray[np.int64]:
    """Return the semantic tokens of the synthesizer's own speech."""
    spoken = speak(sentence, voice, aloud=False)
    return tokens(spoken.segments, voice, spoken.seconds)


def word_error_figures(sentences: Sequence[str], *takes: Sequence[Wave]) -> dict[str, object]:
    """Return the word error rate of speech with its confidence interval.

    Args:
        takes: each has the speech of all sentences.
    """
    errors = reduce(add, (word_errors(sentences, [recognise(w, SAMPLE_RATE) for w in waves]) for waves in takes))
    low, high = errors.interval()
    return {"wer": round(errors.rate, 4), "interval": [round(low, 4), round(high, 4)], "words": sum(errors.words)}


def log_spectral_distance(made: Wave, wanted: Wave) -> float:
    """Return the root mean square difference of log-mel bands in dB, as the mean over frames."""
    a, b = (mel.frames(torch.from_numpy(wave[: min(len(made), len(wanted))])) for wave in (made, wanted))
    return float(((a - b) * 8.686).square().mean(-1).sqrt().mean())
