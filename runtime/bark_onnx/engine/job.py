"""A request, and what has become of it: what goes into an engine and what comes out."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..arrays import IntArray, Waveform
from ..errors import BarkError
from ..model.voice import Voice
from ..stages.coarse import CoarseSequence
from ..stages.fine import FineSequence
from ..stages.options import GenerationOptions
from ..stages.semantic import SemanticSequence
from .speech import Speech
from .stream import AudioChunk, ChunkedAudio, StreamOptions


@dataclass(frozen=True)
class Request:
    """What to say, and how.

    Args:
        text, voice, seed, options: as for `Bark.generate`.
        streaming: audio in chunks while it is made; None for all of it at the end.
    """

    text: str
    voice: Voice | None = None
    seed: int | None = None
    options: GenerationOptions | None = None
    streaming: StreamOptions | None = None


@dataclass(eq=False)
class Job:
    """A request in an engine, and what there is of it so far.

    Args:
        chunks: audio that has come and not been taken yet, if it streams; take it with `popleft`.
        speech: the result, once there is one.
        error: why there will be none.
    """

    request: Request
    seed: int
    semantic: SemanticSequence
    coarse: CoarseSequence
    fine: FineSequence
    chunked: ChunkedAudio | None  # around `fine`, if it streams
    handed_on: int = 0  # semantic tokens that the coarse stage has heard
    chunks: deque[AudioChunk] = field(default_factory=deque)
    speech: Speech | None = None
    error: BarkError | None = None
    cancelled: bool = False
    timings: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("semantic", "coarse", "fine", "codec"), 0.0)
    )
    waveforms: list[Waveform] = field(default_factory=list)  # of all chunks

    @property
    def ended(self) -> bool:
        """Nothing more will come."""
        return self.speech is not None or self.error is not None or self.cancelled

    @property
    def tokens(self) -> tuple[list[int], IntArray]:
        """The semantic tokens [S] and coarse codes [2, T] so far."""
        return self.semantic.tokens, self.coarse.codes()


class BatchError(BarkError):
    """Some utterances of a batch failed.

    Args:
        errors: of each that failed, by its place in the batch.
        speeches: what the others became, None for those that failed.
    """

    def __init__(self, errors: Mapping[int, BarkError], speeches: Sequence[Speech | None]) -> None:
        first = min(errors)
        super().__init__(
            f"{len(errors)} of {len(speeches)} utterances failed, first the one at {first}: {errors[first]}"
        )
        self.errors = errors
        self.speeches = speeches
