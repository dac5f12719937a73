"""Read events. The library's own function reads as much as an event says that it has, and takes any JSON."""

import asyncio
import json
from typing import Any

from wyoming.event import Event

from .failures import Failure


async def read_event(reader: asyncio.StreamReader, most: int) -> Event | None:
    """Read one event: a line of JSON, then perhaps more JSON, then perhaps a payload, which is dropped.

    Args:
        reader: its limit is the longest line.
        most: bytes of the JSON after the line, and of the payload. No event that this server knows has a payload.

    Returns None if the client has gone. Raises Failure for what is too long, or is not an event.
    """
    try:
        line = await reader.readline()
    except ValueError:  # the line is longer than the reader's limit
        raise _too_long(most) from None
    if not line.endswith(b"\n"):
        return None
    head = _object(line)
    try:
        more = await reader.readexactly(_length(head, "data_length", most))
        await reader.readexactly(_length(head, "payload_length", most))
    except asyncio.IncompleteReadError:
        return None
    kind = head.get("type")
    if not isinstance(kind, str):
        raise Failure("an event needs a type", "invalid_event")
    data = {} if head.get("data") is None else head["data"]
    if not isinstance(data, dict):
        raise Failure("the data of an event must be an object", "invalid_event")
    return Event(kind, {**data, **(_object(more) if more else {})})


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Failure("an event must be a JSON object on one line", "invalid_event")
    return found


def _length(head: dict[str, Any], name: str, most: int) -> int:
    length = 0 if head.get(name) is None else head[name]
    if not isinstance(length, int) or length < 0:
        raise Failure(f"{name} must be a number of bytes", "invalid_event")
    if length > most:
        raise _too_long(most)
    return length


def _too_long(most: int) -> Failure:
    return Failure(f"the event is too long: at most {most} bytes", "event_too_long")
