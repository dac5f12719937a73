"""Requests for speech, and what became of each.

aiohttp is used because it parses HTTP in C: the generator shares the processor with the server.
"""

import json
import ssl
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp

from bark_onnx.errors import one_line, reason

from .player import Player
from .target import Target

REQUEST_SECONDS = 600  # as long as OpenAI's client waits
CONNECT_SECONDS = 10
LONGEST_ERROR = 1 << 16  # bytes of an error's body that are read
OTHER_FORMATS = {b"RIFF": "WAV", b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3": "MP3"}

Outcome = Literal["completed", "refused", "failed", "cut"]
"""What becomes of a request: refused is status 429; failed is without audio; cut is a stream that ended too early."""


@dataclass(frozen=True)
class Answer:
    """What became of one request. Times are seconds from when the request was due.

    Args:
        late: when the request was really sent.
        first_audio: when the first bytes of audio came; None if none came.
        ended: when the answer ended.
        played: when a player that starts with the first bytes has played everything; None without audio.
        audio: seconds of audio.
        underruns, silence: gaps of that player, and their seconds together.
        error: what went wrong; None if nothing did.
        status: of HTTP; None if there was no answer.
    """

    outcome: Outcome
    late: float
    first_audio: float | None
    ended: float
    played: float | None
    audio: float
    underruns: int
    silence: float
    error: str | None
    status: int | None


class SpeechError(Exception):
    """A request that was answered without speech."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class SpeechClient:
    """Asks a server for speech. Use it in an `async with` block.

    Each request has a connection of its own, as independent users have. No proxy is used.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._fields = {"model": target.model, "voice": target.voice, "response_format": "pcm"}
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            headers={} if target.api_key is None else {"Authorization": f"Bearer {target.api_key}"},
            timeout=timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def speak(self, text: str, due: float) -> Answer:
        """Ask for a text, and take the audio as fast as it comes.

        Args:
            due: when the request should be sent, in seconds of `perf_counter`. Times count from then, so that a
                request which is sent late is not counted as fast.
        """
        late, player, first, error, status = perf_counter() - due, Player(), None, None, None
        outcome: Outcome = "completed"
        try:
            fields = {**self._fields, "input": text}
            async with self._session.post(self.target.speech_url, json=fields, allow_redirects=False) as response:
                status = response.status
                await _check(response)
                async for content in response.content.iter_any():
                    now = perf_counter()
                    if first is None:
                        _check_format(content)
                        first = now - due
                    player.receive(len(content), now)
            if first is None:
                raise SpeechError("the answer has no audio", status)
        except SpeechError as wrong:
            outcome, error = "refused" if wrong.status == 429 else "failed", str(wrong)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as wrong:
            outcome, error = "failed" if first is None else "cut", _told(wrong)
        played = None if player.ends is None else player.ends - due
        return Answer(
            outcome, late, first, perf_counter() - due, played, player.audio, player.underruns, player.silence, error,
            status,
        )  # fmt: skip


async def _check(response: aiohttp.ClientResponse) -> None:
    """Raise SpeechError unless this is the beginning of speech."""
    if response.status != 200:
        content = await response.content.read(LONGEST_ERROR)
        raise SpeechError(f"status {response.status}: {_message(content)}", response.status)
    if not response.content_type.startswith(("audio/", "application/octet-stream")):
        raise SpeechError(f"the answer is {one_line(response.content_type)}, not audio", 200)


def _check_format(content: bytes) -> None:
    """Raise SpeechError if the audio has another format than pcm, whose length does not tell its duration."""
    for beginning, name in OTHER_FORMATS.items():
        if content.startswith(beginning):
            raise SpeechError(f"the server sends {name} although response_format is pcm", 200)


def _message(content: bytes) -> str:
    """What an error says: the message in OpenAI's form, or else the whole of it."""
    try:
        document: Any = json.loads(content)
        return one_line(str(document["error"]["message"]))
    except (ValueError, LookupError, TypeError):
        return one_line(content.decode("utf-8", "replace")) or "no message"


def _told(error: Exception) -> str:
    """A failure of the connection in one line."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate cannot be verified: {_certificate_reason(error.certificate_error)}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection: {one_line(reason(error.os_error))}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the stream ended before its end"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    if isinstance(error, TimeoutError):
        return "no connection, or no end of the answer, in time"
    return one_line(f"no HTTP: {reason(error)}" if isinstance(error, aiohttp.ClientResponseError) else reason(error))


def _certificate_reason(error: Exception) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else one_line(reason(error))
