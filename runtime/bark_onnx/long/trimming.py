"""Remove the silence at both ends of a passage, and an invented tail, while the passage is generated."""

import numpy as np

from ..arrays import Waveform
from ..audio.levels import FLOOR_DBFS, SPEECH_RANGE_DB, finite, frame_length, frame_levels, level_of
from ..subtitles.timing import PAUSE_SECONDS
from .guards import BRIDGED_SECONDS, Guards

KEPT_SECONDS = 0.05  # silence that stays at both ends, as speech may begin softly or end in a breath
OPENING_SECONDS = 2.0  # of a passage, from its first sound on: they tell how loud its speech is


class Trimmer:
    """Trims one passage. What `push` and `finish` return, one after the other, is the trimmed passage.

    Which samples are kept depends on the samples alone, never on the pieces in which they come. A frame of 20 ms has
    sound if it is at most 30 dB below the gated loudness of the opening, and above the floor. Silence is held back
    until sound follows it; at the end it is dropped. If a passage has pauses with louder noise than that, all of it
    counts as sound and nothing is trimmed, which does no harm.

    Args:
        sample_rate: in Hz.
        from_start: keep the silence before the first sound, and pass samples on at once.
        waits: return nothing until the opening is complete; else its sounds are whatever is above the floor.
        expected_seconds: how long the text should take, which is needed to find a tail. 0: no tail is cut.
        guards: the thresholds that define a tail; None for the defaults.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        from_start: bool = False,
        waits: bool = True,
        expected_seconds: float = 0.0,
        guards: Guards | None = None,
    ) -> None:
        guards = guards or Guards()
        self._frame = frame_length(sample_rate)
        self._rate = sample_rate
        self._from_start = from_start
        self._waits = waits and not from_start
        self._bridged = BRIDGED_SECONDS * sample_rate
        self._tail_silence = guards.tail_silence * sample_rate
        self._enough = guards.tail_after * expected_seconds * sample_rate if expected_seconds > 0 else np.inf
        self._levels: list[float] = []  # of all frames
        self._judged = 0  # frames that are known to be sound or silence
        self._threshold: float | None = None  # in dBFS; None until the opening is complete
        self._opening_end = 0  # the first frame after the opening
        self._frame_begun = np.empty(0, np.float32)  # samples of the frame that is not complete
        self._held = np.empty(0, np.float32)  # samples that have not been returned
        self._held_from = 0  # index of the first of these in the passage
        self._ready = 0  # samples before this index are kept
        self._start: int | None = 0 if from_start else None  # index of the first sample that is kept
        self._spoken = 0  # samples of speech so far, without pauses
        self._sounds: list[tuple[int, int]] = []  # stretches of sound, in samples from the passage's beginning
        self._tail = False  # the rest is an invented tail

    @property
    def start(self) -> int:
        """The index of the first sample that is kept."""
        return self._start or 0

    @property
    def sounds(self) -> list[tuple[float, float]]:
        """The stretches of sound so far, with silences over 50 ms between them: seconds in the trimmed passage."""
        return [((first - self.start) / self._rate, (end - self.start) / self._rate) for first, end in self._sounds]

    def push(self, waveform: Waveform) -> Waveform:
        """Take the next samples [n], mono, full scale at 1. Returns samples that are kept, perhaps none."""
        return self._advance(waveform, last=False)

    def finish(self) -> Waveform:
        """Return the samples that are kept of those that were held back."""
        return self._advance(np.empty(0, np.float32), last=True)

    def _advance(self, waveform: Waveform, *, last: bool) -> Waveform:
        self._held = np.concatenate([self._held, finite(waveform)])
        end = self._held_from + len(self._held)
        frames = np.concatenate([self._frame_begun, finite(waveform)])
        whole = len(frames) if last else len(frames) // self._frame * self._frame
        self._levels += frame_levels(frames[:whole], self._rate).tolist()
        self._frame_begun = frames[whole:]
        self._judge(end, last=last)
        stop = min(end, self._ready)
        if self._from_start and not self._sounds:
            stop = end
        start = max(self._held_from, self.start)
        kept = self._held[start - self._held_from : max(start, stop) - self._held_from]
        if self._start is not None:
            self._held = self._held[max(start, stop) - self._held_from :]
            self._held_from = max(start, stop)
        return kept

    def _judge(self, end: int, *, last: bool) -> None:
        """Find out which of the new frames have sound."""
        if self._threshold is None:
            self._threshold = self._opening(last=last)
            if self._threshold is None and self._waits:
                return
        for index in range(self._judged, len(self._levels)):
            in_opening = not self._waits and (self._threshold is None or index < self._opening_end)
            threshold = FLOOR_DBFS if in_opening or self._threshold is None else self._threshold
            if self._levels[index] > threshold and not self._tail:
                self._sound(index * self._frame, min((index + 1) * self._frame, end))
        self._judged = len(self._levels)

    def _opening(self, *, last: bool) -> float | None:
        """The threshold of sound in dBFS, once the opening is complete."""
        first = next((index for index, level in enumerate(self._levels) if level > FLOOR_DBFS), len(self._levels))
        self._opening_end = first + round(OPENING_SECONDS * self._rate / self._frame)
        if len(self._levels) < self._opening_end and not last:
            return None
        loudness = level_of(np.array(self._levels[first : self._opening_end])).loudness
        return max(loudness - SPEECH_RANGE_DB, FLOOR_DBFS)

    def _sound(self, first: int, end: int) -> None:
        """Keep a frame of sound, and the silence before it."""
        kept = round(KEPT_SECONDS * self._rate)
        if self._start is None:
            self._start = max(0, first - kept)
        silence = first - self._sounds[-1][1] if self._sounds else 0
        if silence >= self._tail_silence and self._spoken >= self._enough:
            self._tail = True
            return
        self._spoken += end - first + (silence if silence <= self._bridged else 0)
        if self._sounds and silence <= PAUSE_SECONDS * self._rate:
            self._sounds[-1] = (self._sounds[-1][0], end)
        else:
            self._sounds.append((first, end))
        self._ready = end + kept


def trimmed(
    waveform: Waveform, sample_rate: int, expected_seconds: float = 0.0, guards: Guards | None = None
) -> Waveform:
    """Return a passage [n] without the silence at both ends and without an invented tail; see `Trimmer`."""
    trimmer = Trimmer(sample_rate, expected_seconds=expected_seconds, guards=guards)
    return np.concatenate([trimmer.push(waveform), trimmer.finish()])
