"""An utterance that is generated while its chunks are taken."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Lock

from .engine import Engine
from .job import Job
from .speech import Speech
from .stream import AudioChunk


class SpeechStream(Iterator[AudioChunk]):
    """Iterate over it for an utterance's chunks. Work is done only while the next chunk is asked for.

    Args:
        engine: the engine that the job is in, alone.
        release: called with the engine when the stream has ended.
    """

    def __init__(self, engine: Engine, job: Job, release: Callable[[Engine], None]) -> None:
        self._engine: Engine | None = engine
        self._job = job
        self._release = release
        self._lock = Lock()  # threads that take chunks of one stream wait for each other

    @property
    def seed(self) -> int:
        """The seed that generates the same tokens again."""
        return self._job.seed

    @property
    def speech(self) -> Speech | None:
        """The whole result, once the last chunk has come."""
        return self._job.speech

    def __next__(self) -> AudioChunk:
        with self._lock:
            while True:
                with suppress(IndexError):  # there is none, or another thread has just closed the stream
                    return self._job.chunks.popleft()
                engine = self._engine
                if engine is None or not engine.step():
                    self.close()
                    if self._job.error is not None:
                        self._job.result()  # raises the error
                    raise StopIteration

    def close(self) -> None:
        """Stop the work. The chunks that have not been taken are dropped."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.cancel(self._job)
            self._job.chunks.clear()
            self._release(engine)

    def __enter__(self) -> "SpeechStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SpeechStream of {self._job!r}>"
