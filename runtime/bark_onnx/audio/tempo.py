"""Faster or slower speech, piece by piece, with the pitch that it has."""

import math
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Waveform
from ..errors import BarkError, shown
from ..numbers import real
from .levels import finite
from .pyav import audio_frame, one_line, require_pyav

if TYPE_CHECKING:
    from av.filter import Graph

SLOWEST, FASTEST = 0.25, 4.0
_MOST_AT_ONCE = 2.0  # a filter that is faster than this, or slower than 1 / 2, leaves out samples or repeats them

# The filter collects as much as becomes of a frame before it returns anything, so that short frames come back earlier.
# With shorter ones than 10 ms, little is gained, and calling the filter takes most of the time.
_BLOCKS_PER_SECOND = 100

# The filter holds back the last 100 to 200 ms of what it got. They come when this much silence follows them.
_FLUSH_SECONDS = 1.0


class Tempo:
    """Changes the speed of speech with FFmpeg's filter `atempo`. What `push` and `finish` return is the result.

    The filter takes windows of about 40 ms from the waveform, puts them closer together or further apart, and blends
    them where they fit best. n samples become n / speed, rounded. The samples do not depend on the pieces in which they
    came. At 24 kHz, a sound is at most 40 ms from its time divided by the speed.

    The filter reads ahead: `push` returns nothing for the first 50 to 70 ms, and at speeds over 2 for the first 130 to
    200 ms.

    Args:
        speed: 0.25 to 4; 2 is twice as fast. At 1, the samples are passed on as they are.
        sample_rate: in Hz.

    Raises BarkError for another speed, and if PyAV is not installed and the speed is not 1.
    """

    def __init__(self, speed: float, sample_rate: int) -> None:
        self._speed = check_speed(speed)
        self._rate = sample_rate
        self._block = sample_rate // _BLOCKS_PER_SECOND
        self._held = np.empty(0, np.float32)
        self._taken = 0  # samples
        self._filtered = 0  # samples that the filter got
        self._returned = 0  # samples
        self._graph: Graph | None = None if self._speed == 1 else _graph(self._speed, sample_rate)

    def push(self, waveform: Waveform) -> Waveform:
        """Take the next samples [n], and return those that are ready. NaN counts as silence."""
        if self._graph is None:
            return waveform
        self._taken += len(waveform)
        ready = self._filter(finite(waveform))
        self._returned += len(ready)
        return ready

    def finish(self) -> Waveform:
        """Return the samples that remain. Nothing may be pushed after that."""
        if self._graph is None:
            return np.empty(0, np.float32)
        silence = np.zeros(math.ceil(_FLUSH_SECONDS * self._rate) + self._block, np.float32)
        return self._filter(silence)[: max(0, round(self._taken / self._speed) - self._returned)]

    def _filter(self, waveform: Waveform) -> Waveform:
        assert self._graph is not None
        import av

        held = np.concatenate([self._held, waveform])
        whole = len(held) // self._block * self._block
        self._held = held[whole:].copy()
        ready = [np.empty(0, np.float32)]
        with one_line("cannot change the speed"):
            for start in range(0, whole, self._block):
                self._graph.push(audio_frame(held[start : start + self._block], self._rate, self._filtered, "flt"))
                self._filtered += self._block
                while True:
                    try:
                        ready.append(self._graph.pull().to_ndarray()[0])
                    except av.BlockingIOError:  # it needs more
                        break
        return np.concatenate(ready)


def plain_speed(speed: float) -> float:
    """Return a speed as a plain float. Raises BarkError if it is not 0.25 to 4."""
    plain = real("speed", speed)
    if not SLOWEST <= plain <= FASTEST:
        raise BarkError(f"speed must be {SLOWEST} to {FASTEST:g}, not {shown(speed)}")
    return plain


def check_speed(speed: float) -> float:
    """Return a speed as a plain float. Raises BarkError if it is not 0.25 to 4, or needs PyAV, which is missing."""
    plain = plain_speed(speed)
    if plain != 1:
        require_pyav(f"a speed of {plain:g}")
    return plain


def _graph(speed: float, rate: int) -> "Graph":
    """The filter for a speed: two of them where one is not enough."""
    av = require_pyav("speed")
    with one_line("cannot change the speed"):
        graph: Graph = av.filter.Graph()
        count = 1 if 1 / _MOST_AT_ONCE <= speed <= _MOST_AT_ONCE else 2
        graph.link_nodes(
            graph.add_abuffer(sample_rate=rate, format="flt", layout="mono"),
            *(graph.add("atempo", f"{speed ** (1 / count):.9f}") for _ in range(count)),
            graph.add("abuffersink"),
        )
        graph.configure()
    return graph
