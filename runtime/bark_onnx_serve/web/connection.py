"""Connections with limits that uvicorn does not have: of time, and of their number."""

import socket
import struct
from asyncio import BaseTransport, TimerHandle, Transport
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import ApiError

REQUEST_SECONDS = 30.0
STALL_SECONDS = 60.0
MOST_CONNECTIONS = 512  # half of the open files that most systems allow a process
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing the socket resets the connection


class Connection(H11Protocol):
    """uvicorn's connection, which is dropped if a request does not come to its end, or an answer is not read.

    - The headers and the body of a request must come within 30 seconds from its first byte, and the first request
      within 30 seconds from the connection.
    - If the reader leaves 64 KiB of the answer unread, nothing more is made for it. It must go on reading within 60
      seconds, and read the last bytes within 60 seconds from the end of the answer.
    - A connection too many takes the place of the one that has been waiting for a request for the longest time.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._answer, self.app = self.app, self._answer_whole
        self._waits_since = self.loop.time()  # for a request
        self._reading: TimerHandle | None = self.loop.call_later(REQUEST_SECONDS, self._drop)
        self._writing: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        assert isinstance(transport, Transport)
        super().connection_made(transport)
        there = [one for one in self.connections if isinstance(one, Connection) and not one.transport.is_closing()]
        if len(there) > MOST_CONNECTIONS:
            # If all others are busy, the new one goes.
            min((one for one in there if one._waits), key=lambda one: one._waits_since)._drop()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):  # the request is complete
            self._stop_reading()
        elif self._reading is None:
            self._reading = self.loop.call_later(REQUEST_SECONDS, self._drop)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, in OpenAI's form."""
        answer = ApiError(400, msg, "invalid_http").response()
        headers = [*answer.raw_headers, (b"connection", b"close")]
        start = h11.Response(status_code=400, headers=headers, reason="Bad Request")
        for event in (start, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        self._waits_since = self.loop.time()
        super().on_response_complete()
        if self._writing is None and self.transport.get_write_buffer_size():
            self._writing = self.loop.call_later(STALL_SECONDS, self._drop_unread)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_writing()
        self._writing = self.loop.call_later(STALL_SECONDS, self._drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading()
        self._stop_writing()
        super().connection_lost(exc)
        self.app = self._answer  # else the connection refers to itself, and only the garbage collector frees it

    async def _answer_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; reset the connection if an answer without chunks or length is not complete.

        In HTTP/1.0, which proxies may speak, the end of the connection is the end of the answer.
        """
        cycle = self.cycle
        await self._answer(scope, receive, send)
        cut = cycle.response_started and not cycle.response_complete and not cycle.disconnected
        if cut and scope["http_version"] == "1.0":
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    @property
    def _waits(self) -> bool:
        """Whether no complete request has come that is not answered."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _drop(self) -> None:
        self.transport.abort()

    def _drop_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self._drop()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
