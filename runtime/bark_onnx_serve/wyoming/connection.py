"""One client of the Wyoming protocol.

One task reads events as they come, and another one speaks, so that a client which disconnects is noticed at once.
"""

import asyncio
import logging
import uuid
from contextlib import suppress

from wyoming.event import Event, async_write_event
from wyoming.info import Describe
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop

from ..metrics import Metrics
from ..service import Service
from ..web.connection import STALL_SECONDS
from ..web.requests import Record
from .answer import Answer
from .describe import info_event
from .events import read_event
from .failures import Failure, failure_of
from .request import Pieces, SpeechRequest, text_of, voice_of

log = logging.getLogger(__name__)

IDLE_SECONDS = 300.0  # without a request for speech
LINGER_SECONDS = 2.0  # for the client to read the last event
MOST_WAITING = 8  # requests of one client that wait for the one before


class Connection:
    """Serves one client.

    Args:
        reader: its limit is the longest line.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        service: Service,
        metrics: Metrics,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._service = service
        self._metrics = metrics
        self._requests: asyncio.Queue[SpeechRequest | None] = asyncio.Queue()
        self._stream: SpeechRequest | None = None  # whose text still comes

    async def run(self) -> None:
        """Serve until the client goes, until an error, or until the server stops and nothing is left to say."""
        reading, speaking = asyncio.ensure_future(self._read()), asyncio.ensure_future(self._speak())
        try:
            await asyncio.wait({reading, speaking}, return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            speaking.cancel()
            results = await asyncio.gather(reading, speaking, return_exceptions=True)
            errors = [error for error in results if isinstance(error, Exception)]
            if errors:
                await self._tell(errors[0])
            await self._part()
        except ConnectionError:
            pass
        finally:
            reading.cancel()
            speaking.cancel()
            while not self._requests.empty():
                if (request := self._requests.get_nowait()) is not None:
                    self._answer(request).drop()
            self._writer.transport.abort()

    def stop(self) -> None:
        """End the connection when the requests that have come are answered."""
        self._requests.put_nowait(None)

    async def _read(self) -> None:
        """Take events until the client goes."""
        most = self._service.settings.max_body_bytes
        while (event := await read_event(self._reader, most)) is not None:
            try:
                await self._handle(event)
            except Failure as failure:
                if self._stream is None:
                    self._metrics.requests.labels(failure.outcome).inc()
                else:
                    self._stream.record.outcome = failure.outcome  # it will be cancelled, and counted then
                raise

    async def _handle(self, event: Event) -> None:
        """Take an event. Those of an unknown type are ignored."""
        if Describe.is_type(event.type):
            await self._send(info_event(self._service))
        elif Synthesize.is_type(event.type):
            # During a stream it has the whole text once more, for servers that cannot stream.
            if self._stream is None:
                self._ask(SpeechRequest(text_of(event.data), voice_of(event.data), _record()))
        elif SynthesizeStart.is_type(event.type):
            if self._stream is not None:
                raise Failure("synthesize-start came before synthesize-stop", "invalid_event")
            pieces = Pieces(self._service.settings.max_characters)
            self._stream = SpeechRequest(pieces, voice_of(event.data), _record())
            self._ask(self._stream)
        elif SynthesizeChunk.is_type(event.type):
            self._pieces(event).add(text_of(event.data))
        elif SynthesizeStop.is_type(event.type):
            self._pieces(event).finish()
            self._stream = None

    def _ask(self, request: SpeechRequest) -> None:
        if self._requests.qsize() >= MOST_WAITING:
            raise Failure(f"{MOST_WAITING} requests wait on this connection already", "too_many_requests", "rejected")
        self._requests.put_nowait(request)

    def _pieces(self, event: Event) -> Pieces:
        if self._stream is None:
            raise Failure(f"{event.type} came before synthesize-start", "invalid_event")
        assert isinstance(self._stream.text, Pieces)
        return self._stream.text

    async def _speak(self) -> None:
        """Answer the requests one after another. Ends when the server stops, or if no request comes for long."""
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    request = await self._requests.get()
            except TimeoutError:
                return
            if request is None:
                return
            await self._answer(request).give()

    def _answer(self, request: SpeechRequest) -> Answer:
        return Answer(request, self._service, self._metrics, self._send)

    async def _send(self, event: Event) -> None:
        """Send an event. Returns when the client has room for more. Raises ConnectionError if it has gone or stalls."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await async_write_event(event, self._writer)
        except TimeoutError:
            self._writer.transport.abort()
            raise ConnectionAbortedError("the client does not read") from None

    async def _tell(self, error: Exception) -> None:
        if isinstance(error, ConnectionError):
            raise error
        if not isinstance(error, Failure):
            log.error("a Wyoming connection failed", exc_info=error)
        failure = failure_of(error, self._service.settings.request_seconds)
        log.info("a Wyoming connection ends", extra={"fields": {"code": failure.code}})
        await self._send(failure.event())

    async def _part(self) -> None:
        """End the connection when the client has read everything.

        What it still sends is read and dropped. If it were left unread, the kernel would reset the connection, and the
        client would lose the last events.
        """
        self._writer.transport.set_write_buffer_limits(high=0)
        with suppress(OSError):  # of which TimeoutError is one
            async with asyncio.timeout(STALL_SECONDS):
                await self._writer.drain()
            self._writer.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                while await self._reader.read(1 << 16):
                    pass


def _record() -> Record:
    return Record(f"req_{uuid.uuid4().hex}")
