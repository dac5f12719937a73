"""Where audio goes while it is made: a file, standard output, or a player."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np

from ..arrays import Waveform
from ..audio.encoder import StreamEncoder
from ..audio.files import AudioWriter, Write
from ..errors import BarkError
from .options import Output

PLAYERS = {  # programs that play a WAV stream from their standard input, best first
    "ffplay": ["-nodisp", "-autoexit", "-loglevel", "error", "-i", "-"],
    "aplay": ["-q", "-"],
    "play": ["-q", "-t", "wav", "-"],  # SoX
}


@contextmanager
def open_output(output: Output, sample_rate: int) -> Iterator[Write]:
    """Yield the function that takes waveforms [n] while they are made.

    Raises BarkError if there is no player, or the file cannot be written; BrokenPipeError if the reader of standard
    output ends.
    """
    if output.output == "-":
        with StreamEncoder("pcm" if output.raw else "wav", sample_rate, output.sample_rate, output.speed) as encoder:
            yield lambda waveform: _pass_on(encoder.push(waveform))
            _pass_on(encoder.finish())
    elif output.file is not None:
        with AudioWriter(output.file, sample_rate, output_rate=output.sample_rate, speed=output.speed) as writer:
            yield writer.write
    else:
        with _player(sample_rate, output.speed) as write:
            yield write


def _pass_on(content: bytes) -> None:
    """Write to standard output, for a reader that plays it at once."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


@contextmanager
def _player(sample_rate: int, speed: float) -> Iterator[Write]:
    name = next((name for name in PLAYERS if shutil.which(name)), None)
    if name is None:
        raise BarkError(f"no player found ({', '.join(PLAYERS)}): give -o FILE, or pipe -o - into a program of yours")
    player = subprocess.Popen([name, *PLAYERS[name]], stdin=subprocess.PIPE)
    assert player.stdin is not None
    try:
        with AudioWriter(player.stdin, sample_rate, "wav", speed=speed) as writer:
            yield writer.write
        player.stdin.close()
        if player.wait():
            raise BarkError(f"{name} failed with status {player.returncode}: give -o FILE")
    except BrokenPipeError:
        raise BarkError(f"{name} ended before the audio did: give -o FILE") from None
    finally:
        if player.poll() is None:
            player.kill()
            player.wait()


def held_back(write: Write, seconds: float) -> tuple[Write, Callable[[], None]]:
    """Return a function that writes nothing until `seconds` after its first call, and one that writes the rest."""
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
