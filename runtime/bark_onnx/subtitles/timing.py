"""Estimate when each phrase of a passage is said, from the pauses in its sound.

Nothing tells which word is spoken when. But speakers pause at the ends of sentences and often of clauses, and how long
a text takes can be estimated. So the phrases are laid over the sound in proportion to their estimated length, and the
boundaries between them are moved to pauses near them. All times within a passage are estimates.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from ..arrays import Waveform
from ..audio.levels import finite, sound_stretches
from ..splitting.passages import clause_ends, estimate_seconds, paragraphs, sentence_ends
from .formats import Cue
from .phrases import phrases

__all__ = ["phrase_cues", "stretches"]

PAUSE_SECONDS = 0.05  # fast speakers, nano among them, pause for 0.08 s between sentences; plosives have such gaps too
LONG_PAUSE_SECONDS = 0.6  # a longer pause is no better evidence for the end of a sentence

# How far a boundary is from where it is expected: the error of an estimate grows with the square root of the length
# (errors of many syllables), and both ends of a passage are known. In seconds, for one second of speech.
SPREAD = 0.3
LEAST_SPREAD = 0.1  # seconds

# How many squared spreads / 2 a long pause is worth, by what ends there. A pause between two words is rarely where a
# line of a subtitle happens to be cut.
_SENTENCE, _CLAUSE, _WORD = 8.0, 3.0, 1.0
_NEAREST = 8  # pauses on each side that are compared for one boundary: with that, the time is linear


def stretches(waveform: Waveform, sample_rate: int) -> list[tuple[float, float]]:
    """Return the stretches of sound in [n] samples as (first second, end second). Silences up to 50 ms are sound."""
    found = sound_stretches(finite(waveform), sample_rate, PAUSE_SECONDS)
    return [(first / sample_rate, end / sample_rate) for first, end in found.tolist()]


def phrase_cues(
    text: str,
    sounds: Sequence[tuple[float, float]],
    start: float,
    speaker: str | None = None,
    *,
    level: Literal["phrase", "sentence"] = "phrase",
) -> list[Cue]:
    """Divide a passage into cues, with estimated times.

    The first cue begins with the first sound, the last one ends with the last sound, and in between, a boundary lies in
    a pause where there is one near. Cues do not overlap. Where the sound has no pauses, the time is divided in
    proportion to the text.

    Args:
        text: what is said in the passage. A phrase also ends where a paragraph does.
        sounds: the stretches of sound, from `stretches`, in seconds from the beginning of the passage.
        start: where the passage begins in the whole, in seconds.
        speaker: of all cues.
        level: `phrase` for subtitles: cues of at most two lines of 42 characters. `sentence` for a cue for each
            sentence.

    Returns no cues if nothing is said: there is no text, or no sound.
    """
    parts = list(paragraphs(text))
    if not parts or not sounds:
        return []
    text = " ".join(parts)
    boundaries = _boundaries(parts)
    if level == "sentence":
        ends = [boundary.at for boundary in boundaries if boundary.worth == _SENTENCE]
    else:
        ends = _phrase_ends(parts)
        known = {boundary.at for boundary in boundaries}
        boundaries += [_Boundary(at, _WORD) for at in ends if at not in known and at < len(text)]
        boundaries.sort(key=lambda boundary: boundary.at)
    clock = _Clock(sounds)
    said = dict(zip([boundary.at for boundary in boundaries], _align(text, boundaries, clock), strict=True))
    said |= {0: 0.0, len(text): clock.total}
    cues = []
    for first, end in pairwise(sorted({0, *ends, len(text)})):
        cues.append(
            Cue(start + clock.beginning(said[first]), start + clock.end(said[end]), text[first:end].strip(), speaker)
        )
    return cues


@dataclass(frozen=True)
class _Boundary:
    """A place in a text where a part of it ends.

    Args:
        at: index of the character that follows.
        worth: what a long pause there is worth: _SENTENCE, _CLAUSE or _WORD.
    """

    at: int
    worth: float


class _Clock:
    """The time of a passage with the pauses taken out, and back. Both are in seconds."""

    def __init__(self, sounds: Sequence[tuple[float, float]]) -> None:
        self._sounds = sounds
        self._ends = list(accumulate(end - first for first, end in sounds))  # without pauses
        self.total = self._ends[-1]
        self.pauses = self._ends[:-1]  # where they are
        self.lengths = [after[0] - before[1] for before, after in pairwise(sounds)]

    def end(self, said: float) -> float:
        """When something ends after which `said` seconds of sound have been heard: before a pause, not after it."""
        at = min(bisect_left(self._ends, said), len(self._ends) - 1)
        return max(self._sounds[at][0], self._sounds[at][1] - (self._ends[at] - said))

    def beginning(self, said: float) -> float:
        """When something begins before which `said` seconds of sound have been heard: after a pause, not before it."""
        at = min(bisect_right(self._ends, said), len(self._ends) - 1)
        before = self._ends[at - 1] if at else 0.0
        return min(self._sounds[at][1], self._sounds[at][0] + (said - before))


def _boundaries(parts: Sequence[str]) -> list[_Boundary]:
    """The ends of sentences and clauses within paragraphs that are joined by spaces, in order."""
    found, start = [], 0
    for text in parts:
        for first, end in pairwise([0, *sentence_ends(text, 0, len(text))]):
            *clauses, _ = clause_ends(text, first, end)
            found += [_Boundary(start + at, _CLAUSE) for at in clauses]
            found.append(_Boundary(start + end + (end == len(text)), _SENTENCE))
        start += len(text) + 1
    return found[:-1]


def _phrase_ends(parts: Sequence[str]) -> list[int]:
    """Where the phrases of paragraphs end that are joined by spaces."""
    ends, start = [], 0
    for text in parts:
        at = 0
        for phrase in phrases(text):
            left = len(phrase) - phrase.count(" ")
            while left or text[at : at + 1].isspace():
                left -= not text[at].isspace()
                at += 1
            ends.append(start + at + (at == len(text)))
        start += len(text) + 1
    ends[-1] -= 1
    return ends


def _align(text: str, boundaries: Sequence[_Boundary], clock: _Clock) -> list[float]:
    """Return how many seconds of sound have been heard at each boundary.

    Boundaries are matched with pauses, in order, so that the matches are worth the most. A match of a boundary with a
    pause is worth more, the longer the pause is, and less, the further it is from where the boundary is expected. The
    other boundaries are laid between these in proportion to the text.
    """
    marks = [0, *(boundary.at for boundary in boundaries), len(text)]
    estimated = list(accumulate((estimate_seconds(text[first:end]) for first, end in pairwise(marks)), initial=0.0))
    scale = clock.total / estimated[-1] if estimated[-1] else 0.0
    expected = [seconds * scale for seconds in estimated[1:-1]]
    anchors = [(0, 0.0)]
    for boundary, pause in _best_matches(expected, boundaries, clock):
        anchors.append((boundary + 1, clock.pauses[pause]))
    anchors.append((len(estimated) - 1, clock.total))
    said: list[float] = []
    for (before, heard), (after, heard_after) in pairwise(anchors):
        length = estimated[after] - estimated[before]
        for index in range(before + 1, after):
            share = (estimated[index] - estimated[before]) / length if length else 0.0
            said.append(heard + (heard_after - heard) * share)
        said.append(heard_after)
    return said[:-1]


def _best_matches(expected: Sequence[float], boundaries: Sequence[_Boundary], clock: _Clock) -> list[tuple[int, int]]:
    """Match boundaries with pauses, both in order, each at most once: the (boundary, pause) that are worth the most.

    A Fenwick tree holds the best chain of matches that ends at each pause or before it.
    """
    chains: list[tuple[float, int]] = [(0.0, -1)] * (len(clock.pauses) + 1)  # what the chain is worth, its last match
    matches: list[tuple[int, int, int]] = []  # boundary, pause, the match before
    for index, (position, boundary) in enumerate(zip(expected, boundaries, strict=True)):
        spread = max(LEAST_SPREAD, SPREAD * math.sqrt(max(0.0, position * (clock.total - position) / clock.total)))
        middle = bisect_left(clock.pauses, position)
        improved = []
        for pause in range(max(0, middle - _NEAREST), min(len(clock.pauses), middle + _NEAREST)):
            length = min(clock.lengths[pause], LONG_PAUSE_SECONDS) / LONG_PAUSE_SECONDS
            worth = boundary.worth * length - ((clock.pauses[pause] - position) / spread) ** 2 / 2
            if worth > 0:
                so_far, last = _best_chain(chains, pause)
                improved.append((pause, so_far + worth, last))
        for pause, worth, last in improved:  # after all were looked up, since a boundary has one pause
            matches.append((index, pause, last))
            _extend_chain(chains, pause + 1, (worth, len(matches) - 1))
    found = []
    _, last = _best_chain(chains, len(clock.pauses))
    while last >= 0:
        index, pause, last = matches[last]
        found.append((index, pause))
    return found[::-1]


def _best_chain(chains: list[tuple[float, int]], count: int) -> tuple[float, int]:
    """Return the best chain that ends at one of the first `count` pauses."""
    best = (0.0, -1)
    while count > 0:
        best = max(best, chains[count])
        count &= count - 1
    return best


def _extend_chain(chains: list[tuple[float, int]], count: int, chain: tuple[float, int]) -> None:
    """Note a chain whose last pause is the one with this number, counted from 1."""
    while count < len(chains):
        chains[count] = max(chains[count], chain)
        count += count & -count
