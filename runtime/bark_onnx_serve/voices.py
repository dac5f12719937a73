"""The names of voices that a request may use: the bundle's, OpenAI's, and the operator's aliases."""

import difflib
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from bark_onnx import Bark, VoiceError, VoicePreset
from bark_onnx.errors import shown

# OpenAI's voices, in turns one that sounds female and one that sounds male there. The order decides which voice of the
# bundle each gets, so new names come last.
OPENAI_VOICES = (
    "alloy", "ash", "coral", "ballad", "fable", "echo", "nova", "onyx", "sage", "verse", "shimmer", "cedar", "marin",
)  # fmt: skip


class VoiceName(NamedTuple):
    """A name that requests may use, and how to show it to a person."""

    id: str
    name: str


class VoiceBook:
    """Finds voices by name. A name is never a path.

    Args:
        bark: the loaded model.
        aliases: further names, and the voice of the bundle that each means; they replace other meanings of a name.

    Raises BarkError if an alias means a voice that the bundle does not have.
    """

    def __init__(self, bark: Bark, aliases: Mapping[str, str]) -> None:
        self._bark = bark
        self._presets: dict[str, VoicePreset] = {}  # that have been read, by the bundle's name
        self._meanings: dict[str, str | None] = {name: name for name in bark.voices}
        for name, voice in assigned(bark.voices).items():
            self._meanings.setdefault(name, voice)
        for alias, voice in aliases.items():
            if voice not in bark.voices:
                raise VoiceError(f"--voice-alias {alias}={voice}: {_no_voice(voice, bark.voices)}")
            self._meanings[alias] = voice

    @property
    def names(self) -> list[VoiceName]:
        """All names."""
        return [
            VoiceName(name, name if meaning in (name, None) else f"{name} ({meaning})")
            for name, meaning in self._meanings.items()
        ]

    def language(self, name: str) -> str | None:
        """The language that the name of a voice in the bundle begins with: de for v2/de_speaker_3; None without one."""
        voice = self._meanings[name] or ""
        found = re.match(r"[a-z]{2}(?=_)", voice.rpartition("/")[2])
        return found and found[0]

    def preset(self, name: str) -> VoicePreset | None:
        """The voice of a name; None leaves the choice to the model. Reads a file at the first time.

        Raises VoiceError if there is no voice of this name.
        """
        if name not in self._meanings:
            raise VoiceError(_no_voice(name, self._meanings))
        meaning = self._meanings[name]
        if meaning is None:
            return None
        if meaning not in self._presets:
            preset = self._bark.preset(meaning)
            assert preset is not None
            self._presets[meaning] = preset
        return self._presets[meaning]


def assigned(voices: tuple[str, ...]) -> dict[str, str | None]:
    """OpenAI's names, each with a voice of the bundle: the English ones in turn, if their names say so.

    None where the bundle has no voices.
    """
    english = [voice for voice in voices if voice.rpartition("/")[2].startswith("en_")] or [*voices]
    return {name: english[place % len(english)] if english else None for place, name in enumerate(OPENAI_VOICES)}


def _some(names: Iterable[str]) -> str:
    """The first of some names, as a sentence ends with them; nothing without names."""
    first = [*islice(names, 4)]
    return f": {', '.join(first[:3])}{' ...' * (len(first) > 3)}" if first else ""


def _no_voice(name: str, names: Mapping[str, object] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name[:100], names, n=3, cutoff=0.5)
    advice = f"did you mean {' or '.join(near)}?" if near else f"there are {len(names)}{_some(names)}"
    return f"no voice {shown(name)[:100]}: {advice}"
