"""`bark-onnx say`: what it accepts. The work is in `utterance` and in `narrate`."""

import codecs
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click

from ..audio.files import format_of
from ..errors import BarkError, one_line, reason, warn
from ..texts.formats import read_text, refuse_binary
from .group import check_writable
from .narrate import SUBTITLES, journal_of, narrate
from .options import Loading, LongText, Output, Sampling, Streaming, with_options
from .utterance import say_once, say_streamed

NANO = (
    "this is nano, the small demonstration voice that comes with bark-onnx; for Bark's own voices, once: "
    "bark-onnx export suno/bark-small DIR --precision int8, and then say --bundle DIR"
)
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

    TEXT is one utterance of at most about 15 seconds. A longer text (--file, --history, --cast or --subtitles) is split
    into passages. If that is interrupted, run the same command again to continue.
    """
    is_long = text_file is not None or long_text.is_asked_for
    path = output.output or (None if streaming.stream else "out.wav")
    output = replace(output, output="-" if path == "/dev/stdout" else path)
    _refuse(text is not None and text_file is not None, _NO_TEXT)
    _refuse(text is None and text_file is None and (sys.stdin is None or sys.stdin.isatty()), _NO_TEXT)
    _refuse(output.raw and output.output != "-", "--raw is for -o -")
    _refuse(is_long and save_voice is not None, "--save-voice is for a single utterance")
    _refuse(
        loading.low_memory and (is_long or streaming.stream), "--low-memory is for a single utterance, not streamed"
    )
    _refuse(
        not is_long and long_text.retries is not None,
        "--retries is for a long text (--file, --history, --cast or --subtitles)",
    )
    _refuse(
        streaming.is_tuned and (is_long or not streaming.stream),
        "--chunk-seconds, --fine-context, --exact and --buffer are for --stream",
    )
    _refuse(long_text.text_format != "auto" and text_file is None, "--format is for a text of --file")
    _check_outputs(output, save_voice, long_text.subtitles)
    if is_long and output.file is not None:
        _check_journal(output.file)
    try:
        sampling.options(), streaming.options(), long_text.voices(), long_text.options()
    except BarkError as error:
        raise click.UsageError(str(error)) from None
    words = _prose(text_file, long_text, output.quiet) if text_file is not None else _argument(text)
    if loading.bundle is None and not output.quiet:
        click.echo(f"bark-onnx: {NANO}", err=True)
    with loading.load(progress=not output.quiet) as bark:
        if is_long:
            narrate(bark, words, output, sampling, long_text)
        elif streaming.stream:
            say_streamed(bark, words, output, sampling, streaming, save_voice)
        else:
            say_once(bark, words, output, sampling, save_voice)


def _refuse(wrong: bool, usage: str) -> None:
    if wrong:
        raise click.UsageError(usage)


def _check_outputs(output: Output, save_voice: Path | None, subtitles: Path | None) -> None:
    """Refuse what cannot be written, before the work."""
    if output.output == "-" and sys.stdout is None:
        raise click.ClickException("standard output is closed: give -o FILE")
    if output.file is not None:
        try:
            format_of(output.file)
        except BarkError as error:
            raise click.BadParameter(str(error), param_hint="--output") from None
        check_writable(output.file, "--output")
    if save_voice is not None:
        check_writable(save_voice, "--save-voice", [".npz"])
    if subtitles is not None:
        check_writable(subtitles, "--subtitles", list(SUBTITLES))


def _check_journal(output: Path) -> None:
    """Refuse an audio file whose journal could not have its name, which is longer."""
    try:
        journal_of(output).exists()
    except OSError as error:
        raise click.BadParameter(f"{journal_of(output)}: {reason(error)}", param_hint="--output") from None


def _argument(text: str | None) -> str:
    """The text of the argument; or of standard input, if that is "-" or was left out."""
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
