"""`bark-onnx say`: what it accepts. The work is in `whole` and in `stream`."""

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click

from ..audio.files import format_of
from ..audio.tempo import check_speed
from ..errors import BarkError, one_line, reason, warn
from ..normalizing.choice import AUTO, chosen_normalizer, for_single, language_of
from ..normalizing.libraries import missing
from ..pipeline import Bark
from ..texts.formats import read_text, refuse_binary
from .group import about_nano, about_numbers, check_writable
from .options import Loading, LongText, Output, Sampling, Streaming, with_options
from .passages import SUBTITLES
from .stream import piped_text, say_streamed
from .whole import say_passages, say_utterance

MAX_TEXT_BYTES = 64 << 20
_NO_TEXT = "give either TEXT or --file FILE, or pipe a text into it"


class _Say(click.Command):
    """A command that says what to do if a text begins with a dash, which click takes for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption as error:
            if any(argument[:1] == "-" and (" " in argument or argument[1:2].isdigit()) for argument in args):
                hint = "If a text begins with it: options first, then --, then the text, as in: say -q -- '-5 degrees'"
                raise click.UsageError(f"{error.format_message()} {hint}", ctx) from None
            raise


@click.command(cls=_Say)
@click.argument("text", required=False)
@click.option(
    "-f", "--file", "text_file", type=click.Path(path_type=Path),
    help="Read a text of any length from this file, or from standard input if it is -.",
)  # fmt: skip
@click.option("--save-voice", type=click.Path(path_type=Path), help="Save the speech as a voice, for --voice (.npz).")
@with_options(output=Output, sampling=Sampling, streaming=Streaming, long_text=LongText, loading=Loading)
def say(
    text: str | None,
    text_file: Path | None,
    save_voice: Path | None,
    output: Output,
    sampling: Sampling,
    streaming: Streaming,
    long_text: LongText,
    loading: Loading,
) -> None:
    """Speak TEXT into an audio file. If TEXT is -, or is left out in a pipe, read it from standard input.

    A text that does not fit in one utterance of about 13 seconds is split into passages. If that is interrupted, run
    the same command again to continue. With --stream, a text in a pipe is spoken while it comes.
    """
    path = output.output or (None if streaming.stream else "out.wav")
    output = replace(output, output="-" if path == "/dev/stdout" else path)
    _refuse(text is not None and text_file is not None, _NO_TEXT)
    _refuse(text is None and text_file is None and (sys.stdin is None or sys.stdin.isatty()), _NO_TEXT)
    _refuse(output.raw and output.output != "-", "--raw is for -o -")
    _refuse(output.sample_rate is not None and output.output is None, "--sample-rate is for -o")
    _refuse(loading.low_memory and streaming.stream, "--low-memory is for a single utterance, not streamed")
    _refuse(long_text.single and bool(long_text.history or long_text.cast), "--single takes no --history and no --cast")
    _refuse(
        streaming.is_tuned and not streaming.stream,
        "--chunk-seconds, --fine-context, --exact and --buffer are for --stream",
    )
    _refuse(long_text.text_format != "auto" and text_file is None, "--format is for a text of --file")
    _check_outputs(output, save_voice, long_text.subtitles)
    try:
        sampling.options(), streaming.options(), long_text.voices(), long_text.options()
    except BarkError as error:
        raise click.UsageError(str(error)) from None
    chosen_normalizer(sampling.normalize, sampling.voice)  # raises before the model is loaded
    comes = streaming.stream and not long_text.single and not long_text.cast  # else the whole text is needed first
    words = _prose(text_file, long_text, output.quiet) if text_file is not None else _argument(text, comes)
    if loading.bundle is None:
        output.say(about_nano("say"))
    voices = [sampling.voice, *(long_text.voices() or {}).values()]
    with loading.load(progress=not output.quiet, voices=voices) as bark:
        spoken = _spoken(bark, words, output, sampling, long_text) if isinstance(words, str) else ""
        if streaming.stream:
            if isinstance(words, str) and not long_text.single:
                _check_journal(output)
            say_streamed(bark, words, spoken, output, sampling, streaming, long_text, save_voice)
            return
        assert isinstance(words, str)
        if long_text.single or (not long_text.cast and bark.fits(spoken)):
            say_utterance(bark, words, output, sampling, long_text, save_voice)
        else:
            _check_journal(output)
            _refuse(loading.low_memory, "--low-memory is for a single utterance, and this text is longer: add --single")
            say_passages(bark, words, output, sampling, long_text, save_voice)


def _spoken(bark: Bark, text: str, output: Output, sampling: Sampling, long_text: LongText) -> str:
    """The words of a text that is no script, which are shown if that was asked for; of a script, what is written."""
    if long_text.cast:
        return text
    normalize = for_single(sampling.normalize) if long_text.single else sampling.normalize
    spoken = bark.words(text, voice=sampling.voice, normalize=normalize)
    output.show(spoken)
    if normalize == AUTO and any(map(str.isdigit, text)) and (missing() or not language_of(sampling.voice)):
        output.say(about_numbers(None if missing() else "give a language, such as --normalize en"))
    return spoken


def _refuse(wrong: bool, usage: str) -> None:
    if wrong:
        raise click.UsageError(usage)


def _check_outputs(output: Output, save_voice: Path | None, subtitles: Path | None) -> None:
    """Refuse what cannot be written, before the work."""
    check_speed(output.speed)
    if output.output == "-" and sys.stdout is None:
        raise click.ClickException("standard output is closed: give -o FILE")
    if output.file is not None:
        try:
            audio_format = format_of(output.file)
        except BarkError as error:
            raise click.BadParameter(str(error), param_hint="--output") from None
        if output.sample_rate is not None:
            try:
                audio_format.check_rate(output.sample_rate)
            except BarkError as error:
                raise click.BadParameter(str(error), param_hint="--sample-rate") from None
        audio_format.check_installed()
        check_writable(output.file, "--output")
    if save_voice is not None:
        check_writable(save_voice, "--save-voice", [".npz"])
    if subtitles is not None:
        check_writable(subtitles, "--subtitles", list(SUBTITLES))


def _check_journal(output: Output) -> None:
    """Refuse an audio file whose journal could not have its name, which is longer."""
    if output.journal is None:
        return
    try:
        output.journal.exists()
    except OSError as error:
        raise click.BadParameter(f"{output.journal}: {reason(error)}", param_hint="--output") from None


def _argument(text: str | None, stream: bool) -> str | Iterator[str]:
    """The text of the argument; or of standard input, if that is "-" or was left out. A stream reads it as it comes."""
    if (text is None or text == "-") and stream and sys.stdin is not None:
        return piped_text()
    if text is None or text == "-":
        piped = _read(Path("-"))
        _refuse(text is None and not piped, _NO_TEXT)
        return piped
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise click.ClickException("TEXT is not UTF-8: use a terminal in UTF-8, or give a file with --file")
    if os.path.isfile(text):  # noqa: PTH113  Path.is_file raises for a text that is too long
        warn(f"TEXT is the name of a file, and the name is spoken: to speak what is in it, give --file {text}")
    return text


def _prose(path: Path, long_text: LongText, quiet: bool) -> str:
    """The words of a file, without what is not to be spoken. A note tells what that is."""
    name = "" if str(path) == "-" else path.name
    prose = read_text(_read(path), long_text.text_format, name=name, script=bool(long_text.cast))
    if not prose.is_as_written and not quiet:
        hint = "; --format text speaks all of it" if long_text.text_format == "auto" else ""
        click.echo(f"bark-onnx: {one_line(name or 'the text')}: {prose.note}{hint}", err=True)
    return prose.text


def _read(path: Path) -> str:
    """The text of a file, or of standard input for the path "-".

    It is UTF-8, or UTF-16 if it begins with a byte order mark of UTF-16.
    """
    standard_input = str(path) == "-"
    name = "standard input" if standard_input else path
    if standard_input and sys.stdin is None:
        raise click.ClickException("standard input is closed: give the text as an argument, or --file FILE")
    try:
        with nullcontext(sys.stdin.buffer) if standard_input else path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror}") from None
    if len(content) > MAX_TEXT_BYTES:
        raise click.ClickException(f"{name} is over {MAX_TEXT_BYTES >> 20} MiB: divide it")
    refuse_binary(content, str(name))
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding, shown = ("utf-16", "UTF-16") if utf_16 else ("utf-8-sig", "UTF-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{name} is not {shown} text (byte {error.start}): convert it first") from None
