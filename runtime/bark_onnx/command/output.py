"""Where audio goes while it is made: a file, standard output, or a player."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np

from ..arrays import Waveform
from ..audio.files import AudioWriter, pcm, wav_header
from ..errors import BarkError

PLAYERS = {  # programs that play a WAV stream from their standard input, best first
    "ffplay": ["-nodisp", "-autoexit", "-loglevel", "error", "-i", "-"],
    "aplay": ["-q", "-"],
    "play": ["-q", "-t", "wav", "-"],  # SoX
}

Write = Callable[[Waveform], None]


@contextmanager
def open_output(output: str | None, sample_rate: int, *, raw: bool = False) -> Iterator[Write]:
    """What takes waveforms [n] as they come.

    Args:
        output: an audio file, whole at the end or not there at all; "-" for standard output; None for a player.
        raw: standard output gets 16-bit little-endian samples without a WAV header.

    Raises BarkError if there is no player, or the file cannot be written; BrokenPipeError if the reader goes away.
    """
    if output == "-":
        if not raw:
            sys.stdout.buffer.write(wav_header(sample_rate, None))
        yield _to_standard_output
    elif output is not None:
        with AudioWriter(Path(output), sample_rate) as writer:
            yield writer.write
    else:
        with _playing(sample_rate) as write:
            yield write


def _to_standard_output(waveform: Waveform) -> None:
    sys.stdout.buffer.write(pcm(waveform))
    sys.stdout.buffer.flush()  # it is to be heard now


@contextmanager
def _playing(sample_rate: int) -> Iterator[Write]:
    name = next((name for name in PLAYERS if shutil.which(name)), None)
    if name is None:
        raise BarkError(f"there is no player ({', '.join(PLAYERS)}): give -o FILE, or -o - and a program of yours")
    player = subprocess.Popen([name, *PLAYERS[name]], stdin=subprocess.PIPE)
    assert player.stdin is not None
    try:
        player.stdin.write(wav_header(sample_rate, None))

        def write(waveform: Waveform) -> None:
            assert player.stdin is not None
            player.stdin.write(pcm(waveform))
            player.stdin.flush()

        yield write
        player.stdin.close()
        if player.wait():
            raise BarkError(f"{name} failed with status {player.returncode}: give -o FILE")
    except BrokenPipeError:
        raise BarkError(f"{name} went away before the end: give -o FILE") from None
    finally:
        if player.poll() is None:
            player.kill()
            player.wait()


def held_back(write: Write, seconds: float) -> tuple[Write, Callable[[], None]]:
    """The same writer, silent until `seconds` after the first audio; and what passes on the rest at the end."""
    waiting: list[Waveform] = []
    first: float | None = None

    def flush() -> None:
        if waiting:
            write(np.concatenate(waiting))
            waiting.clear()

    def buffered(waveform: Waveform) -> None:
        nonlocal first
        now = perf_counter()
        first = now if first is None else first
        waiting.append(waveform)
        if now - first >= seconds:
            flush()

    return buffered, flush
