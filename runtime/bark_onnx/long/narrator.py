"""Passages spoken one after another on a worker, ahead of who takes their audio.

The narrator has no thread. It does the next thing whenever something happens, in the thread in which that happens:
the worker has made audio, the audio of a passage has been taken, more text has come.

A passage can be spoken again while nothing of it has been given out. So of two runs that speak the same text, one may
repeat a passage for which the other had no time; all passages without problems are the same. A passage in which nothing
is said is always spoken again, since a listener can only wait for it. For a text that is one utterance this is the only
problem for which a stream speaks it again, so that all runs give the same audio.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from threading import RLock
from time import monotonic

import numpy as np

from ..arrays import Waveform
from ..engine.job import Request
from ..engine.speech import Speech
from ..engine.stream import AudioChunk, StreamOptions
from ..engine.task import Task
from ..engine.worker import Worker
from ..errors import BarkError, NothingSaid
from ..model.voice import VoicePreset
from ..splitting.passages import Passage
from .attempts import Attempts, Context, Outcome
from .journal import Journal, Record

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Prepared:
    """A passage that is generated, or that nobody has taken yet.

    Args:
        index: of the passage in the plan.
        audio: samples as the codec decoded them, which nobody has taken.
        begun: when its first audio was made, in seconds of `time.monotonic`.
        given: whether somebody has taken a part of it; then it is not spoken again.
        attempts: what to speak next; None for a passage from the journal, and for a single utterance.
        record: the attempt that is kept, once it is known.
        resumed: whether it is from the journal.
    """

    index: int
    audio: deque[Waveform] = field(default_factory=deque)
    begun: float | None = None
    given: bool = False
    attempts: Attempts | None = None
    record: Record | None = None
    resumed: bool = False


class Narrator:
    """Speaks a plan on a worker.

    Args:
        context: with the plan, to which passages may be added while it is spoken; see `add`.
        worker: its engine makes the audio.
        journal: keeps finished passages.
        streaming: how a passage is cut into chunks. Exact streams give out complete passages only.
    """

    def __init__(
        self,
        context: Context,
        worker: Worker,
        journal: Journal | None,
        streaming: StreamOptions,
    ) -> None:
        self.plan = plan = context.plan
        self._worker = worker
        self._vocabulary = context.vocabulary
        self._journal = journal
        self._streaming = streaming
        self._complete = not plan.growing  # whether the plan has all its passages
        self._lock = RLock()  # guards the fields below
        self._context = context
        self._begun = 0  # passages that have been begun
        self._prepared: deque[Prepared] = deque()  # in their order
        self._tasks: list[Task] = []  # the requests in progress, for the last of these
        self.speech: Speech | None = None  # of a plan that is a single utterance, once it is complete
        self._due: float | None = None  # when the listener will have heard all audio so far; None before the first
        self._error: BaseException | None = None
        self._closed = False
        self._news: Future[None] = Future()  # done when there is something new to take, and then replaced
        if self._complete:
            self._begin(worker.submit if plan.single else partial(worker.admit, limited=True))

    # what a caller does

    def add(self, passages: Sequence[Passage], *, complete: bool = False, ends_paragraph: bool = False) -> None:
        """Add passages to the end of the plan.

        Args:
            complete: no more will follow.
            ends_paragraph: the last passage before these ends its paragraph, which was not known when it was added.
        """
        with self._lock:
            if ends_paragraph and self.plan.passages:
                self.plan.passages[-1] = replace(self.plan.passages[-1], ends_paragraph=True)
            self.plan.passages.extend(passages)
            self._complete |= complete
            self._advance()

    def fail(self, error: BaseException) -> None:
        """End with an error, after the passages that are complete."""
        with self._lock:
            if not self._closed:
                self._error = self._error or error
            self._wake()

    def room(self, most: int) -> Future[None] | None:
        """None if fewer passages than `most` wait to be begun; else what to wait for before asking again."""
        with self._lock:
            full = len(self.plan.passages) - self._begun >= most and self._error is None and not self._closed
            return self._news if full else None

    @property
    def tokens(self) -> VoicePreset | None:
        """The generation of the first passage, usable as a voice; None until it is complete."""
        return self._context.first

    @property
    def ended(self) -> bool:
        """Whether nothing more will be made."""
        return self._closed or self._error is not None

    def take(self) -> tuple[Prepared, Waveform, bool] | Future[None] | None:
        """The next samples of the next passage, and whether they are its last; or what to wait for; None at the end.

        Raises the error of a passage that failed, after the passages before it.
        """
        with self._lock:
            while not self._closed:
                if not self._prepared:
                    self._raise_error()
                    if self._complete and self._begun == len(self.plan.passages):
                        if self._context.first is None:
                            self._error = NothingSaid()
                            self._raise_error()
                        return None
                    return self._news
                first = self._prepared[0]
                if first.record is None and self._may_keep(first):
                    self._keep(first)  # it is being spoken again, and there is no time for that
                elif first.audio or first.record is not None:
                    return self._give(first)
                else:
                    self._raise_error()
                    return self._news
            self._raise_error()
            return None

    def close(self) -> None:
        """Stop the work; nothing more can be taken."""
        with self._lock:
            self._closed = True
            tasks, self._tasks = self._tasks, []
            self._prepared.clear()
            self._wake()
        for task in tasks:
            task.cancel()

    # what happens then

    def _give(self, passage: Prepared) -> tuple[Prepared, Waveform, bool]:
        waveform = passage.audio.popleft() if passage.audio else np.empty(0, np.float32)
        passage.given = True
        ends = passage.record is not None and not passage.audio
        if ends:
            self._prepared.popleft()
        self._advance()
        return passage, waveform, ends

    def _raise_error(self) -> None:
        if isinstance(self._error, Exception):
            raise self._error
        if self._error is not None:  # a KeyboardInterrupt belongs to the thread that it hit, not to who waits
            raise BarkError(f"the text was interrupted ({type(self._error).__name__})") from self._error

    def _wake(self) -> None:
        news, self._news = self._news, Future()
        news.set_result(None)

    def _advance(self) -> None:
        """Begin the next passages, if there is time for them and nobody waits for the ones before."""
        with self._lock:
            try:
                while self._may_begin():
                    self._begin(self._worker.admit)
            except BaseException as error:  # after Ctrl-C, too, the passage that was being begun will never come
                self._error = error
                if not isinstance(error, Exception):
                    raise
            finally:
                self._wake()

    def _may_begin(self) -> bool:
        if self._closed or self._error is not None or self._tasks:
            return False
        ahead = sum(not passage.given for passage in self._prepared)
        return self._begun < len(self.plan.passages) and ahead < self.plan.narration.lookahead

    def _begin(self, submit: Callable[[Request], Task]) -> None:
        """Begin the next passage, or take it from the journal."""
        passage = Prepared(self._begun)
        self._prepared.append(passage)
        self._begun += 1
        record = None if self._journal is None else self._journal.load(passage.index, self._vocabulary)
        if record is not None:
            passage.resumed = True
            self._finish(passage, record)
            return
        passage.attempts = self._context.attempts(passage.index)
        self._speak(passage, submit)

    def _speak(self, passage: Prepared, submit: Callable[[Request], Task]) -> None:
        """Speak what a passage needs next."""
        attempts = passage.attempts
        assert attempts is not None
        requests = attempts.requests
        if not attempts.measures:
            passage.audio.clear()
            passage.begun = None
            if not self._waits_for_all:
                requests = [replace(request, streaming=self._streaming, due=self._due) for request in requests]
        self._tasks = tasks = []
        for request in requests:
            tasks.append(submit(request))
        self._collect(passage, tasks)

    def _collect(self, passage: Prepared, tasks: list[Task], _: object = None) -> None:
        """Take what the requests have become so far. The worker's thread calls this when there is more."""
        with self._lock:
            try:
                for task in tasks:
                    while tasks is self._tasks:
                        try:
                            news = task.poll()
                        except Exception:
                            news = None  # judged with the job
                        if isinstance(news, AudioChunk):
                            passage.audio.append(news.waveform)
                            passage.begun = passage.begun or monotonic()
                            self._wake()
                        elif news is None:
                            break
                        else:
                            news.add_done_callback(partial(self._collect, passage, tasks))
                            return
                if tasks is self._tasks:
                    self._end_requests(passage)
            except BaseException as error:
                self._tasks = []
                self._error = error
                self._wake()
                if isinstance(error, KeyboardInterrupt):
                    raise

    def _end_requests(self, passage: Prepared) -> None:
        """Judge what was spoken; go on with the passage, or keep its best attempt."""
        tasks, self._tasks = self._tasks, []
        attempts = passage.attempts
        assert attempts is not None
        measured, outcomes = attempts.measures, [Outcome.of(task.job) for task in tasks]
        speech = outcomes[0].speech if self.plan.single else None
        if speech is not None and not self._waits_for_all:  # no guard checks it: its chunks are given out as they come
            number = attempts.count + 1
            record = Record(speech.waveform, speech.tokens, speech.seed, number, (), (), speech.timings)
        else:
            attempts.take(outcomes)
            if attempts.requests and not passage.given:
                log.info("passage %d: %d attempts so far", passage.index + 1, attempts.count)
                self._speak(passage, self._worker.admit)
                return
            record = attempts.settle()
            if not passage.given and (measured or attempts.count > 1 or not passage.audio):
                passage.audio = deque(self._cut(record.waveform))
        if self.plan.single and record.tokens is not None:
            rate = self._vocabulary.sample_rate
            self.speech = Speech(record.waveform, rate, record.tokens, record.seed, record.timings)
        self._finish(passage, record)
        self._advance()

    @property
    def _waits_for_all(self) -> bool:
        """Whether passages are given out when they are complete, and so may have been spoken again before."""
        return self._streaming.exact and not (self.plan.single and not self.plan.narration.guards.retries)

    def _may_keep(self, passage: Prepared) -> bool:
        """Whether an attempt at a passage is complete that may be kept before it is known to be good."""
        attempts = passage.attempts
        if attempts is None or self._streaming.exact:
            return False
        return (attempts.best is not None and len(attempts.best.waveform) > 0) or attempts.measures

    def _keep(self, passage: Prepared) -> None:
        """Keep the best attempt, and give up the requests in progress."""
        assert passage.attempts is not None
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        record = passage.attempts.settle()
        passage.audio = deque(self._cut(record.waveform))
        self._finish(passage, record)
        self._advance()

    def _finish(self, passage: Prepared, record: Record) -> None:
        if passage.resumed:
            passage.audio.extend(self._cut(record.waveform))
        elif self._journal is not None:
            self._journal.save(passage.index, record)
        self._context.add(passage.index, record)
        passage.record = record
        begun = passage.begun or monotonic()
        seconds = len(record.waveform) / self._vocabulary.sample_rate / self._streaming.playback_speed
        self._due = max(begun, self._due or begun) + seconds

    def _cut(self, waveform: Waveform) -> list[Waveform]:
        """Cut a passage that is complete into chunks, so that whoever takes it can stop within one."""
        longest = max(1, round(self._streaming.chunk_seconds * self._vocabulary.sample_rate))
        return [waveform[start : start + longest] for start in range(0, len(waveform), longest)]
