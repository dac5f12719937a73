"""The options of one generation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import require
from ..model.vocabulary import Vocabulary

# The fast profile's coarse windows have 138 codes instead of 60, after a history of 552 codes instead of 630. So
# windows end at the same position, and there are half as many prefills. Its fine windows have a stream's history.
PROFILES: Mapping[str, Mapping[str, Any]] = {
    "reference": {},
    "fast": {"max_coarse_history": 552, "sliding_window": 138, "max_fine_history": 128, "fine_padding": False},
}


@dataclass(frozen=True)
class GenerationOptions:
    """Sampling and lengths; the defaults are the reference's (suno-ai/bark `bark/generation.py`).

    Args:
        text_temperature: for semantic tokens. 0 is argmax, here and below.
        coarse_temperature: for coarse codes.
        fine_temperature: for fine codes.
        top_k: semantic and coarse: keep the k most probable tokens, and all that are as probable as the last of them.
        top_p: semantic and coarse: keep the most probable tokens up to this probability mass, before temperature.
        min_eos_p: stop as soon as the end token has this probability; None: only when it is sampled.
        max_seconds: stop the semantic stage when its tokens last longer; the token that crosses the limit is kept.
        max_coarse_history: flattened coarse codes of context; at most the number that the model was trained with.
        sliding_window: flattened coarse codes generated before the context moves.
        max_fine_history: frames of the voice that the fine model sees, at most half its window.
        fine_padding: pad a fine window to the model's whole length, as the reference does; False runs the model on the
            frames that there are.
        allow_early_stop: whether the model may end the utterance; False speaks until a limit, for measurements.
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
        """The options of the fast profile, with the caller's choices: fewer prefills, no padding, other tokens."""
        return cls(**{**PROFILES["fast"], **choices})

    def __post_init__(self) -> None:
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
        """The context in flattened coarse codes for this model."""
        return min(self.max_coarse_history, vocabulary.max_coarse_history)
