"""Which texts are normalised, and in which language: the same rule for Python, the command, batches and the server.

- `auto`, the default: the language that the name of the voice begins with, such as de for v2/de_speaker_3. A text is
  spoken as it is written if the voice has no such name, and if the extra `text` is not installed.
- a language: always, with any voice.
- `off`: never.

Where the reference's own behaviour is asked for (one utterance with `single`), `auto` means `off`.
"""

import re
from os import PathLike, fspath

from ..errors import BarkError, shown
from .language import LANGUAGES
from .libraries import missing
from .normalizer import Normalizer, normalizer

AUTO, OFF = "auto", "off"
CHOICES = (AUTO, OFF, *LANGUAGES)


def language_of(voice: object) -> str | None:
    """The language that a voice's name begins with: de for v2/de_speaker_3, en for voices/en_anna.npz.

    None for a name that begins otherwise, and for a voice without a name.
    """
    if not isinstance(voice, str | PathLike):
        return None
    found = re.match(r"([a-z]{2})_", re.split(r"[/\\]", str(fspath(voice)))[-1])
    return found.group(1) if found and found.group(1) in LANGUAGES else None


def for_single(normalize: str) -> str:
    """What a choice means for one utterance that is spoken as the reference speaks it."""
    return OFF if normalize == AUTO else normalize


def chosen_language(normalize: str, voice: object) -> str:
    """The language in which a text is normalised, or `off`.

    Args:
        normalize: one of CHOICES.
        voice: as a caller gives it.

    Raises BarkError for another value.
    """
    if not isinstance(normalize, str) or normalize not in CHOICES:
        raise BarkError(f"normalize must be {', '.join(CHOICES)}, not {shown(normalize)[:40]}")
    if normalize != AUTO:
        return normalize
    return OFF if missing() else language_of(voice) or OFF


def chosen_normalizer(normalize: str, voice: object) -> Normalizer | None:
    """As `chosen_language`: what normalises a text; None if nothing does.

    Raises BarkError also if the extra `text` is needed and not installed.
    """
    language = chosen_language(normalize, voice)
    return None if language == OFF else normalizer(language)
