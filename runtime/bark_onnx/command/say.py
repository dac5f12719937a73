"""`bark-onnx say`: an utterance, a stream, or a long text, into a file, a pipe or the loudspeakers."""

import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import click

from ..audio.files import FORMATS, encode
from ..engine.stream import AudioChunk, StreamOptions, buffering
from ..errors import BarkError, BarkWarning
from ..files import replacing
from ..long.guards import Guards
from ..long.journal import Journal
from ..long.narration import HISTORIES, History, NarrationOptions, SpokenPassage
from ..long.script import parse_cast
from ..long.subtitles import to_json, to_srt
from ..pipeline import Bark
from ..stages.options import PROFILES, GenerationOptions
from .group import check_writable, device_options
from .output import held_back, open_output

NANO = (
    "this is nano, the small demonstration voice that comes with bark-onnx; for Bark's own, once: "
    "bark-onnx export suno/bark-small DIR --precision int8, and then say --bundle DIR"
)
JOURNAL_SUFFIX = ".partial"
MAX_TEXT_BYTES = 64 << 20
_SUBTITLES = {".srt": to_srt, ".json": to_json}


@dataclass(frozen=True)
class Task:
    """What `say` was asked for, whichever way it is spoken."""

    text: str
    output: str | None  # None: a player
    raw: bool
    voice: str | None
    seed: int | None
    options: GenerationOptions
    save_voice: Path | None
    quiet: bool

    def tell(self, line: str) -> None:
        """A line for a person who is watching."""
        if not self.quiet and sys.stderr.isatty():
            click.echo(line, err=True)

    def finish(self, save: Callable[[Path], None] | None, seed: int | None, audio: float, seconds: float) -> None:
        """Keep the voice, if it is wanted, and sum up."""
        if self.save_voice is not None and save is not None:
            save(self.save_voice)
        known = "" if seed is None else f", seed {seed}"
        factor = f" (RTF {seconds / audio:.2f})" if audio else ""  # a model may say nothing at all
        self.tell(f"{self.output or 'played'}: {audio:.2f} s of audio in {seconds:.2f} s{factor}{known}")


