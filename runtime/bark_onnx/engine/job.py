"""A request, and the job that an engine makes of it.

A job has one state, which only moves forward:

    waiting -> semantic -> coarse -> fine -> done
          \\________\\_________\\_______\\____-> failed | cancelled

A job that streams is decoded while it is still in the coarse stage; its state names the earliest stage that has not
ended.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from threading import Lock
from time import monotonic

import numpy as np

from ..arrays import IntArray, Waveform
from ..errors import BarkError, JobCancelled
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
        text: what to say.
        voice, options, seed: as for `Bark.generate`.
        streaming: deliver audio in chunks while it is generated; None delivers all of it at the end.
        due: when the listener has heard all that came before, in seconds of `time.monotonic`, for a passage of a text
            that is playing; None: he waits for the first audio.
    """

    text: str
    voice: Voice | None = field(default=None, kw_only=True)
    options: GenerationOptions | None = field(default=None, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    streaming: StreamOptions | None = field(default=None, kw_only=True)
    due: float | None = field(default=None, kw_only=True)


class JobState(IntEnum):
    """Where a job is. Later states are larger; the last three are final."""

    WAITING = 0
    SEMANTIC = 1
    COARSE = 2
    FINE = 3
    DONE = 4
    FAILED = 5
    CANCELLED = 6


@dataclass(eq=False, repr=False)
class Job:
    """A request in an engine, and its results so far.

    Args:
        request: as it was submitted.
        seed: the seed in use; drawn if the request has none.
        state: see JobState.
        chunks: audio that nobody has taken yet, the oldest first, if the request streams.
        speech: the result, once the state is DONE.
        error: the reason, once the state is FAILED.
        timings: compute seconds by stage.
        created: when it was made, in seconds of `time.monotonic`.
        first_audio: when its first chunk was made, in the same seconds; None before.
    """

    request: Request
    seed: int
    semantic: SemanticSequence
    coarse: CoarseSequence
    fine: FineSequence
    chunked: ChunkedAudio | None  # drives `fine` and the codec, if the request streams
    state: JobState = JobState.WAITING
    chunks: deque[AudioChunk] = field(default_factory=deque)
    speech: Speech | None = None
    error: BaseException | None = None
    timings: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("semantic", "coarse", "fine", "codec"), 0.0)
    )
    created: float = field(default_factory=monotonic)
    first_audio: float | None = None
    fed_to_coarse: int = 0  # semantic tokens that the coarse stage has been given
    waveforms: list[Waveform] = field(default_factory=list)  # of all chunks
    _lock: Lock = field(default_factory=Lock)  # the state may be changed by two threads: one works, one cancels

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state >= JobState.DONE

    @property
    def semantic_tokens(self) -> IntArray:
        """The semantic tokens [S] so far."""
        return np.array(self.semantic.tokens, np.int64)

    @property
    def coarse_codes(self) -> IntArray:
        """The coarse codes [2, T] so far."""
        return self.coarse.codes()

    @property
    def seconds(self) -> float:
        """About how many seconds of speech have been made so far, to show progress: the mean of the causal stages."""
        return (self.semantic.seconds + self.coarse.seconds) / 2

    def advance(self, state: JobState) -> None:
        """Move on to a later stage. A job that has ended, or is there already, stays as it is."""
        with self._lock:
            if not self.ended:
                self.state = max(self.state, state)

    def end(self, state: JobState, *, speech: Speech | None = None, error: BaseException | None = None) -> bool:
        """End the job; False if it had ended before, and then nothing changes."""
        with self._lock:
            if self.ended:
                return False
            self.speech, self.error = speech, error
            self.state = state  # last, so that whoever sees it sees the rest
            return True

    def result(self) -> Speech:
        """The speech of a job that has ended. Raises the error of one that failed, JobCancelled if it was cancelled."""
        if self.speech is not None:
            return self.speech
        if isinstance(self.error, Exception):
            raise self.error
        if self.error is not None:  # a KeyboardInterrupt belongs to the thread that it hit, not to who waits
            raise BarkError(f"the utterance was interrupted ({type(self.error).__name__})") from self.error
        raise JobCancelled("the utterance was cancelled")

    def __repr__(self) -> str:
        words = self.request.text if len(self.request.text) <= 40 else f"{self.request.text[:37]}..."
        return f"<Job {self.state.name.lower()}: {words!r}, seed {self.seed}, {len(self.semantic.tokens)} tokens>"
