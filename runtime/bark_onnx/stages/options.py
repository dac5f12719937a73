"""Options of one generation: how to sample, and when to stop."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import require
from ..model.vocabulary import Vocabulary
from ..numbers import plain_numbers

# A temperature divides logits, which are exact to about this much in fp32. Below it, sampling chooses by their rounding
# errors; a division by a number such as 1e-320 overflows.
LEAST_TEMPERATURE = 1e-6

# In the fast profile a coarse window generates 138 codes instead of 60 and has 552 codes of context instead of 630. The
# context at the end of a window is as long as the reference's, with half as many prefills. A fine window has as much
# history as in a stream.
PROFILES: Mapping[str, Mapping[str, Any]] = {
    "reference": {},
    "fast": {"max_coarse_history": 552, "sliding_window": 138, "max_fine_history": 128, "fine_padding": False},
}


@dataclass(frozen=True)
class GenerationOptions:
    """How to sample and when to stop; the defaults are the reference's (suno-ai/bark `bark/generation.py`).

    Numbers may be numpy scalars, and whole numbers may be floats such as 50.0; they are kept as plain int and float.

    Args:
        text_temperature: for semantic tokens. 0 is argmax, here and below. Temperatures under 1e-6 are set to 0.
        coarse_temperature: for coarse codes.
        fine_temperature: for fine codes.
        top_k: semantic and coarse: sample from the k most probable tokens, and from those that tie with the last.
        top_p: semantic and coarse: sample from the most probable tokens up to this probability mass, which is taken
            before temperature.
        min_eos_p: end the utterance as soon as the end token has this probability. None: only when it is sampled.
        max_seconds: end the semantic stage when its tokens last longer. The token that crosses the limit is kept.
        max_coarse_history: flattened coarse codes of context, at most as many as the model was trained with.
        sliding_window: flattened coarse codes to generate before the context moves on.
        max_fine_history: frames of the voice in the fine model's window, at most half the window.
        fine_padding: if there are fewer frames than the fine model's window has, pad them to its length, as the
            reference does. False: run the model on the frames there are.
        allow_early_stop: whether the model may end the utterance. False: speak until a limit, for measurements.

    Raises BarkError that names every value that is impossible.
    """

    text_temperature: float = 0.7
    coarse_temperature: float = 0.7
    fine_temperature: float = 0.5
    top_k: int | None = None
    top_p: float | None = None
    min_eos_p: float | None = 0.2
    max_seconds: float | None = None
    max_coarse_history: int = 630
    sliding_window: int = 60
    max_fine_history: int = 512
    fine_padding: bool = True
    allow_early_stop: bool = True

    @classmethod
    def fast(cls, **choices: Any) -> "GenerationOptions":
        """Return the options of the fast profile, with `choices` instead of some of them.

        It has fewer prefills and no padding, so the tokens differ from those of the default options.
        """
        return cls(**{**PROFILES["fast"], **choices})

    def __post_init__(self) -> None:
        plain_numbers(self)
        for name in ("text_temperature", "coarse_temperature", "fine_temperature"):
            if 0 < getattr(self, name) < LEAST_TEMPERATURE:
                object.__setattr__(self, name, 0.0)
        checks = {
            "text_temperature must be 0 (argmax) to 100": 0 <= self.text_temperature <= 100,
            "coarse_temperature must be 0 (argmax) to 100": 0 <= self.coarse_temperature <= 100,
            "fine_temperature must be 0 (argmax) to 100": 0 <= self.fine_temperature <= 100,
            "top_k must be at least 1": self.top_k is None or self.top_k >= 1,
            "top_p must be over 0 and at most 1": self.top_p is None or 0 < self.top_p <= 1,
            "min_eos_p must be over 0 and at most 1": self.min_eos_p is None or 0 < self.min_eos_p <= 1,
            "max_seconds must be over 0": self.max_seconds is None or self.max_seconds > 0,
            "max_coarse_history must be at least 60": self.max_coarse_history >= 60,
            "sliding_window must be at least 1": self.sliding_window >= 1,
            "max_fine_history must be at least 0": self.max_fine_history >= 0,
        }
        require(self, checks)

    def coarse_history(self, vocabulary: Vocabulary) -> int:
        """Return how many flattened coarse codes of context these options mean for a model."""
        return min(self.max_coarse_history, vocabulary.max_coarse_history)
