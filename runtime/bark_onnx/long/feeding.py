"""Give a narrator a text that comes piece by piece, from an iterator on a thread of its own or from asyncio."""

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from queue import Empty, Queue

from ..engine.task import wait_for
from ..errors import TextError
from ..model.tokenizer import Tokenizer, require_something_to_say
from ..normalizing.passages import NormalizingSplitter
from ..splitting.passages import Passage
from ..splitting.pieces import PieceSplitter
from .narrator import Narrator

MOST_WAITING = 64  # passages that wait to be spoken; no more text is asked for while there are as many
MOST_PIECES = 256  # pieces that have been read and not been split


class TextFeed:
    """Splits the pieces of a text and adds the passages to a narrator. May be called from several threads.

    Args:
        narrator: its plan has no passages yet.
        tokenizer: of the model: a passage that says nothing in its vocabulary is left out.
        flush_seconds: see NarrationOptions.
    """

    def __init__(
        self,
        narrator: Narrator,
        splitter: PieceSplitter | NormalizingSplitter,
        tokenizer: Tokenizer,
        flush_seconds: float,
    ) -> None:
        self._narrator = narrator
        self._splitter = splitter
        self._tokenizer = tokenizer
        self.flush_seconds = flush_seconds
        self._lock = threading.Lock()
        self._told: set[str] = set()  # words that the vocabulary lacks, and for which there was a warning
        self._says_something = False

    def push(self, piece: object) -> None:
        """Take the next piece of the text. Raises TextError if it is not a string."""
        if not isinstance(piece, str):
            raise TextError(f"the pieces of a text must be strings, not {type(piece).__name__}")
        with self._lock:
            self._add(*self._splitter.push(piece))

    def flush(self, *, complete: bool = False) -> bool:
        """Speak what has come, although the sentence may not be complete.

        Args:
            complete: speak complete sentences only, if there are any.

        Returns whether anything was spoken.
        """
        with self._lock:
            found = self._splitter.flush(complete=complete)
            self._add(*found)
            return bool(found.passages)

    def finish(self) -> None:
        """End the text. Raises TextError if it said nothing."""
        with self._lock:
            self._add(*self._splitter.flush())
            if not self._says_something:
                raise TextError("the text is empty: there is nothing to say")
            self._narrator.add([], complete=True)

    def fail(self, error: BaseException) -> None:
        """End the text because of an error, which whoever takes the audio gets after the passages before it."""
        self._narrator.fail(error)

    @property
    def ended(self) -> bool:
        """Whether nobody wants more of the text."""
        return self._narrator.ended

    def room(self) -> Future[None] | None:
        """None if there is room for more text; else what to wait for."""
        return self._narrator.room(MOST_WAITING)

    def _add(self, passages: Sequence[Passage], ends_paragraph: bool) -> None:
        spoken: list[Passage] = []
        for passage in passages:
            reading = self._tokenizer.read(passage.text)
            new = [word for word in reading.lost if word not in self._told]
            self._told.update(new)
            if new:
                self._tokenizer.report(new, says_something=True)
            if reading.says_something:
                spoken.append(passage)
            elif spoken:
                spoken[-1] = replace(spoken[-1], ends_paragraph=True)
            else:
                ends_paragraph = True
        self._says_something |= bool(spoken)
        if spoken or ends_paragraph:
            self._narrator.add(spoken, ends_paragraph=ends_paragraph)


def complete_text(text: str | Iterable[str] | AsyncIterable[str]) -> str | None:
    """The text of a stream, or None if it comes piece by piece. Raises TextError if it is neither."""
    if isinstance(text, str):
        return text
    if isinstance(text, bytes) or not isinstance(text, Iterable | AsyncIterable):
        require_something_to_say(text)  # raises the error
    return None


def feed_from_thread(pieces: Iterable[str], feed: TextFeed) -> None:
    """Feed the pieces of an iterator, which may wait for them, from threads of their own. Returns at once."""
    queue: Queue[str | BaseException | None] = Queue(MOST_PIECES)
    for work, name in ((_read, "reader"), (_split, "splitter")):
        arguments = (pieces, feed, queue) if work is _read else (feed, queue)
        threading.Thread(target=work, args=arguments, name=f"bark-onnx text {name}", daemon=True).start()


def _read(pieces: Iterable[str], feed: TextFeed, queue: "Queue[str | BaseException | None]") -> None:
    """Read the pieces, as long as somebody wants them."""
    try:
        for piece in pieces:
            while (news := feed.room()) is not None:
                news.result()
            if feed.ended:
                return
            queue.put(piece)
        queue.put(None)
    except BaseException as error:
        queue.put(error)


def _split(feed: TextFeed, queue: "Queue[str | BaseException | None]") -> None:
    """Split the pieces, and flush them when no more come."""
    flushed = True
    try:
        while not feed.ended:
            try:
                piece = queue.get(timeout=None if flushed else feed.flush_seconds)
            except Empty:
                flushed = not feed.flush(complete=True)  # a fragment after it waits once more
                continue
            if isinstance(piece, BaseException):
                raise piece
            if piece is None:
                feed.finish()
                return
            feed.push(piece)
            flushed = False
    except BaseException as error:
        feed.fail(error)
    finally:
        with suppress(Empty):  # the reader may wait for room in the queue
            while True:
                queue.get_nowait()


async def feed_from_loop(pieces: AsyncIterable[str], feed: TextFeed) -> None:
    """Feed the pieces of an asynchronous iterator, until it ends or nobody wants more."""
    following: asyncio.Task[str | None] | None = None
    try:
        iterator = aiter(pieces)
        while not feed.ended:
            if (news := feed.room()) is not None:
                await wait_for(news)
                continue
            following = following or asyncio.create_task(_next_of(iterator))
            done, _ = await asyncio.wait({following}, timeout=feed.flush_seconds)
            if not done:
                feed.flush(complete=True)
                continue
            piece, following = following.result(), None
            if piece is None:
                feed.finish()
                return
            feed.push(piece)
    except BaseException as error:  # also if the pieces or their event loop are cancelled: nobody may wait for more
        feed.fail(error)
        if not isinstance(error, Exception):
            raise
    finally:
        if following is not None:
            following.cancel()


async def _next_of(iterator: AsyncIterator[str]) -> str | None:
    """The next piece; None after the last."""
    return await anext(iterator, None)
