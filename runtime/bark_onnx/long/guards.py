"""What Bark is known for, each found by a stated rule: speech that runs on, is invented, silent, clipped or too short.

How long a text should take is a guess from its length, and Bark speaks slowly, pauses and laughs: every rule that goes
by it leaves wide room. A false alarm costs another attempt, but a rule that raised one often would cost every text.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..arrays import Waveform
from ..audio.levels import FLOOR_DBFS, finite, frame_length, frame_levels, level
from ..errors import require

SPEECH_RANGE_DB = 30.0  # a consonant lies that far under the vowels: what is further under the loudness is no sound
BRIDGED_SECONDS = 0.3  # a silence up to this is inside speech: the closure of a stop, the space between two words
KEPT_SECONDS = 0.05  # silence that trimming leaves: a soft onset or the end of a breath lies in it
LEAST_SECONDS = 0.1  # sound shorter than any word, such as a click: not speech, and not a tail
FULL_SCALE = 0.999  # a sample from here on is clipped, or will be when it is written

Name = Literal["runaway", "silent", "clipped", "short", "tail"]


@dataclass(frozen=True)
class Guards:
    """When to speak a passage again, and when to call it a failure.

    Args:
        retries: further attempts, each with the next seed. 0: only report.
        longest: a runaway is longer than this many times the expected seconds, and `slack_seconds` on top.
        slack_seconds: for a laugh, a sigh or a slow beginning, which no text length tells.
        shortest: words were swallowed if there are fewer seconds of speech, pauses apart, than this share of the
            expected. 0.4 is 2.5 times the usual speed, faster than anyone reads.
        silent_dbfs: gated loudness under which a passage is silent; Bark's quiet voices are at -35.
        clipped_share: share of the active samples at full scale from which it is heard as distortion; loud speech
            touches full scale in a few of ten thousand.
        tail_silence: seconds of silence after which further speech is invented, if enough was said before it. Between
            two sentences Bark pauses for 0.3 to 0.8.
        tail_after: enough was said: speech before the silence, pauses apart, is this share of the expected seconds.

    Raises BarkError that names every rule that does not hold.
    """

    retries: int = 2
    longest: float = 2.5
    slack_seconds: float = 3.0
    shortest: float = 0.4
    silent_dbfs: float = -50.0
    clipped_share: float = 0.005
    tail_silence: float = 1.0
    tail_after: float = 0.8

    def __post_init__(self) -> None:
        checks = {
            "retries must be 0 to 100": 0 <= self.retries <= 100,
            "longest must be at least 1": self.longest >= 1,
            "slack_seconds must be 0 or more": self.slack_seconds >= 0,
            "shortest must be 0 to 1": 0 <= self.shortest <= 1,
            "silent_dbfs must be -60 to 0": FLOOR_DBFS <= self.silent_dbfs <= 0,
            "clipped_share must be over 0 and at most 1": 0 < self.clipped_share <= 1,
            "tail_silence must be at least 0.3": self.tail_silence >= BRIDGED_SECONDS,
            "tail_after must be over 0": self.tail_after > 0,
        }
        require(self, checks)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a passage: the rule's name, and what was measured."""

    name: Name
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


