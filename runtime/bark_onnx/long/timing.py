"""When each phrase of a passage is said."""

from collections.abc import Sequence
from typing import Literal

from .subtitles import Cue


def phrase_cues(
    text: str,
    sounds: Sequence[tuple[float, float]],
    start: float,
    speaker: str | None = None,
    *,
    level: Literal["phrase", "sentence"] = "phrase",
) -> list[Cue]:
    """Return when the passage is said."""
    return [Cue(start, start + (sounds[-1][1] if sounds else 0.0), text, speaker)]
