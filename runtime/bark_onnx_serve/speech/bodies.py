"""The three forms of an answer with speech: a stream of audio, a stream of events, a complete file."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from starlette.types import Send

from ..web.errors import ApiError

# A proxy must not collect a stream before it passes it on, and nobody may keep a person's speech.
STREAM_HEADERS = {"x-accel-buffering": "no", "cache-control": "no-store"}


class Usage(Protocol):
    """Counts the tokens of a request, when they are known."""

    async def __call__(self) -> tuple[int, int]: ...


class Body(Protocol):
    """An answer. Nothing is sent before the first write of any bytes, so that until then it can still be an error."""

    @property
    def started(self) -> bool:
        """Whether something has been sent."""

    async def write(self, content: bytes) -> None:
        """Take bytes of encoded audio. Returns when the client has room for more."""

    async def finish(self, corrections: Sequence[tuple[int, bytes]], usage: Usage) -> None:
        """End the answer."""

    async def fail(self, error: ApiError) -> None:
        """Tell an answer that has begun that the rest is missing. Without a body's end the connection is cut."""


async def _no_usage() -> tuple[int, int]:
    return 0, 0


class AudioStream:
    """Audio in chunks."""

    def __init__(self, send: Send, headers: Mapping[str, str], media_type: str) -> None:
        self._send = send
        self._headers = {"content-type": media_type, **headers, **STREAM_HEADERS}
        self.started = False

    async def write(self, content: bytes) -> None:
        if not self.started:
            self.started = True
            await self._send(start(self._headers))
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def finish(self, corrections: Sequence[tuple[int, bytes]], usage: Usage) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, error: ApiError) -> None:
        pass


class EventStream:
    """Server-sent events, as OpenAI sends them: speech.audio.delta ..., speech.audio.done."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._stream = AudioStream(send, headers, "text/event-stream; charset=utf-8")

    @property
    def started(self) -> bool:
        return self._stream.started

    async def write(self, content: bytes) -> None:
        audio = base64.b64encode(content).decode("ascii")
        await self.event({"type": "speech.audio.delta", "audio": audio})

    async def finish(self, corrections: Sequence[tuple[int, bytes]], usage: Usage) -> None:
        given, made = await usage()
        tokens = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
        await self.event({"type": "speech.audio.done", "usage": tokens})
        await self._stream.finish(corrections, usage)

    async def fail(self, error: ApiError) -> None:
        """Send an event with the error; OpenAI's clients raise it."""
        await self.event({"type": "error", **error.body.model_dump()})
        await self._stream.finish([], _no_usage)

    async def event(self, document: Mapping[str, object]) -> None:
        """Send one event."""
        await self._stream.write(b"data: %s\n\n" % json.dumps(document).encode())


class CompleteFile:
    """A file with its length, sent when it is complete."""

    def __init__(self, send: Send, headers: Mapping[str, str], media_type: str) -> None:
        self._send = send
        self._headers = {"content-type": media_type, **headers, "cache-control": "no-store"}
        self._content = bytearray()
        self.started = False

    async def write(self, content: bytes) -> None:
        self._content += content

    async def finish(self, corrections: Sequence[tuple[int, bytes]], usage: Usage) -> None:
        for position, correct in corrections:
            self._content[position : position + len(correct)] = correct
        self.started = True
        await self._send(start(self._headers | {"content-length": str(len(self._content))}))
        await self._send({"type": "http.response.body", "body": bytes(self._content), "more_body": False})

    async def fail(self, error: ApiError) -> None:
        pass


def start(headers: Mapping[str, str]) -> dict[str, object]:
    """The ASGI message that begins an answer."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": 200, "headers": encoded}
