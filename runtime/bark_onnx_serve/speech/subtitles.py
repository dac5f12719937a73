"""Subtitles of speech while it is made: events beside those of the audio, which OpenAI's clients pass over."""

from typing import Any, Literal, TypeAlias

from bark_onnx.subtitles.formats import Cue, at_speed, to_json, to_srt, to_vtt

from ..service import Speaking

SubtitleFormat: TypeAlias = Literal["vtt", "srt", "json"]
Event: TypeAlias = dict[str, Any]

_WRITERS = {"vtt": to_vtt, "srt": to_srt, "json": to_json}


class Subtitles:
    """Says when each phrase of an answer is said.

    A cue is sent when its phrase begins; its times are estimates then. It is sent again when its passage is complete,
    if its times have changed, since only then all pauses of the passage are known.

    Args:
        speed: at which the speech is sent. All times are seconds of what the client gets.
        subtitle_format: of the document; None: no subtitles were asked for.
    """

    def __init__(self, speaking: Speaking, speed: float, subtitle_format: SubtitleFormat | None) -> None:
        self._format = subtitle_format
        self._speaking = speaking
        self._speed = speed
        self._passages = 0  # that are complete
        self._cues: list[Cue] = []  # of these
        self._sent: list[Event] = []  # what was last sent of each cue

    def news(self) -> list[Event]:
        """The events that have become due since the last call."""
        if self._format is None:
            return []
        first = len(self._cues)
        for passage in self._speaking.passages[self._passages :]:
            self._cues += at_speed(passage.cues, self._speed)
            self._passages += 1
        due, current = self._cues[first:], self._speaking.current
        if current is not None:
            taken = self._speaking.seconds / self._speed
            due += [cue for cue in at_speed(current.cues, self._speed) if cue.start < taken]
        events = []
        for index, cue in enumerate(due, first):
            event = _event(index, cue)
            if index == len(self._sent) or (index < len(self._cues) and self._sent[index] != event):
                self._sent[index : index + 1] = [event]
                events.append(event)
        return events

    def document(self) -> list[Event]:
        """The event with all subtitles as a file, at the end."""
        if self._format is None:
            return []
        document = _WRITERS[self._format](self._cues)
        return [{"type": "speech.subtitles.done", "format": self._format, "document": document}]


def _event(index: int, cue: Cue) -> Event:
    start, end = round(cue.start, 3), round(cue.end, 3)
    return {"type": "speech.subtitles.cue", "index": index, "start": start, "end": end, "text": cue.text}