@click.command()
@click.argument("text", required=False)
@click.option(
    "-f", "--file", "text_file", type=click.Path(path_type=Path), help="Read the text, of any length, from here."
)
@click.option(
    "-o",
    "--output",
    help="Audio file by suffix (wav, flac, ogg, mp3), or - for WAV on standard output.  [default: out.wav; with "
    "--stream, a player]",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="Directory that `bark-onnx export` made.  [default: nano, the small voice that comes with the package]",
)
@click.option("--voice", help="A voice of the bundle's, or the path of an .npz file.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="Makes the same tokens again.")
@click.option("--text-temperature", type=click.FloatRange(0, 100), default=0.7, show_default=True, help="0 is argmax.")
@click.option("--coarse-temperature", type=click.FloatRange(0, 100), default=0.7, show_default=True)
@click.option("--fine-temperature", type=click.FloatRange(0, 100), default=0.5, show_default=True)
@click.option("--top-k", type=click.IntRange(1))
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True))
@click.option(
    "--min-eos-p",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Stop at this probability of the end; 0: only when it is sampled.",
)
@click.option("--profile", type=click.Choice(list(PROFILES)), default="reference", show_default=True,
              help="fast: fewer and shorter windows, other tokens.")  # fmt: skip
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), help="Stop when the speech gets longer.")
@click.option("--save-voice", type=click.Path(path_type=Path), help="Keep what was spoken as a voice (.npz).")
@click.option("--stream", is_flag=True, help="Give the audio away while it is made.")
@click.option("--raw", is_flag=True, help="With -o -: 16-bit samples without a WAV header.")
@click.option("--chunk-seconds", type=click.FloatRange(0, 5, min_open=True), help="Of a streamed chunk.  [default: 1]")
@click.option("--fine-context", type=click.IntRange(0), help="Frames seen before a streamed chunk.  [default: 128]")
@click.option("--exact", is_flag=True, help="Stream the very codes of an utterance that is not streamed, later.")
@click.option("--buffer", type=click.FloatRange(0), default=0.0, help="Seconds to wait after the first audio.")
@click.option("--history", type=click.Choice(HISTORIES), help="What a passage of a long text hears before it.")
@click.option("--cast", multiple=True, metavar="NAME=VOICE", help="A speaker's voice; the text is a script.")
@click.option("--subtitles", type=click.Path(path_type=Path), help="What is said when, as .srt or .json.")
@click.option("--retries", type=click.IntRange(0, 100), default=2, show_default=True, help="Of a passage gone wrong.")
@click.option("--low-memory", is_flag=True, help="Have one network in memory at a time; loads them for each utterance.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
@device_options
def say(
    text: str | None, text_file: Path | None, output: str | None, bundle: Path | None, voice: str | None,
    seed: int | None, save_voice: Path | None, stream: bool, raw: bool, chunk_seconds: float | None,
    fine_context: int | None, exact: bool, buffer: float, history: History | None, cast: tuple[str, ...],
    subtitles: Path | None, retries: int, low_memory: bool, quiet: bool, device: str, threads: int | None,
    provider_options: dict[str, str], profile: str, min_eos_p: float, **sampling: Any,
) -> None:  # fmt: skip
    """Speak TEXT into an audio file. TEXT - reads standard input.

    A long text (--file, --history, --cast or --subtitles) is spoken passage by passage; interrupted, the same command
    goes on where it stopped.
    """
    if (text is None) == (text_file is None):
        raise click.UsageError("give either TEXT or --file FILE")
    if raw and output != "-":
        raise click.UsageError("--raw is for -o -")
    output = output or (None if stream else "out.wav")
    is_long = bool(text_file or history or cast or subtitles)
    if is_long and save_voice is not None:
        raise click.UsageError("--save-voice is for a single utterance")
    if low_memory and (is_long or stream):
        raise click.UsageError("--low-memory is for a single utterance")
    chunks: dict[str, Any] = {"chunk_seconds": chunk_seconds, "fine_context": fine_context, "exact": exact or None}
    if (is_long or not stream) and (buffer or any(value is not None for value in chunks.values())):
        raise click.UsageError("--chunk-seconds, --fine-context, --exact and --buffer are for --stream")
    if output not in (None, "-"):
        check_writable(Path(output), "--output", list(FORMATS))
    if save_voice is not None:
        check_writable(save_voice, "--save-voice", [".npz"])
    if subtitles is not None:
        check_writable(subtitles, "--subtitles", list(_SUBTITLES))
    try:
        options = GenerationOptions(min_eos_p=min_eos_p or None, **PROFILES[profile], **sampling)
        streaming = StreamOptions(**{name: value for name, value in chunks.items() if value is not None})
        voices = parse_cast(cast) if cast else None
    except BarkError as error:
        raise click.UsageError(str(error)) from None
    if text_file is not None:
        words = _read(text_file)
    else:
        words = _read(Path("-"), errors="replace") if text == "-" else str(text)
    task = Task(words, output, raw, voice, seed, options, save_voice, quiet)
    if bundle is None and not quiet:
        click.echo(f"bark-onnx: {NANO}", err=True)
    bark = Bark.load(
        bundle, device=device, threads=threads, provider_options=provider_options, low_memory=low_memory,
        progress=not quiet,
    )  # fmt: skip
    if is_long:
        narration = NarrationOptions(guards=Guards(retries=retries))
        _say_long(bark, task, history or "fixed", voices, narration, subtitles)
    elif stream:
        _say_stream(bark, task, streaming, buffer)
    else:
        _say_once(bark, task)


def _read(path: Path, errors: Literal["strict", "replace"] = "strict") -> str:
    """The text of a file, or of standard input, which is called "-"."""
    standard_input = str(path) == "-"
    name = "standard input" if standard_input else path
    try:
        with nullcontext(sys.stdin.buffer) if standard_input else path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror}") from None
    if len(content) > MAX_TEXT_BYTES:
        raise click.ClickException(f"{name} is over {MAX_TEXT_BYTES >> 20} MiB: divide it")
    try:
        return content.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{name} is not UTF-8 text (byte {error.start}): convert it first") from None


