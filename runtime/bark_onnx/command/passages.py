"""What `say` tells and keeps of the passages of a text: problems, subtitles, and how to continue."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import warn
from ..files import replacing
from ..long.journal import Journal
from ..long.spoken import PassageReport
from ..subtitles.formats import Cue, at_speed, to_json, to_srt, to_vtt
from .options import Output

SUBTITLES = {".srt": to_srt, ".vtt": to_vtt, ".json": to_json}  # by suffix


class PassageLog:
    """The passages so far. Each is reported when it comes: what went wrong, and what is from an interrupted run.

    Args:
        journal: where this run keeps its passages until the audio is complete; None if it keeps none.
        shows: whether to show the words of each passage, if that was asked for: nothing has shown them before.
    """

    def __init__(self, output: Output, journal: Path | None = None, *, shows: bool = False) -> None:
        self._output = output
        self._shows = shows
        self.journal = journal
        self._cues: list[Cue] = []
        self._count = 0
        self._resumed = 0
        self.seconds = 0.0
        self.resumed_seconds = 0.0

    def add(self, passage: PassageReport) -> None:
        """Report a passage."""
        self._count += 1
        if passage.resumed:
            self._resumed += 1
            self.resumed_seconds += passage.end - self.seconds
        elif self._resumed and self._count == self._resumed + 1:
            self._tell_resumed()
        self.seconds = passage.end
        self._cues += passage.cues
        if self._shows:
            self._output.show(passage.spoken)
        _warn(self._count, passage)

    def finish(self, subtitles: Path | None) -> None:
        """Write the subtitles, and remove the journal, since the audio is complete."""
        if self._resumed == self._count:
            self._tell_resumed()
        write_subtitles(subtitles, at_speed(self._cues, self._output.speed))
        if self.journal is not None:
            Journal.remove(self.journal)

    def _tell_resumed(self) -> None:
        if self._resumed:
            count = f"{self._resumed} passages" if self._resumed > 1 else "1 passage"
            self._output.say(
                f"{count} ({self.resumed_seconds / self._output.speed:.1f} s) kept from the interrupted run"
            )


@contextmanager
def resumable(output: Output, log: PassageLog) -> Iterator[None]:
    """Tell how to continue if the block is interrupted, and if there is a journal."""
    try:
        yield
    except KeyboardInterrupt:
        if log.journal is not None and log.journal.exists():
            count = Journal.count(log.journal)
            if count:
                kept = f"{count} passages are" if count > 1 else "1 passage is"
                output.say(f"stopped: {kept} kept; run the same command again to continue")
            else:
                Journal.remove(log.journal)
                output.say("stopped: no passage was finished, so nothing is kept")
        raise


def write_subtitles(path: Path | None, cues: Sequence[Cue]) -> None:
    """Write subtitles in the format of the path's suffix, whole or not at all; nothing for None."""
    if path is not None:
        with replacing(path) as temporary:
            temporary.write_text(SUBTITLES[path.suffix.lower()](cues), encoding="utf-8")


def _warn(number: int, passage: PassageReport) -> None:
    """Warn about what went wrong with a passage, and about what a further attempt has mended."""
    words = " ".join(passage.text.split())
    words = words if len(words) <= 40 else f"{words[:37]}..."
    if passage.problems:
        message = f"passage {number} ({words}), best of {passage.attempts} attempts: "
    elif passage.rejected:
        message = f"passage {number} ({words}) is good after {passage.attempts} attempts; before: "
    else:
        return
    message += "; ".join(map(str, passage.problems or passage.rejected))
    warn(message)
