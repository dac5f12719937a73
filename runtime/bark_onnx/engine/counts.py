"""What an engine has done so far, for whoever watches it."""

from dataclasses import dataclass


@dataclass
class Counts:
    """Totals since the engine was made. Only the thread that runs the engine changes them.

    Args:
        begun: utterances that have left the queue.
        waited_seconds: how long these had waited in it, together.
        semantic_tokens, coarse_codes: tokens that have been sampled.
        samples: samples of audio that have been made.
    """

    begun: int = 0
    waited_seconds: float = 0.0
    semantic_tokens: int = 0
    coarse_codes: int = 0
    samples: int = 0
