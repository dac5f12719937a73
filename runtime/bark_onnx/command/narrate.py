"""Speaking a long text for `say`, passage by passage, with a journal from which an interrupted run continues."""

import warnings
from pathlib import Path
from time import perf_counter

from ..errors import BarkWarning
from ..files import replacing
from ..long.journal import Journal
from ..long.narration import SpokenPassage
from ..long.subtitles import Cue, to_json, to_srt, to_vtt
from ..pipeline import Bark
from .options import LongText, Output, Sampling
from .output import open_output

_JOURNAL_SUFFIX = ".partial"
SUBTITLES = {".srt": to_srt, ".vtt": to_vtt, ".json": to_json}  # by suffix


def narrate(bark: Bark, text: str, output: Output, sampling: Sampling, long_text: LongText) -> None:
    """Speak a text, write the audio of each passage as soon as it is made, and the subtitles at the end."""
    start = perf_counter()
    cues: list[Cue] = []
    journal = None if output.file is None else journal_of(output.file)
    passages = bark.generate_long(
        text,
        voice=sampling.voice,
        options=sampling.options(),
        seed=sampling.seed,
        history=long_text.history or "fixed",
        cast=long_text.voices(),
        narration=long_text.options(),
        journal=journal,
    )
    try:
        with open_output(output, bark.sample_rate) as write:
            for number, passage in enumerate(passages, 1):
                write(passage.waveform)
                cues.append(passage.cue)
                _report(number, passage)
    except KeyboardInterrupt:
        if journal is not None:
            output.tell(f"stopped after {len(cues)} passages; run the same command again to continue")
        raise
    if long_text.subtitles is not None:
        with replacing(long_text.subtitles) as temporary:
            temporary.write_text(SUBTITLES[long_text.subtitles.suffix.lower()](cues), encoding="utf-8")
    if journal is not None:
        Journal.remove(journal)
    output.summarize(cues[-1].end, perf_counter() - start)


def journal_of(output: Path) -> Path:
    """Return the directory in which finished passages are kept until the audio file is complete."""
    return Path(f"{output}{_JOURNAL_SUFFIX}")


def _report(number: int, passage: SpokenPassage) -> None:
    """Warn about what went wrong with a passage, and about what a further attempt has mended."""
    words = passage.text if len(passage.text) <= 40 else f"{passage.text[:37]}..."
    if passage.problems:
        message = f"passage {number} ({words}), best of {passage.attempts} attempts: "
    elif passage.rejected:
        message = f"passage {number} ({words}) was spoken {passage.attempts} times: "
    else:
        return
    message += "; ".join(map(str, passage.problems or passage.rejected))
    warnings.warn(message, BarkWarning, stacklevel=1)
