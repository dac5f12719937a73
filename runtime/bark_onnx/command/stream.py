"""Speaking for `say --stream`: each chunk of audio is passed on as soon as it is made."""

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import click

from ..errors import reason
from ..long.speech_stream import SpeechStream
from ..pipeline import Bark
from ..progress import counted
from ..texts.formats import refuse_binary
from .options import LongText, Output, Sampling, Streaming
from .output import held_back, open_output
from .passages import PassageLog, resumable

_READ = 1 << 16  # bytes


def say_streamed(
    bark: Bark,
    text: str | Iterator[str],
    spoken: str,
    output: Output,
    sampling: Sampling,
    streaming: Streaming,
    long_text: LongText,
    save_voice: Path | None,
) -> None:
    """Speak a text of any length.

    Args:
        text: an iterator of strings is a text that still comes.
        spoken: its words, if it does not.
    """
    is_long = isinstance(text, str) and not (long_text.single or (not long_text.cast and bark.fits(spoken)))
    start, log = (
        perf_counter(),
        PassageLog(
            output, output.journal if is_long else None, shows=not isinstance(text, str) or bool(long_text.cast)
        ),
    )
    stream = bark.stream(
        text,
        voice=sampling.voice,
        options=sampling.options(),
        seed=sampling.seed,
        streaming=streaming.options(),
        single=long_text.single,
        history=long_text.history or "fixed",
        cast=long_text.voices(),
        narration=long_text.options(),
        journal=log.journal,
        normalize=sampling.normalize,
    )
    known, seconds, first_audio, wait = 0, 0.0, 0.0, 0.0
    with resumable(output, log), stream, open_output(output, bark.sample_rate) as write:
        buffered, flush = held_back(write, streaming.buffer)
        expected = stream.expected_seconds  # the whole text is looked at to estimate it
        with (
            _end_of_pipe(text, output),
            counted("speech", expected, not output.quiet and isinstance(text, str)) as count,
        ):
            for chunk in stream:
                arrival = perf_counter() - start
                first_audio = first_audio or arrival
                # So that playing would not have had a gap so far.
                wait = max(wait, arrival - first_audio - chunk.start / output.speed)
                buffered(chunk.waveform)
                seconds = chunk.start + chunk.duration
                known = _report(stream, log, known)
                count(min(seconds, expected))
        flush()
    _report(stream, log, known)
    log.finish(long_text.subtitles)
    if save_voice is not None and stream.tokens is not None:
        stream.tokens.save(save_voice)
    advice = f"; --buffer {wait:.1f} plays it without a gap" if wait > 0.05 else "; no gap, even without --buffer"
    output.tell(f"first audio after {first_audio:.2f} s{advice if isinstance(text, str) else ''}")
    waited = not isinstance(text, str)
    output.summarize(seconds, perf_counter() - start, stream.seed, log.resumed_seconds, waited=waited)


@contextmanager
def _end_of_pipe(text: str | Iterator[str], output: Output) -> Iterator[None]:
    """Let Ctrl-C end a text that still comes, as nothing else may: what has been spoken is complete then."""
    try:
        yield
    except KeyboardInterrupt:
        if isinstance(text, str):
            raise
        output.say("stopped: what has been spoken so far is complete")


def _report(stream: SpeechStream, log: PassageLog, known: int) -> int:
    """Report the passages that have ended since the last call. Returns how many are known now."""
    for passage in stream.passages[known:]:
        log.add(passage)
    return len(stream.passages)


def piped_text() -> Iterator[str]:
    """The text of standard input as it comes, in UTF-8, or in UTF-16 if it begins with a byte order mark of UTF-16."""
    decoder: codecs.IncrementalDecoder | None = None
    read = 0
    while True:
        try:
            content = os.read(sys.stdin.fileno(), _READ)
        except OSError as error:
            raise click.ClickException(f"standard input: {reason(error)}") from None
        if decoder is None:
            refuse_binary(content, "standard input")
            utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            decoder = codecs.getincrementaldecoder("utf-16" if utf_16 else "utf-8-sig")()
        try:
            yield decoder.decode(content, final=not content)
        except UnicodeDecodeError as error:
            raise click.ClickException(
                f"standard input is not UTF-8 text (byte {read + error.start}): convert it first"
            ) from None
        read += len(content)
        if not content:
            return
