"""Speech that is generated while its chunks are taken: an utterance, a text of any length, or one that still comes."""

import asyncio
import os
import weakref
from _thread import start_new_thread
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from threading import Event, Lock, RLock
from typing import NamedTuple

import numpy as np

from ..arrays import Waveform
from ..audio.tempo import plain_speed
from ..engine.speech import Speech
from ..engine.stream import AudioChunk
from ..engine.task import wait_for
from ..errors import BarkError
from ..model.voice import VoicePreset
from ..numbers import real
from ..splitting.passages import estimate_seconds
from ..subtitles.formats import at_speed
from .feeding import TextFeed, feed_from_loop
from .joining import Joiner
from .narration import trimmer_of
from .narrator import Narrator, Prepared
from .plan import Plan, passage_seed
from .spoken import PassageReport

LONGEST_WAIT_TO_DROP = 1.0  # seconds that a thread waits for the end of a stream that it has dropped


class Said(NamedTuple):
    """A sentence that has been spoken, at least in part.

    Args:
        text: the whole sentence.
        start, end: seconds from the beginning of the speech; estimates within a passage.
        complete: whether it was spoken to its end.
        speaker: who said it, in a script.
    """

    text: str
    start: float
    end: float
    complete: bool
    speaker: str | None


class SpeechStream(Iterator[AudioChunk]):
    """Iterate over it for chunks of audio, with `for` or with `async for`. Make one with `Bark.stream`.

    The work goes on in the background while you use a chunk, so that the next one is ready in time: to the end of an
    utterance, and `NarrationOptions.lookahead` passages ahead in a longer text. Close the stream to stop the work, use
    it in a `with` block, or drop it.

    Args:
        release: is called once, when the stream ends or is dropped; then nothing of it is in the engine.
        feed: what `flush` flushes; None if the text is complete.
        pieces: an asynchronous iterator of text, read while the stream is iterated with `async for`.
    """

    def __init__(
        self,
        narrator: Narrator,
        sample_rate: int,
        release: Callable[[], None],
        feed: TextFeed | None = None,
        pieces: AsyncIterable[str] | None = None,
    ) -> None:
        self._process = os.getpid()
        self._narrator = narrator
        self._release = release
        self._plan = narrator.plan
        self._rate = sample_rate
        self._feed = feed
        self._pieces = pieces
        self._reader: asyncio.Task[None] | None = None  # of the pieces
        self._lock = Lock()  # threads that take chunks of one stream wait for each other
        self._state = RLock()  # guards the fields below, which `stop` reads while another thread takes chunks
        self._joiner = Joiner(sample_rate)
        self._passage: _PassageInHand | None = None  # the passage whose chunks are being taken
        self._samples = 0  # that have been taken
        self._passages: list[PassageReport] = []
        self._dropped = weakref.finalize(self, _drop, narrator, release)
        self._dropped.atexit = False  # then the worker cancels its work

    @property
    def seed(self) -> int:
        """The seed that generates the same tokens again."""
        return self._plan.seed

    @property
    def speech(self) -> Speech | None:
        """The whole result of a text that is one utterance, once the last chunk has come; None for a longer text."""
        return self._narrator.speech

    @property
    def tokens(self) -> VoicePreset | None:
        """The generation of the first passage, usable as a voice, once it is complete."""
        return self._narrator.tokens

    @property
    def passages(self) -> tuple[PassageReport, ...]:
        """The passages whose last chunk has been taken."""
        return tuple(self._passages)

    @property
    def current(self) -> PassageReport | None:
        """The passage whose chunks are being taken, so far; its sounds go on for as long as is expected of its text."""
        with self._state:
            return None if self._passage is None else _continued(self._passage.report())

    @property
    def expected_seconds(self) -> float:
        """About how long the speech will be, as far as the text is known."""
        return self._plan.expected_seconds

    def flush(self) -> None:
        """Speak what has come of a text that comes piece by piece, although its last sentence may not be complete."""
        if self._feed is None:
            raise BarkError("flush is for a text that comes piece by piece: this one is complete")
        self._feed.flush()

    def stop(self, heard: float | None = None, *, speed: float = 1.0) -> tuple[Said, ...]:
        """Stop the work within one step, as when a listener interrupts. Chunks that have not been taken are dropped.

        Args:
            heard: seconds of the speech that were heard, if a player was stopped earlier; None: all chunks that were
                taken.
            speed: how fast the player was; `heard` and the times of the result are seconds of what it played.

        Returns the sentences that were spoken, at least in part. Inside a passage their times are estimates.
        """
        self.close()
        speed = plain_speed(speed)
        with self._state:
            taken = self._samples / self._rate / speed
            current = self.current
            passages = [*self._passages, *([] if current is None else [current])]
        heard = taken if heard is None else min(max(0.0, real("heard", heard)), taken)
        cues = at_speed((cue for passage in passages for cue in passage.sentences), speed)
        return tuple(
            Said(cue.text, cue.start, min(cue.end, heard), cue.end <= heard, cue.speaker)
            for cue in cues
            if cue.start < heard
        )

    def close(self) -> None:
        """Stop the work. The chunks that have not been taken are dropped."""
        if self._dropped.detach() is not None:
            _end(self._narrator, self._release)
        if self._reader is not None:
            with suppress(RuntimeError):  # its event loop is closed
                self._reader.get_loop().call_soon_threadsafe(self._reader.cancel)

    def __next__(self) -> AudioChunk:
        if self._pieces is not None:
            raise BarkError("the pieces of this text come asynchronously: take the chunks with `async for`")
        with self._lock:
            while True:
                found = self._take()
                if found is None:
                    raise StopIteration
                if isinstance(found, AudioChunk):
                    return found
                found.result()

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        if self._pieces is not None and self._reader is None:
            assert self._feed is not None
            self._reader = asyncio.create_task(feed_from_loop(self._pieces, self._feed))
        try:
            while (found := self._take()) is not None:
                if isinstance(found, AudioChunk):
                    yield found
                else:
                    await wait_for(found)
        except asyncio.CancelledError:
            self.close()
            raise

    def __enter__(self) -> "SpeechStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        taken = self._samples / self._rate
        return f"<SpeechStream, seed {self.seed}: {taken:.2f} of about {self.expected_seconds:.0f} s taken>"

    def _take(self) -> AudioChunk | Future[None] | None:
        """The next chunk; or what to wait for; or None at the end. Raises the error of a passage that failed."""
        if os.getpid() != self._process:
            raise BarkError("the stream's thread is in the process that this one was forked from: make a stream here")
        try:
            while True:
                found = self._narrator.take()
                if found is None:
                    self.close()
                    return None
                if isinstance(found, Future):
                    return found
                chunk = self._joined(*found)
                if len(chunk.waveform):
                    return chunk
        except BaseException:  # after Ctrl-C, too, since samples may be missing
            self.close()
            raise

    def _joined(self, prepared: Prepared, waveform: Waveform, last: bool) -> AudioChunk:
        """The samples of a passage as a chunk of the speech, which may be empty."""
        with self._state:
            if self._passage is None:
                self._passage = _PassageInHand(prepared, self._plan, self._joiner, self._samples)
            waveform = self._passage.push(waveform, last=last)
            start = self._samples / self._rate
            self._samples += len(waveform)
            if last:
                self._passages.append(self._passage.report())
                self._passage = None
            return AudioChunk(waveform, start, self._rate)


