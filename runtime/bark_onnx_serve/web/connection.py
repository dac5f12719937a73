"""Connections with time limits, which uvicorn does not have."""

from asyncio import TimerHandle
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 30.0
STALL_SECONDS = 60.0


class Connection(H11Protocol):
    """uvicorn's connection, which is dropped if a request does not come to its end, or an answer is not read.

    - The headers and the body of a request must come within 30 seconds from its first byte, and the first request
      within 30 seconds from the connection.
    - If the reader leaves 64 KiB of the answer unread, nothing more is made for it. It must go on reading within 60
      seconds.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._reading: TimerHandle | None = self.loop.call_later(REQUEST_SECONDS, self._drop)
        self._writing: TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):  # the request is complete
            self._stop_reading()
        elif self._reading is None:
            self._reading = self.loop.call_later(REQUEST_SECONDS, self._drop)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(STALL_SECONDS, self._drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading()
        self._stop_writing()
        super().connection_lost(exc)

    def _drop(self) -> None:
        self.transport.abort()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
