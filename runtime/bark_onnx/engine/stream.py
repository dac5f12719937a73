"""Streaming: the fine stage and the codec run on the coarse codes so far, so audio comes before the text is finished.

Where a chunk ends depends on the options alone, never on time: the same seed gives the same chunks on every machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import Waveform
from ..audio.tempo import FASTEST, SLOWEST
from ..errors import require
from ..graphs.codec import CodecDecoder
from ..model.vocabulary import Vocabulary
from ..numbers import plain_numbers
from ..sampling.loops import FineLoop
from ..stages.codec import WaveformStream
from ..stages.fine import FineSequence, fill

CONTEXT_SHARE = 4  # frames of context for each frame of a chunk, at most; see StreamOptions.fine_context


@dataclass(frozen=True)
class StreamOptions:
    """How an utterance is cut into chunks.

    Args:
        first_seconds: seconds of audio in the first chunk. It is at least as long as the codec's first frames (93 ms
            in the published codec).
        growth: each chunk is this many times as long as the one before. A second of audio costs less in a long chunk.
        chunk_seconds: seconds of audio in a chunk, at most.
        fine_context: frames before a chunk that the fine stage reads with it (75 a second), at most four times as many
            as the chunk has, so that the first chunks come soon.
        exact: compute the same fine codes as `Bark.generate`, in windows of the whole utterance. Audio then comes when
            no later window can change it, which is up to 7 seconds of codes later.
        playback_speed: how fast the listener plays the audio, which itself stays the same: 2 is twice as fast. Of
            several streams, those whose listeners have the least left to play go first.

    Raises BarkError that names every value that is impossible.
    """

    first_seconds: float = 0.1
    growth: float = 1.25
    chunk_seconds: float = 1.0
    fine_context: int = 128
    exact: bool = False
    playback_speed: float = 1.0

    def __post_init__(self) -> None:
        plain_numbers(self)
        checks = {
            "first_seconds must be over 0": self.first_seconds > 0,
            "growth must be 1 to 10": 1 <= self.growth <= 10,
            "chunk_seconds must be over 0 and at most 5": 0 < self.chunk_seconds <= 5,
            "fine_context must be at least 0": self.fine_context >= 0,
            f"playback_speed must be {SLOWEST:g} to {FASTEST:g}": SLOWEST <= self.playback_speed <= FASTEST,
        }
        require(self, checks)

    def frames(self, chunk: int, vocabulary: Vocabulary) -> int:
        """Return how many frames of codes a chunk has; chunks are counted from 0."""
        longer = self.growth**chunk if chunk * math.log(self.growth) < 600 else math.inf  # not an OverflowError
        seconds = min(self.chunk_seconds, self.first_seconds * longer)
        return max(1, round(seconds * vocabulary.coarse_rate))


@dataclass(frozen=True, eq=False, repr=False)
class AudioChunk:
    """A part of an utterance.

    Args:
        waveform: float32 [n], mono, full scale at 1.
        start: seconds from the beginning of the utterance.
        sample_rate: in Hz.
    """

    waveform: Waveform
    start: float
    sample_rate: int

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return len(self.waveform) / self.sample_rate

    def __repr__(self) -> str:
        return f"<AudioChunk {self.start:.2f} to {self.start + self.duration:.2f} s>"


class ChunkedAudio:
    """The fine stage and the codec of one utterance, chunk by chunk.

    Args:
        loop: of the fine model.
        fine: the utterance's sequence in the fine stage; the coarse stage feeds it.
        streaming: how long the chunks are.
    """

    def __init__(
        self,
        loop: FineLoop,
        codec: CodecDecoder,
        fine: FineSequence,
        streaming: StreamOptions,
        vocabulary: Vocabulary,
    ) -> None:
        self._loop = loop
        self._first_frames = codec.size.first_frames
        self._fine = fine
        self._waveform = WaveformStream(codec)
        self._streaming = streaming
        self._vocabulary = vocabulary
        self._context = min(streaming.fine_context, vocabulary.fine_window // 2)  # it shares a window with the chunk
        self._chunks = 0
        self._decoded = 0  # frames that have been decoded
        self._samples = 0  # of the chunks so far
        self.ended = False

    @property
    def seconds(self) -> float:
        """Seconds of audio in the chunks so far."""
        return self._samples / self._vocabulary.sample_rate

    @property
    def can_advance(self) -> bool:
        """Whether there are enough frames for the next window or chunk."""
        if self._streaming.exact:
            return self._fine.can_begin
        left = self._fine.frames - self._fine.final
        return left >= self._next_frames or (self._fine.input_ended and left > 0)

    @property
    def can_decode(self) -> bool:
        """Whether frames are final that have not been decoded."""
        return self._fine.final > self._decoded

    @property
    def _next_frames(self) -> int:
        shortest = 1 if self._chunks else self._first_frames  # the codec makes no samples from fewer
        longest = self._vocabulary.fine_window - self._context
        return min(max(shortest, self._streaming.frames(self._chunks, self._vocabulary)), longest)

    def advance(self) -> None:
        """Fill one window or chunk. Raises BarkError."""
        if self._streaming.exact:
            self._fine.begin_window()
        else:
            frames = min(self._next_frames, self._fine.frames - self._fine.final)
            self._fine.begin_chunk(frames, min(self._context, CONTEXT_SHARE * self._next_frames))
            self._chunks += 1
        for error in fill(self._loop, [self._fine]).values():
            raise error

    def decode(self) -> AudioChunk | None:
        """Decode the frames that have become final since the last call; None if they make no samples."""
        samples = self._waveform.push(self._fine.codes(self._decoded, self._fine.final))
        self._decoded = self._fine.final
        self.ended = self._fine.input_ended and self._fine.final == self._fine.frames
        if self.ended:
            samples = np.concatenate([samples, self._waveform.finish()])
        if not len(samples):
            return None
        chunk = AudioChunk(samples, self.seconds, self._vocabulary.sample_rate)
        self._samples += len(samples)
        return chunk


def buffering(chunks: Sequence[AudioChunk], arrivals: Sequence[float]) -> float:
    """Seconds that a player must wait after the first chunk so that it never runs out of audio; 0 if none.

    Args:
        arrivals: when each chunk came, in seconds of any clock.
    """
    return max(
        (arrival - arrivals[0] - chunk.start for chunk, arrival in zip(chunks, arrivals, strict=True)), default=0
    )