class _PassageInHand:
    """The passage whose chunks are being taken. It is trimmed and joined to the one before; a single utterance is not.

    Args:
        start: samples of the speech before it.
    """

    def __init__(self, prepared: Prepared, plan: Plan, joiner: Joiner, start: int) -> None:
        pause = plan.pause_before(prepared.index)
        self._prepared = prepared
        self._passage = plan.passages[prepared.index]
        self._single = plan.single
        self._before = 0 if prepared.attempts is None else prepared.attempts.count  # attempts before this one
        self._seed = passage_seed(plan.seed, prepared.index, self._before)
        self._trimmer = trimmer_of(plan, prepared.index, joiner.sample_rate)
        self._joined = joiner.begin(pause, waits=not plan.growing)
        self._rate = joiner.sample_rate
        self._start = start + round(pause * joiner.sample_rate)
        self._end = start

    def push(self, waveform: Waveform, *, last: bool) -> Waveform:
        """Take samples as the codec decoded them. Returns those of the speech."""
        trimmed = self._trimmer.push(waveform)
        if last:
            trimmed = np.concatenate([trimmed, self._trimmer.finish()])
        if not self._single:
            waveform = self._joined.push(trimmed)
            if last:
                waveform = np.concatenate([waveform, self._joined.finish()])
        self._end += len(waveform)
        return waveform

    def report(self) -> PassageReport:
        """What has been said so far. The times of a passage that is not complete are those of the chunks taken."""
        record, passage, rate = self._prepared.record, self._passage, self._rate
        start = min(self._start, self._end) / rate
        sounds = tuple(self._trimmer.sounds)
        if record is None:
            return PassageReport(
                passage.as_written, passage.text, passage.speaker, start, self._end / rate, sounds, self._seed,
                self._before + 1, (), (), resumed=False,
            )  # fmt: skip
        return PassageReport(
            passage.as_written, passage.text, passage.speaker, start, self._end / rate, sounds, record.seed,
            record.attempts, record.problems, record.rejected, resumed=self._prepared.resumed,
        )  # fmt: skip


def _continued(passage: PassageReport) -> PassageReport:
    """A passage whose end has not been taken, with as much sound as is expected of it."""
    sounded = sum(end - first for first, end in passage.sounds)
    end = passage.sounds[-1][1] if passage.sounds else 0.0
    left = max(0.0, estimate_seconds(passage.spoken) - sounded)
    return replace(passage, sounds=(*passage.sounds, (end, end + left))) if left else passage


def _drop(narrator: Narrator, release: Callable[[], None]) -> None:
    """End the work of a stream that nobody has any more, in a thread of its own.

    The garbage collector may call this anywhere: in a thread that holds a lock of this stream, of its worker or of its
    networks, or in the midst of the engine's step. So this waits for the end, but not for ever.
    """
    ended = Event()

    def end() -> None:
        _end(narrator, release)
        ended.set()

    start_new_thread(end, ())  # a `threading.Thread` takes a lock to start
    ended.wait(LONGEST_WAIT_TO_DROP)


def _end(narrator: Narrator, release: Callable[[], None]) -> None:
    narrator.close()
    release()
