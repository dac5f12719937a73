"""What clients ask for: the fields of their events, checked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from ..voices import OPENAI_VOICES, VoiceBook
from ..web.requests import Record
from .failures import Failure

DEFAULT_VOICE = OPENAI_VOICES[0]  # for a request that names none; --voice-alias can give it another meaning


class Pieces:
    """The text of a stream, which comes piece by piece. Iterate over it with `async for`, once.

    Args:
        most: characters of all pieces together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[str] = []  # that nobody has taken
        self._changed = asyncio.Event()
        self._complete = False
        self.characters = 0

    def add(self, piece: str) -> None:
        """Take the next piece. Raises Failure if the text gets too long."""
        self.characters += len(piece)
        check_length(self.characters, self._most)
        if piece:
            self._waiting.append(piece)
            self._changed.set()

    def finish(self) -> None:
        """End the text."""
        self._complete = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            await self._changed.wait()
            self._changed.clear()
            pieces, self._waiting = self._waiting, []
            complete = self._complete
            if pieces:
                yield "".join(pieces)
            if complete:
                return


@dataclass
class SpeechRequest:
    """A request for speech.

    Args:
        text: whole, or the pieces of a stream.
        voice: the field `voice` of its event.
        record: for the log and the metrics.
    """

    text: str | Pieces
    voice: dict[str, str | None]
    record: Record

    @property
    def characters(self) -> int:
        """The length of the text, as far as it has come."""
        return len(self.text) if isinstance(self.text, str) else self.text.characters

    def voice_name(self, voices: VoiceBook) -> str:
        """The name of the voice to use: the one that is given, or the first one of a language.

        Raises Failure if no voice has the language.
        """
        name, language = self.voice.get("name"), self.voice.get("language")
        if name is not None or language is None:
            return name or DEFAULT_VOICE
        short = language[:2].lower()
        for voice in voices.names:
            if voices.language(voice.id) == short:
                return voice.id
        raise Failure(f"no voice has the language {language[:20]!r}", "invalid_voice")


def text_of(data: dict[str, Any]) -> str:
    """The text of an event. Raises Failure if it has none, or one that is not Unicode."""
    text = data.get("text")
    if not isinstance(text, str):
        raise Failure("the event needs a text", "invalid_event")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Failure("the text has half of a character: it must be Unicode", "invalid_text") from None
    return text


def voice_of(data: dict[str, Any]) -> dict[str, str | None]:
    """The voice of an event; it may be left out. Raises Failure if it, or the format of the text, is wrong."""
    if data.get("text_format") not in (None, "text"):
        raise Failure("this server takes plain text only: leave text_format out", "unsupported_value")
    voice = {} if data.get("voice") is None else data["voice"]
    if not isinstance(voice, dict) or not all(isinstance(voice.get(key), str | None) for key in ("name", "language")):
        raise Failure('the voice must be an object such as {"name": "alloy"}', "invalid_voice")
    return voice


def check_length(characters: int, most: int) -> None:
    """Raise Failure for a text that is too long."""
    if characters > most:
        raise Failure(f"the text is too long: at most {most} characters", "text_too_long")
