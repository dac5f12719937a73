"""The names of voices that a request may use: the bundle's, those of a directory, OpenAI's, and the aliases."""

import difflib
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from threading import Lock
from typing import NamedTuple

from bark_onnx import Bark, VoiceError, VoicePreset
from bark_onnx.errors import shown

from .voice_directory import NameTaken, VoiceDirectory

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
        aliases: further names, and the voice that each means; they replace other meanings of a name.
        directory: voices beside the bundle's; they replace OpenAI's names.

    Raises VoiceError if an alias means a voice that is not there, or if the directory has a name of the bundle's.
    """

    def __init__(self, bark: Bark, aliases: Mapping[str, str], directory: VoiceDirectory | None = None) -> None:
        self._bark = bark
        self._aliases = aliases
        self._directory = directory
        self._presets: dict[str, VoicePreset] = {}  # that have been read, by the bundle's name
        self._change = Lock()  # changes of the directory wait for each other
        own = {*bark.voices, *self._of_directory}
        if twice := sorted({*bark.voices} & {*self._of_directory}):
            raise VoiceError(f"--voices: the bundle has a voice {twice[0]} already: rename {twice[0]}.npz")
        for alias, voice in aliases.items():
            if voice not in own:
                raise VoiceError(f"--voice-alias {alias}={voice}: {_no_voice(voice, tuple(sorted(own)))}")
        self._meanings = self._mean()

    @property
    def _of_directory(self) -> Mapping[str, VoicePreset]:
        return {} if self._directory is None else self._directory.presets

    def _mean(self) -> dict[str, str | None]:
        """What each name means: a voice of the bundle or of the directory, or None."""
        own = {name: name for name in (*self._bark.voices, *self._of_directory)}
        openais = {name: voice for name, voice in assigned(self._bark.voices).items() if name not in own}
        return {**own, **openais, **self._aliases}

    def add(self, name: str, content: bytes, *, replace: bool) -> bool:
        """Add a voice that was uploaded; see `VoiceDirectory.add`."""
        assert self._directory is not None
        with self._change:
            replaced = self._directory.add(name, content, replace=replace, taken=lambda own: own in self._meanings)
            self._meanings = self._mean()
        return replaced

    def remove(self, name: str) -> None:
        """Delete a voice that was uploaded; see `VoiceDirectory.remove`. Raises NameTaken if an alias means it."""
        assert self._directory is not None
        with self._change:
            for alias, voice in self._aliases.items():
                if voice == name:
                    raise NameTaken(f"the name {alias} means this voice, by --voice-alias: it cannot be deleted")
            self._directory.remove(name)
            self._meanings = self._mean()

    @property
    def names(self) -> list[VoiceName]:
        """All names."""
        return [
            VoiceName(name, name if meaning in (name, None) else f"{name} ({meaning})")
            for name, meaning in self._meanings.items()
        ]

    def meaning(self, name: str) -> str | None:
        """The voice that a name means, by its name in the bundle or in the directory; None if the model chooses one."""
        return self._meanings.get(name)

    def language(self, name: str) -> str | None:
        """The language that the name of a voice begins with: de for v2/de_speaker_3; None without one."""
        found = re.match(r"[a-z]{2}(?=_)", (self.meaning(name) or "").rpartition("/")[2])
        return found and found[0]

    def preset(self, name: str) -> VoicePreset | None:
        """The voice of a name; None leaves the choice to the model. Reads a file at the first time.

        Raises VoiceError if there is no voice of this name.
        """
        meanings = self._meanings
        if name not in meanings:
            raise VoiceError(_no_voice(name, meanings))
        meaning = meanings[name]
        if meaning is None:
            return None
        if (preset := self._of_directory.get(meaning)) is not None:
            return preset
        if meaning not in self._bark.voices:
            raise VoiceError(f"the voice {name} has just been deleted")
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
