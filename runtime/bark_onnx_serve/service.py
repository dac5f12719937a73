"""What every protocol shares: one model, one engine, and the speech of a request from its beginning to its end."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from bark_onnx import (
    AudioChunk,
    Bark,
    GenerationOptions,
    NarrationOptions,
    QueueFull,
    SpeechStream,
    StreamOptions,
)
from bark_onnx.long.spoken import PassageReport
from bark_onnx.model.tokenizer import Tokenizer
from bark_onnx.normalizing.choice import AUTO, chosen_language
from bark_onnx.splitting.passages import estimate_seconds

from .backlog import Backlog, Entry
from .settings import Settings
from .voice_directory import VoiceDirectory
from .voices import VoiceBook


@dataclass(frozen=True)
class Words:
    """What to say, and how.

    Args:
        text: of any length; an asynchronous iterator gives it piece by piece.
        voice: a name that the VoiceBook has.
        options, seed: as for `Bark.generate`.
        whole: nobody listens before the end, so that the engine may gather the work with that of others.
        normalize: as for `Bark.generate`.
        speed: how fast the speech will be played. The service makes it at speed 1.
    """

    text: str | AsyncIterable[str]
    voice: str
    options: GenerationOptions
    seed: int | None = None
    whole: bool = False
    normalize: str = AUTO
    speed: float = 1.0


class Busy(QueueFull):
    """The server has too much to do.

    Args:
        retry_after: seconds after which to try again.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Service:
    """A model and an engine that all requests share.

    Args:
        bark: is closed together with the service.
    """

    def __init__(self, bark: Bark, settings: Settings) -> None:
        self.bark = bark
        self.settings = settings
        self.voices = VoiceBook(bark, settings.voice_aliases, _voice_directory(bark, settings))
        self.backlog = Backlog(settings.max_seconds_queued)
        self.worker = bark.worker(slots=settings.slots, max_waiting=settings.max_queue)
        self._tokenizer = Tokenizer(bark.bundle.tokenizer, bark.vocabulary)

    async def begin(self, words: Words) -> "Speaking":
        """Put a request into the engine.

        Raises:
            Busy: too many requests wait.
            VoiceError: there is no such voice.
            WorkerError: the engine has died.
            TextError: there is nothing to say in the text.
        """
        expected = estimate_seconds(words.text) if isinstance(words.text, str) else 0.0
        if self.backlog.refuses(expected):
            raise self._busy("too much speech is waiting to be made", expected)
        entry = self.backlog.enter(expected)
        if not isinstance(words.text, str):
            words = replace(words, text=_counted(words.text, entry))
        # In a thread: a long text takes milliseconds to split, and a voice is read from a file.
        beginning = asyncio.ensure_future(asyncio.to_thread(self._begin, words))
        try:
            return Speaking(await asyncio.shield(beginning), entry)
        except BaseException as error:
            entry.leave()
            if isinstance(error, asyncio.CancelledError):
                beginning.add_done_callback(_close_result)
            if isinstance(error, QueueFull):
                raise self._busy(str(error), expected) from None
            raise

    def _begin(self, words: Words) -> SpeechStream:
        if not isinstance(words.text, str) and self.worker.waiting >= self.settings.max_queue:
            # The worker cannot refuse it: the first passage is submitted later, when a sentence has come.
            raise QueueFull(f"{self.settings.max_queue} requests are waiting already: try again later")
        voice = self.voices.preset(words.voice)
        streaming = StreamOptions(exact=words.whole, playback_speed=words.speed)
        return self.bark.stream(
            words.text,
            voice=voice,
            options=words.options,
            seed=words.seed,
            streaming=streaming,
            normalize=chosen_language(words.normalize, self.voices.meaning(words.voice)),
            narration=NarrationOptions(),  # a short text of which nothing is said is spoken again too
            worker=self.worker,
        )

    def _busy(self, message: str, expected: float) -> Busy:
        return Busy(message, self.backlog.retry_after(expected))

    def count_tokens(self, text: str) -> int:
        """How many text tokens a text has."""
        return self._tokenizer.count(text)

    @property
    def ready(self) -> bool:
        """Whether the engine works."""
        return self.worker.alive

    def close(self) -> None:
        """Stop the engine, and free the model."""
        self.worker.close(finish=False)
        self.bark.close()


class Speaking:
    """The speech of one request. Iterate over it with `async for`, in a `with` block: the work stops at its end."""

    def __init__(self, source: SpeechStream, entry: Entry) -> None:
        self._source = source
        self._entry = entry
        self.seed = source.seed
        self.seconds = 0.0  # of audio so far
        self.samples = 0

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        async for chunk in self._source:
            self.seconds += chunk.duration
            self.samples += len(chunk.waveform)
            self._entry.made(chunk.duration)
            yield chunk

    @property
    def passages(self) -> Sequence[PassageReport]:
        """What was said when, in the passages that are complete."""
        return self._source.passages

    @property
    def current(self) -> PassageReport | None:
        """The passage that is being given out, as far as it is known; the rest of its times is estimated."""
        return self._source.current

    def close(self) -> None:
        self._entry.leave()
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _counted(pieces: AsyncIterable[str], entry: Entry) -> AsyncIterator[str]:
    """Pass on the pieces of a text, and count the speech that they will be."""
    async for piece in pieces:
        entry.expect(estimate_seconds(piece))
        yield piece


def _close_result(beginning: "asyncio.Future[SpeechStream]") -> None:
    """Stop what was begun for a request that has ended meanwhile."""
    if beginning.exception() is None:
        beginning.result().close()


def _voice_directory(bark: Bark, settings: Settings) -> VoiceDirectory | None:
    if settings.voices is None:
        return None
    directory = VoiceDirectory(settings.voices, lambda preset: preset.check(bark.vocabulary))
    if settings.allow_voice_upload:
        directory.check_writable()
    return directory
