"""The vocabulary of a model: the ids of its tokens, the lengths of its windows, and its rates.

Each constant is stated once and the others are computed from it. The defaults are the published values (suno-ai/bark,
`bark/generation.py`). A bundle's manifest holds the vocabulary of its model, and the runtime reads it from there.

The ids that the two causal models read, from 0 up:

    semantic   semantic tokens | semantic_pad, which is also the end token | text ids from text_offset on, text_pad,
               semantic_infer
    coarse     semantic tokens | coarse codes, one codebook after the other | coarse_semantic_pad, coarse_infer
"""

import math
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from ..errors import BarkError, shown
from ..numbers import plain_numbers

CausalStage: TypeAlias = Literal["semantic", "coarse"]


@dataclass(frozen=True)
class Vocabulary:
    """Token ids, window lengths (in tokens or frames) and rates (in Hz) of one Bark model.

    Raises BarkError that names every value that is impossible or contradicts another.
    """

    text_offset: int = 10_048
    text_pad: int = 129_595
    text_window: int = 256

    semantic_size: int = 10_000
    semantic_pad: int = 10_000  # also the end-of-sequence token
    semantic_infer: int = 129_599
    semantic_rate: float = 49.9
    max_semantic_tokens: int = 768

    coarse_codebooks: int = 2
    coarse_rate: float = 75.0
    coarse_semantic_pad: int = 12_048
    coarse_infer: int = 12_050
    coarse_semantic_window: int = 256
    max_coarse_history: int = 630

    fine_codebooks: int = 8
    codebook_size: int = 1_024
    fine_window: int = 1_024
    fine_history: int = 512  # also the hop from one fine window to the next

    sample_rate: int = 24_000

    def __post_init__(self) -> None:
        plain_numbers(self)
        problems = [
            f"{field.name} is {shown(getattr(self, field.name))}"
            for field in fields(self)
            if not 0 < getattr(self, field.name) < 2**31
        ]
        if not problems:
            if self.coarse_codebooks >= self.fine_codebooks:
                problems.append(f"{self.coarse_codebooks} coarse codebooks of {self.fine_codebooks}")
            if 2 * self.fine_history > self.fine_window:
                problems.append(f"a fine history of {self.fine_history} in a window of {self.fine_window} frames")
            if self.semantic_pad < self.semantic_size or self.text_offset <= self.semantic_pad:
                problems.append("semantic tokens, their pad and the text ids overlap")
            if self.coarse_semantic_pad < self.semantic_size + self.coarse_codebooks * self.codebook_size:
                problems.append("coarse codes and their pad overlap")
            if self.sample_rate % self.coarse_rate:
                problems.append(
                    f"a frame at {self.coarse_rate} Hz is not a whole number of samples at {self.sample_rate} Hz"
                )
        if problems:
            raise BarkError("impossible vocabulary: " + "; ".join(problems))

    @property
    def end_of_sequence(self) -> int:
        """Index of the end token in the semantic logits, where it follows the semantic tokens."""
        return self.semantic_size

    @property
    def semantic_choices(self) -> int:
        """How many ids the semantic stage can sample: the semantic tokens and the end token."""
        return self.semantic_size + 1

    @property
    def coarse_choices(self) -> int:
        """How many ids the coarse stage can sample: the codes of all coarse codebooks."""
        return self.coarse_codebooks * self.codebook_size

    def choices(self, stage: CausalStage) -> int:
        """The number of ids that a causal stage can sample, which is the number of its logits."""
        return self.semantic_choices if stage == "semantic" else self.coarse_choices

    def first_id(self, stage: CausalStage) -> int:
        """The id that the first logit of a causal stage stands for; the others follow it."""
        return 0 if stage == "semantic" else self.semantic_size

    def longest_prompt(self, stage: CausalStage) -> int:
        """How many positions the longest prompt of a causal stage has; in the semantic stage all have as many."""
        history = 0 if stage == "semantic" else self.max_coarse_history  # semantic history is summed into the text
        return (self.text_window if stage == "semantic" else self.coarse_semantic_window) + 1 + history

    @property
    def frame_samples(self) -> int:
        """How many audio samples one frame of codes has."""
        return int(self.sample_rate / self.coarse_rate)

    @property
    def coarse_per_semantic(self) -> float:
        """How many flattened coarse codes one semantic token becomes (the reference's `semantic_to_coarse_ratio`)."""
        return self.coarse_rate / self.semantic_rate * self.coarse_codebooks

    def max_semantic_history(self, max_coarse_history: int) -> int:
        """Return how many semantic tokens last as long as `max_coarse_history` flattened coarse codes."""
        return math.floor(max_coarse_history / self.coarse_per_semantic)

    def coarse_length(self, semantic_length: int) -> int:
        """Return how many flattened coarse codes to generate for semantic tokens: whole frames, rounded down."""
        return math.floor(semantic_length * self.coarse_per_semantic / self.coarse_codebooks) * self.coarse_codebooks
