"""A client that asks for speech and checks what it gets, or disconnects before the end."""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from typing import Literal

from .asks import Ask

Fate = Literal["complete", "left", "rejected", "broken"]
PIECE = 1 << 16
LONGEST_WAIT = 300.0  # seconds for one piece of an answer
OGG_HEADER = 27  # bytes of an Ogg page before its table of segments


@dataclass(frozen=True)
class Reply:
    """What became of a request, as its client saw it.

    Args:
        fate: complete; left (the client disconnected); rejected (429); broken (anything else).
        digest: of the audio of a complete answer.
        problem: what was wrong with a broken one.
    """

    fate: Fate
    digest: str = ""
    problem: str = ""


def speak(port: int, ask: Ask) -> Reply:
    """Send a request to a server on this machine, and read its answer or disconnect."""
    end = None if ask.patience is None else monotonic() + ask.patience
    connection = HTTPConnection("127.0.0.1", port, timeout=LONGEST_WAIT)
    try:
        connection.request("POST", "/v1/audio/speech", ask.body, {"Content-Type": "application/json"})
        assert connection.sock is not None
        _wait_until(connection, end)
        response = connection.getresponse()
        content = b""
        while part := _read(connection, response, end):
            content += part
    except TimeoutError:
        return Reply("left") if end is not None else Reply("broken", problem="nothing came")
    except (OSError, HTTPException) as error:
        return Reply("broken", problem=f"{error!r}")
    finally:
        connection.close()
    if response.status == 429:
        return Reply("rejected") if response.headers["retry-after"] else Reply("broken", problem="no Retry-After")
    if response.status != 200:
        return Reply("broken", problem=f"status {response.status}: {content[:200]!r}")
    try:
        return Reply("complete", digest_of(ask, content))
    except (ValueError, KeyError) as error:
        return Reply("broken", problem=f"not an answer: {error!r}")


def digest_of(ask: Ask, content: bytes) -> str:
    """Identify the audio of an answer. Raises ValueError or KeyError if it is not complete."""
    audio = _from_events(content) if ask.form == "sse" else content
    if not audio:
        raise ValueError("there is no audio")
    if ask.audio_format == "opus":
        audio = _without_serial(audio)
    return hashlib.sha256(audio).hexdigest()


def _read(connection: HTTPConnection, response: HTTPResponse, end: float | None) -> bytes:
    if connection.sock is not None:  # http.client forgets it at the end of an answer that closes the connection
        _wait_until(connection, end)
    return response.read1(PIECE)


def _wait_until(connection: HTTPConnection, end: float | None) -> None:
    if end is not None:
        left = end - monotonic()
        if left <= 0:
            raise TimeoutError
        connection.sock.settimeout(left)


def _from_events(content: bytes) -> bytes:
    """The audio of a stream of events, which must end with speech.audio.done."""
    events = [json.loads(line.removeprefix(b"data: ")) for line in content.splitlines() if line]
    if not events or events[-1]["type"] != "speech.audio.done":
        raise ValueError(f"the last event is {events[-1:]}")
    return b"".join(base64.b64decode(event["audio"]) for event in events[:-1])


def _without_serial(content: bytes) -> bytes:
    """An Ogg file with zeros in place of its serial number, which is random, and of the checksums."""
    pages, place = bytearray(content), 0
    while place < len(pages):
        if pages[place : place + 4] != b"OggS":
            raise ValueError("not an Ogg page")
        segments = pages[place + OGG_HEADER - 1]
        size = sum(pages[place + OGG_HEADER : place + OGG_HEADER + segments])
        struct.pack_into("<I", pages, place + 14, 0)
        struct.pack_into("<I", pages, place + 22, 0)
        place += OGG_HEADER + segments + size
    if place != len(pages):
        raise ValueError("the last Ogg page is not complete")
    return bytes(pages)