def _say_once(bark: Bark, task: Task) -> None:
    start = perf_counter()
    speech = bark.generate(task.text, voice=task.voice, options=task.options, seed=task.seed)
    if task.output == "-":
        wav = encode(speech.waveform, speech.sample_rate)
        sys.stdout.buffer.write(wav[len(wav) - 2 * len(speech.waveform) :] if task.raw else wav)
        sys.stdout.buffer.flush()
    else:
        speech.save(str(task.output))
    task.finish(speech.tokens.save, speech.seed, speech.duration, perf_counter() - start)


def _say_stream(bark: Bark, task: Task, streaming: StreamOptions, buffer: float) -> None:
    start = perf_counter()
    arrivals: list[float] = []
    times: list[AudioChunk] = []  # without their samples
    stream = bark.stream(task.text, voice=task.voice, options=task.options, seed=task.seed, streaming=streaming)
    with open_output(task.output, bark.sample_rate, raw=task.raw) as write, stream:
        buffered, flush = held_back(write, buffer)
        for chunk in stream:
            arrivals.append(perf_counter() - start)
            times.append(replace(chunk, waveform=chunk.waveform[:0]))
            buffered(chunk.waveform)
        flush()
    speech = stream.speech
    assert speech is not None  # or the stream would have raised
    wait = buffering(times, arrivals)
    advice = f"--buffer {wait:.1f} plays it without a gap" if wait > 0.05 else "no gap, even unbuffered"
    task.tell(f"first audio after {arrivals[0]:.2f} s; {advice}")
    task.finish(speech.tokens.save, speech.seed, speech.duration, perf_counter() - start)


def _say_long(
    bark: Bark,
    task: Task,
    history: History,
    cast: dict[str, str] | None,
    narration: NarrationOptions,
    subtitles: Path | None,
) -> None:
    start, cues, journal = perf_counter(), [], None
    if task.output not in (None, "-"):
        journal = Path(f"{task.output}{JOURNAL_SUFFIX}")
    spoken = bark.generate_long(
        task.text, voice=task.voice, options=task.options, seed=task.seed,
        history=history, cast=cast, narration=narration, journal=journal,
    )  # fmt: skip
    try:
        with open_output(task.output, bark.sample_rate, raw=task.raw) as write:
            for number, passage in enumerate(spoken, 1):
                write(passage.waveform)
                cues.append(passage.cue)
                _report(number, passage)
    except KeyboardInterrupt:
        if journal is not None:
            task.tell(f"stopped after {len(cues)} passages; the same command goes on from there")
        raise
    if subtitles is not None:
        with replacing(subtitles) as temporary:
            temporary.write_text(_SUBTITLES[subtitles.suffix.lower()](cues), encoding="utf-8")
    if journal is not None:
        Journal.remove(journal)
    task.finish(None, None, cues[-1].end, perf_counter() - start)


def _report(number: int, passage: SpokenPassage) -> None:
    """Say what went wrong, whether or not another attempt has mended it."""
    words = passage.text if len(passage.text) <= 40 else f"{passage.text[:37]}..."
    if passage.problems:
        what = "; ".join(map(str, passage.problems))
        warnings.warn(
            f"passage {number} ({words}), best of {passage.attempts} attempts: {what}", BarkWarning, stacklevel=1
        )
    elif passage.rejected:
        what = "; ".join(map(str, passage.rejected))
        warnings.warn(
            f"passage {number} ({words}) was spoken {passage.attempts} times: {what}", BarkWarning, stacklevel=1
        )
