"""The options of `say` in groups. Each group is a dataclass that declares its options, and that the work gets."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Protocol

import click

from ..audio.tempo import FASTEST, SLOWEST
from ..engine.stream import StreamOptions
from ..long.guards import Guards
from ..long.plan import HISTORIES, History, NarrationOptions
from ..model.bundle import Bundle
from ..model.voice import open_voice
from ..normalizing.choice import AUTO, CHOICES
from ..pipeline import Bark
from ..splitting.script import parse_cast
from ..stages.options import PROFILES, GenerationOptions
from ..texts.formats import FORMATS, Format
from .group import device_options

_TEMPERATURE = click.FloatRange(0, 100)


class Group(Protocol):
    """A dataclass whose fields are the values of its OPTIONS."""

    OPTIONS: ClassVar[list[Any]]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init__(self, **values: Any) -> None: ...


def with_options(**groups: type[Group]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of several groups to a command, which gets an instance of each under the name given here."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def grouped(**given: Any) -> None:
            for name, group in groups.items():
                given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
            command(**given)

        for group in reversed(groups.values()):
            for option in reversed(group.OPTIONS):
                grouped = option(grouped)
        return grouped

    return decorate


@dataclass(frozen=True)
class Output:
    """Where the audio goes, and whether the command reports its progress.

    Args:
        output: the path of an audio file; "-" is standard output, None a player.
        raw: write samples without a WAV header.
        sample_rate: of the audio that is written, in Hz; None for the model's.
        speed: how fast the speech is in what is written or played; 1 is as it was generated.
        show_text: show the words that are spoken.
        quiet: neither progress nor summary.
    """

    output: str | None
    raw: bool
    sample_rate: int | None
    speed: float
    show_text: bool
    quiet: bool

    @property
    def journal(self) -> Path | None:
        """The directory in which finished passages are kept until the audio file is complete; None without a file."""
        return None if self.file is None else Path(f"{self.file}.partial")

    OPTIONS: ClassVar[list[Any]] = [
        click.option(
            "-o",
            "--output",
            help="Audio file to write (.wav, .flac, .ogg, .opus, .mp3, .aac or .pcm); - is WAV on standard output.  "
            "[default: out.wav; with --stream, play it]",
        ),
        click.option("--raw", is_flag=True, help="With -o -: write 16-bit samples without a WAV header."),
        click.option(
            "--sample-rate",
            type=click.IntRange(8_000, 192_000),
            metavar="HZ",
            help="Sample rate of the file or of -o -, such as 8000 for telephones.  [default: the model's]",
        ),
        click.option(
            "--speed",
            type=click.FloatRange(SLOWEST, FASTEST),
            default=1.0,
            show_default=True,
            help="How fast to speak, with the same pitch; 2 is twice as fast.",
        ),
        click.option("--show-text", is_flag=True, help="Show on standard error which words are spoken."),
        click.option("-q", "--quiet", is_flag=True, help="Show warnings and errors only."),
    ]

    @property
    def file(self) -> Path | None:
        """The path of the audio file, if there is to be one."""
        return None if self.output in (None, "-") else Path(str(self.output))

    def tell(self, line: str) -> None:
        """Show a line to a person at a terminal."""
        if not self.quiet and sys.stderr.isatty():
            click.echo(line, err=True)

    def show(self, words: str) -> None:
        """Show words that are spoken, if that was asked for."""
        if self.show_text:
            click.echo(words, err=True)

    def say(self, line: str) -> None:
        """Show a line, also where nobody is at a terminal."""
        if not self.quiet:
            click.echo(f"bark-onnx: {line}", err=True)

    def summarize(self, audio: float, seconds: float, seed: int, kept: float = 0.0, *, waited: bool = False) -> None:
        """Show how many seconds of audio took how many seconds to make, and the seed that makes them again.

        Args:
            audio: seconds of the whole, as it was generated.
            kept: seconds of it that an interrupted run had made.
            waited: the seconds include waiting for text.
        """
        audio, kept = audio / self.speed, kept / self.speed
        made = audio - kept
        factor = f" (RTF {seconds / made:.2f})" if made > 0 and not waited else ""  # a model may say nothing at all
        where = "standard output" if self.output == "-" else self.output or "played"
        of_it = f", {kept:.2f} s of it kept from the interrupted run; {made:.2f} s made" if kept else ""
        self.say(f"{where}: {audio:.2f} s of audio{of_it} in {seconds:.2f} s{factor}; seed {seed}")


@dataclass(frozen=True)
class Sampling:
    """Who speaks, how a text is read, and how tokens are sampled."""

    voice: str | None
    seed: int | None
    text_temperature: float
    coarse_temperature: float
    fine_temperature: float
    top_k: int | None
    top_p: float | None
    min_eos_p: float
    profile: str
    max_seconds: float | None
    normalize: str

    OPTIONS: ClassVar[list[Any]] = [
        click.option("--voice", help="Name of a voice (see `bark-onnx voices`), or the path of an .npz file."),
        click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="The same number gives the same speech."),
        click.option("--text-temperature", type=_TEMPERATURE, default=0.7, show_default=True,
                     help="Randomness of what is said and how; 0 always takes the most probable token."),
        click.option("--coarse-temperature", type=_TEMPERATURE, default=0.7, show_default=True,
                     help="Randomness of the sound."),
        click.option("--fine-temperature", type=_TEMPERATURE, default=0.5, show_default=True,
                     help="Randomness of the sound's details."),
        click.option("--top-k", type=click.IntRange(1), help="Sample from this many of the most probable tokens."),
        click.option("--top-p", type=click.FloatRange(0, 1, min_open=True),
                     help="Sample from the most probable tokens that have this probability together."),
        click.option("--min-eos-p", type=click.FloatRange(0, 1), default=0.2, show_default=True,
                     help="Stop when the end token has this probability; 0: only when it is sampled."),
        click.option("--profile", type=click.Choice(list(PROFILES)), default="reference", show_default=True,
                     help="reference: as suno-ai/bark; fast: fewer and shorter windows, which gives other tokens."),
        click.option("--max-seconds", type=click.FloatRange(0, min_open=True),
                     help="Stop when an utterance, or a passage of a longer text, gets longer than this."),
        click.option("--normalize", type=click.Choice(CHOICES), default=AUTO, show_default=True, metavar="LANGUAGE",
                     help="Read numbers, dates, symbols and the like as words of this language, such as en. auto: that "
                     "of the voice's name. off: as they are written. A language needs the extra `text`."),
    ]  # fmt: skip

    def options(self) -> GenerationOptions:
        """Return what the API takes. Raises BarkError."""
        return GenerationOptions(
            text_temperature=self.text_temperature,
            coarse_temperature=self.coarse_temperature,
            fine_temperature=self.fine_temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_eos_p=self.min_eos_p or None,
            max_seconds=self.max_seconds,
            **PROFILES[self.profile],
        )


@dataclass(frozen=True)
class Streaming:
    """Whether and how the audio of an utterance is passed on while it is made."""

    stream: bool
    chunk_seconds: float | None
    fine_context: int | None
    exact: bool
    buffer: float

    OPTIONS: ClassVar[list[Any]] = [
        click.option("--stream", is_flag=True, help="Play or write the audio while it is made."),
        click.option("--chunk-seconds", type=click.FloatRange(0, 5, min_open=True),
                     help="With --stream: the longest chunk.  [default: 1]"),
        click.option("--fine-context", type=click.IntRange(0),
                     help="With --stream: earlier frames (1/75 s each) that the fine model reads with a chunk.  "
                     "[default: 128]"),
        click.option("--exact", is_flag=True, help="With --stream: the same audio as without it, in later chunks."),
        click.option("--buffer", type=click.FloatRange(0), default=0.0,
                     help="With --stream: seconds to wait after the first chunk, so that playing has no gaps."),
    ]  # fmt: skip

    @property
    def is_tuned(self) -> bool:
        """Whether any option was given that only a stream has."""
        return bool(self.chunk_seconds or self.fine_context is not None or self.exact or self.buffer)

    def options(self) -> StreamOptions:
        """Return what the API takes. Raises BarkError."""
        given: dict[str, Any] = {"chunk_seconds": self.chunk_seconds, "fine_context": self.fine_context}
        return StreamOptions(**{name: value for name, value in given.items() if value is not None}, exact=self.exact)


@dataclass(frozen=True)
class LongText:
    """How a text is spoken passage by passage."""

    text_format: Format
    history: History | None
    cast: tuple[str, ...]
    subtitles: Path | None
    retries: int | None
    single: bool

    OPTIONS: ClassVar[list[Any]] = [
        click.option("--format", "text_format", type=click.Choice(FORMATS), default="auto", show_default=True,
                     help="How the text of --file is written; text: speak it as it is. auto goes by its name and its "
                     "content."),
        click.option("--history", type=click.Choice(HISTORIES),
                     help="For a long text: continue each passage from the voice (fixed), from the passage before "
                     "(rolling) or from both (hybrid).  [default: fixed]"),
        click.option("--cast", multiple=True, metavar="NAME=VOICE",
                     help="For a script with lines of `NAME: text`: the voice of a speaker; repeatable."),
        click.option("--subtitles", type=click.Path(path_type=Path),
                     help="Write what is said when, as .srt, .vtt or .json."),
        click.option("--retries", type=click.IntRange(0, 100),
                     help="For a long text: how often to repeat a passage that went wrong.  [default: 2]"),
        click.option("--single", is_flag=True,
                     help="One utterance, as the reference speaks it: cut after 256 tokens and about 15 seconds."),
    ]  # fmt: skip

    def voices(self) -> dict[str, str] | None:
        """Return the voice of each speaker; None if the text is no script. Raises BarkError."""
        return parse_cast(self.cast) if self.cast else None

    def options(self) -> NarrationOptions:
        """Return what the API takes."""
        return NarrationOptions(guards=Guards() if self.retries is None else Guards(retries=self.retries))


@dataclass(frozen=True)
class Loading:
    """Which bundle to load, and where it runs."""

    bundle: Path | None
    low_memory: bool
    device: str
    threads: int | None
    provider_options: dict[str, str]

    OPTIONS: ClassVar[list[Any]] = [
        click.option("--bundle", type=click.Path(path_type=Path),
                     help="Model to speak with: a directory that `bark-onnx export` made, or ORG/NAME on the Hugging "
                     "Face hub.  [default: nano, a small demonstration model]"),
        click.option("--low-memory", is_flag=True,
                     help="Keep only one network in memory at a time: less memory, slower start."),
        device_options,
    ]  # fmt: skip

    def load(self, *, progress: bool, voices: Iterable[str | None]) -> Bark:
        """Load the bundle.

        Args:
            voices: they are checked before the networks are loaded.

        Raises BarkError.
        """
        bundle = Bundle.open(self.bundle, progress=progress)
        for voice in voices:
            if voice is not None:
                open_voice(voice, bundle.voices).check(bundle.manifest.vocabulary)
        return Bark.load(
            bundle,
            device=self.device,
            threads=self.threads,
            provider_options=self.provider_options,
            low_memory=self.low_memory,
            progress=progress,
        )
