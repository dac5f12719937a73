"""Find Bark's usual failures in a passage: speech that does not end, is invented, silent, clipped or too short.

Several rules compare the speech with the seconds that its text should take. Those are estimated from the length of the
text, and Bark may speak slowly, pause or laugh, so these rules have wide margins. A false alarm costs another attempt.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..arrays import Waveform
from ..audio.levels import FLOOR_DBFS, finite, level, sound_stretches
from ..errors import require
from ..numbers import plain_numbers

BRIDGED_SECONDS = 0.3  # a silence up to this long is part of speech: a plosive, or a gap between two words
LEAST_SECONDS = 0.1  # sound that is shorter than this is not speech, but for example a click
FULL_SCALE = 0.999  # a sample of at least this magnitude is clipped, or will be when it is written to a file

Name = Literal["runaway", "silent", "clipped", "short", "tail"]


@dataclass(frozen=True)
class Guards:
    """Thresholds of the rules, and how often to speak a passage again. The rules' names are in parentheses.

    Args:
        retries: attempts after the first, each with the next seed. 0: only report problems.
        longest: speech is too long (runaway) if it takes more than this many times the expected seconds, plus
            `slack_seconds`.
        slack_seconds: extra seconds for a laugh, a sigh or a slow beginning, which the text's length does not show.
        shortest: while the pace of the voice is unknown, words are missing (short) if the speech without pauses takes
            less than this share of the expected seconds. 0.4 is 2.5 times the usual speed, faster than people read.
        false_alarms: once the pace is known, words are missing (short) if the speech takes less time than all but this
            share of the passages in which no word is missing.
        silent_dbfs: a passage with a lower gated loudness is silent. Bark's quiet voices have -35 dBFS.
        clipped_share: speech is distorted (clipped) if a larger share of the active samples is at full scale. In loud
            speech without distortion it is a few in ten thousand.
        tail_silence: speech after this many seconds of silence is invented (tail), if enough was said before it. Bark
            pauses for 0.3 to 0.8 seconds between sentences.
        tail_after: enough was said if the speech before the silence, without pauses, takes this share of the expected
            seconds.

    Raises BarkError that names every value that is impossible.
    """

    retries: int = 2
    longest: float = 2.5
    slack_seconds: float = 3.0
    shortest: float = 0.4
    false_alarms: float = 0.02
    silent_dbfs: float = -50.0
    clipped_share: float = 0.005
    tail_silence: float = 1.0
    tail_after: float = 0.8

    def __post_init__(self) -> None:
        plain_numbers(self)
        checks = {
            "retries must be 0 to 100": 0 <= self.retries <= 100,
            "longest must be at least 1": self.longest >= 1,
            "slack_seconds must be 0 or more": self.slack_seconds >= 0,
            "shortest must be 0 to 1": 0 <= self.shortest <= 1,
            "false_alarms must be over 0 and at most 0.2": 0 < self.false_alarms <= 0.2,
            "silent_dbfs must be -60 to 0": FLOOR_DBFS <= self.silent_dbfs <= 0,
            "clipped_share must be over 0 and at most 1": 0 < self.clipped_share <= 1,
            "tail_silence must be at least 0.3": self.tail_silence >= BRIDGED_SECONDS,
            "tail_after must be over 0": self.tail_after > 0,
        }
        require(self, checks)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a passage.

    Args:
        name: of the rule.
        detail: what was measured.
    """

    name: Name
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


@dataclass(frozen=True)
class SpeechTime:
    """How much speech a text should have in the pace of its voice.

    Args:
        seconds: of speech without pauses, as expected.
        least: with fewer, words are missing.
    """

    seconds: float
    least: float


def problems(
    waveform: Waveform,
    sample_rate: int,
    *,
    semantic_tokens: int,
    token_limit: int,
    expected_seconds: float,
    guards: Guards,
    speech: SpeechTime | None = None,
) -> list[Problem]:
    """List what is wrong with a passage.

    Args:
        waveform: [n] mono, full scale at 1, as decoded by the codec. NaN counts as silence.
        semantic_tokens: how many semantic tokens it was made from.
        token_limit: how many there could have been. If there are that many, the model did not end the utterance.
        expected_seconds: how long the text should take with the usual pauses. 0: unknown, as for music; the rules that
            need it are then skipped.
        guards: the thresholds.
        speech: how much speech the text should have (`Pace.expects`); None if the pace of the voice is unknown.
    """
    waveform = finite(waveform)
    found: list[Problem] = []
    endless = semantic_tokens >= token_limit
    if endless:
        found.append(Problem("runaway", f"no end within {token_limit} semantic tokens"))
    measured = level(waveform, sample_rate)
    if measured.loudness < guards.silent_dbfs or measured.active_seconds < LEAST_SECONDS:
        found.append(Problem("silent", f"{measured.active_seconds:.2f} s of sound at {measured.loudness:.0f} dBFS"))
        return found  # the other rules need speech

    active_samples = measured.active_seconds * sample_rate
    clipped = float(np.count_nonzero(np.abs(waveform) >= FULL_SCALE) / active_samples)
    if clipped > guards.clipped_share:
        found.append(Problem("clipped", f"{clipped:.1%} of the samples at full scale"))
    if expected_seconds <= 0:
        return found

    spoken = sound_stretches(waveform, sample_rate, BRIDGED_SECONDS)
    length = (spoken[-1, 1] - spoken[0, 0]) / sample_rate
    longest = guards.longest * expected_seconds + guards.slack_seconds
    if length > longest and not endless:
        found.append(Problem("runaway", f"{length:.1f} s of speech where {longest:.1f} s are enough"))
    seconds, wanted = _seconds(spoken, sample_rate), 0.0
    if seconds < guards.shortest * expected_seconds:
        wanted = expected_seconds
    elif speech is not None and seconds < speech.least:
        wanted = speech.seconds
    if wanted:
        found.append(Problem("short", f"{seconds:.1f} s of speech where about {wanted:.1f} s are expected"))
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


def spoken_seconds(waveform: Waveform, sample_rate: int) -> float:
    """Return how many seconds of [n] samples are speech. Pauses of more than 0.3 s do not count."""
    return _seconds(sound_stretches(finite(waveform), sample_rate, BRIDGED_SECONDS), sample_rate)


def _seconds(spoken: NDArray[np.int64], sample_rate: int) -> float:
    """The seconds of stretches of speech [k, 2], together."""
    return float((spoken[:, 1] - spoken[:, 0]).sum() / sample_rate)


def _tail(spoken: NDArray[np.int64], sample_rate: int, expected_seconds: float, guards: Guards) -> int:
    """Return the index of the first stretch of speech that is an invented tail; `len(spoken)` without a tail.

    Pauses do not count as speech, since a speaker who makes long pauses says less in the same time.
    """
    if expected_seconds <= 0:
        return len(spoken)
    seconds = np.cumsum(spoken[:, 1] - spoken[:, 0]) / sample_rate
    silences = (spoken[1:, 0] - spoken[:-1, 1]) / sample_rate
    enough = (silences >= guards.tail_silence) & (seconds[:-1] >= guards.tail_after * expected_seconds)
    enough &= seconds[-1] - seconds[:-1] >= LEAST_SECONDS
    return int(np.argmax(enough)) + 1 if enough.any() else len(spoken)