def problems(
    waveform: Waveform,
    sample_rate: int,
    *,
    semantic_tokens: int,
    token_limit: int,
    expected_seconds: float,
    guards: Guards,
) -> list[Problem]:
    """What is wrong with one passage; nothing, for most.

    Args:
        waveform: [n] mono, full scale at 1, as the codec made it. What is not a number counts as silence.
        semantic_tokens: how many the semantic stage made.
        token_limit: how many it could have made; at the limit it did not end by itself.
        expected_seconds: how long the text should take, its usual pauses included. 0: nothing is expected, as of music,
            and the rules that go by length say nothing.
    """
    waveform = finite(waveform)
    found: list[Problem] = []
    endless = semantic_tokens >= token_limit
    if endless:
        found.append(Problem("runaway", f"no end within {token_limit} semantic tokens"))
    measured = level(waveform, sample_rate)
    if measured.loudness < guards.silent_dbfs or measured.active_seconds < LEAST_SECONDS:
        found.append(Problem("silent", f"{measured.active_seconds:.2f} s of sound at {measured.loudness:.0f} dBFS"))
        return found  # the other rules are about speech

    active_samples = measured.active_seconds * sample_rate
    clipped = float(np.count_nonzero(np.abs(waveform) >= FULL_SCALE) / active_samples)
    if clipped > guards.clipped_share:
        found.append(Problem("clipped", f"{clipped:.1%} of the samples at full scale"))
    if expected_seconds <= 0:
        return found

    spoken = _speech(waveform, sample_rate)
    length = (spoken[-1, 1] - spoken[0, 0]) / sample_rate
    longest = guards.longest * expected_seconds + guards.slack_seconds
    if length > longest and not endless:
        found.append(Problem("runaway", f"{length:.1f} s of speech where {longest:.1f} s are enough"))
    seconds = float((spoken[:, 1] - spoken[:, 0]).sum() / sample_rate)
    if seconds < guards.shortest * expected_seconds:
        found.append(Problem("short", f"{seconds:.1f} s of speech where about {expected_seconds:.1f} s are expected"))
    tail = _tail(spoken, sample_rate, expected_seconds, guards)
    if tail < len(spoken):
        found.append(
            Problem(
                "tail",
                f"speech again at {spoken[tail, 0] / sample_rate:.1f} s, "
                f"after {(spoken[tail, 0] - spoken[tail - 1, 1]) / sample_rate:.1f} s of silence",
            )
        )
    return found


def trim(waveform: Waveform, sample_rate: int, *, expected_seconds: float = 0.0, guards: Guards | None = None) -> slice:
    """The part of [n] samples to keep: without the silence at both ends, save 50 ms, and without an invented tail.

    Args:
        expected_seconds: how long the text should take, by which a tail is known; 0: none is cut.

    Returns a slice with start and stop; the whole when there is nothing to cut, or nothing to be heard.
    """
    spoken = _speech(finite(waveform), sample_rate)
    if not len(spoken):
        return slice(0, len(waveform))
    last = _tail(spoken, sample_rate, expected_seconds, guards or Guards()) - 1
    kept = round(KEPT_SECONDS * sample_rate)
    return slice(max(0, int(spoken[0, 0]) - kept), min(len(waveform), int(spoken[last, 1]) + kept))


def _speech(waveform: Waveform, sample_rate: int) -> NDArray[np.int64]:
    """Where there is sound: [k, 2] first sample and the one after the last, silences up to 0.3 s bridged.

    A frame is sound if it is within 30 dB of the gated loudness and over the floor. In a noisy recording, whose pauses
    are louder than that, all is sound: nothing is trimmed then, which is the harmless mistake.
    """
    levels = frame_levels(waveform, sample_rate)
    sound = np.flatnonzero(levels > max(level(waveform, sample_rate).loudness - SPEECH_RANGE_DB, FLOOR_DBFS))
    if not len(sound):
        return np.empty((0, 2), np.int64)
    frame = frame_length(sample_rate)
    breaks = np.flatnonzero((np.diff(sound) - 1) * frame > BRIDGED_SECONDS * sample_rate)
    firsts = sound[np.append(0, breaks + 1)] * frame
    ends = (sound[np.append(breaks, len(sound) - 1)] + 1) * frame
    return np.stack([firsts, ends.clip(max=len(waveform))], axis=1)


def _tail(spoken: NDArray[np.int64], sample_rate: int, expected_seconds: float, guards: Guards) -> int:
    """Index of the first stretch of speech that belongs to an invented tail; `len(spoken)` if there is none.

    Speech is counted without its pauses: who pauses for long has said less by the time the text should be over.
    """
    if expected_seconds <= 0:
        return len(spoken)
    seconds = np.cumsum(spoken[:, 1] - spoken[:, 0]) / sample_rate
    silences = (spoken[1:, 0] - spoken[:-1, 1]) / sample_rate
    enough = (silences >= guards.tail_silence) & (seconds[:-1] >= guards.tail_after * expected_seconds)
    enough &= seconds[-1] - seconds[:-1] >= LEAST_SECONDS
    return int(np.argmax(enough)) + 1 if enough.any() else len(spoken)
