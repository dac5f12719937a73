"""Rows in, speech out: many rows on the engine of one Bark, in the order in which they end."""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue

from ..engine.speech import Speech
from ..engine.task import Task
from ..engine.worker import Worker
from ..errors import BarkError, WorkerError, one_line, or_default, reason
from ..long.narration import Steps
from ..long.plan import NarrationOptions
from ..long.spoken import LongSpeech
from ..normalizing.choice import AUTO
from ..numbers import whole
from ..pipeline import Bark
from .result import Result
from .row import AnyRow, BadRow, Row

log = logging.getLogger(__name__)

AHEAD = 4  # rows in work for each slot: in the semantic stage, between the stages, in the coarse stage, and waiting


@dataclass(frozen=True, eq=False)
class SpokenRow:
    """What became of a row.

    Args:
        row: as it was given.
        speech: as `Bark.generate` makes it of the row alone; None if the row failed.
        error: why it failed, in one line.
        unknown_words: words of the text that the model's vocabulary lacks, and that are not spoken.
    """

    row: AnyRow
    speech: Speech | None
    error: str | None = None
    unknown_words: tuple[str, ...] = ()

    def result(self, path: str | None) -> Result:
        """The line of the results.

        Args:
            path: of the audio, in the job's directory; None for a row that failed.
        """
        seed = self.row.seed if isinstance(self.row, Row) else None
        if self.speech is None:
            return Result(self.row.line, self.row.id, seed=seed, error=self.error)
        passages = self.speech.passages if isinstance(self.speech, LongSpeech) else ()
        return Result(
            self.row.line,
            self.row.id,
            path,
            seconds=self.speech.duration,
            seed=seed,
            attempts=sum(passage.attempts for passage in passages) or 1,
            passages=len(passages) or 1,
            problems=tuple(problem for passage in passages for problem in passage.problems),
            unknown_words=self.unknown_words,
            compute_seconds=sum(self.speech.timings.values()),
        )


def speak_rows(
    bark: Bark,
    rows: Iterable[AnyRow],
    *,
    slots: int = 8,
    narration: NarrationOptions | None = None,
    share: Callable[[], int] | None = None,
    worker: Worker | None = None,
    normalize: str = AUTO,
) -> Iterator[SpokenRow]:
    """Speak rows together, as they come, and yield each when it has ended; a bad row at once.

    Each row has the speech that `Bark.generate` makes of it alone with the same narration. A row that is one utterance
    and has `max_seconds` is not checked, since it is meant to end early. Rows are taken while there is room: a
    few rows for each slot are in work, and their speech is in memory until it is taken.

    Args:
        slots: utterances at a time; each takes memory for its KV caches.
        narration: how long rows are divided, and when a passage is spoken again.
        share: how many rows may be in work now, if others speak rows of the same source; asked before rows are taken.
        normalize: as for `Bark.generate`; `auto` takes the language of each row's voice.
        worker: of this Bark. Other callers may use it too, and it is not closed. None makes one with so many slots.

    A row that fails does not end the others. Raises WorkerError if the engine fails as a whole.
    """
    narration = or_default("narration", narration, NarrationOptions)
    most, source = whole("slots", slots) * AHEAD, iter(rows)
    speaker = bark.worker(slots=slots) if worker is None else worker
    try:
        changed: SimpleQueue[_RowInWork] = SimpleQueue()
        in_work = 0
        while True:
            allowed, taken = most if share is None else min(most, share()), False
            for row in islice(source, max(0, allowed - in_work)):
                taken = True
                if isinstance(row, BadRow):
                    yield SpokenRow(row, None, row.error)
                else:
                    in_work += 1
                    changed.put(_RowInWork(bark, speaker, row, narration, normalize, changed.put))
            if not in_work:
                if taken:  # all of them were bad rows: more may follow
                    continue
                return
            spoken = changed.get().advance()
            if spoken is not None:
                in_work -= 1
                yield spoken
    finally:
        if worker is None:
            speaker.close(finish=False)  # nothing is left, unless the caller has stopped


class _RowInWork:
    """A row whose requests are in the worker, or have ended.

    Args:
        changed: is called with this row when all its requests have ended, in the thread of the worker.
    """

    def __init__(
        self,
        bark: Bark,
        worker: Worker,
        row: Row,
        narration: NarrationOptions,
        normalize: str,
        changed: Callable[["_RowInWork"], None],
    ) -> None:
        self._worker = worker
        self._row = row
        self._changed = changed
        self._steps = _steps(bark, row, narration, normalize)
        self._unknown_words: tuple[str, ...] = ()
        self._tasks: list[Task] = []

    def advance(self) -> SpokenRow | None:
        """Take what the requests have become, and submit the next ones. Returns the row if it has ended."""
        try:
            jobs = [task.job for task in self._tasks]
            requests = self._steps.send(jobs) if jobs else next(self._steps)
            self._tasks = []
            for request in requests:
                self._tasks.append(self._worker.admit(request))
        except StopIteration as end:
            speech, unknown_words = end.value
            return SpokenRow(self._row, speech, None, tuple(unknown_words))
        except WorkerError:
            raise
        except Exception as error:
            if not isinstance(error, BarkError):
                log.warning("row %s failed", self._row.id, exc_info=True)
            for task in self._tasks:
                task.cancel()
            return SpokenRow(self._row, None, one_line(reason(error)))
        self._wait()
        return None

    def _wait(self, _: object = None) -> None:
        """Wait until all requests have ended, without a thread."""
        for task in self._tasks:
            try:
                news = task.poll()
            except Exception:
                news = None  # the steps get the job's error
            if isinstance(news, Future):
                news.add_done_callback(self._wait)
                return
        self._changed(self)


def _steps(bark: Bark, row: Row, narration: NarrationOptions, normalize: str) -> Steps[tuple[Speech, list[str]]]:
    """The steps of a row, which return its speech and the words that are not in it."""
    words = bark.words(row.text, voice=row.voice, normalize=normalize)
    unknown_words = bark.unknown_words(words)
    ends_early = row.options.max_seconds is not None and bark.fits(words, narration.passage_seconds)
    speech = yield from bark.steps(
        row.text,
        voice=row.voice,
        options=row.options,
        seed=row.seed,
        narration=None if ends_early else narration,
        normalize=normalize,
    )
    return speech, unknown_words
