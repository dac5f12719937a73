"""Scripts: dialogues of `SPEAKER: line`, and the cast that gives every speaker a voice."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..errors import BarkError
from .splitting import unwrap

_SPEAKER = re.compile(r"([^:：]{1,60})[:：](?!//)")
_NAME = re.compile(r"\w[\w .'’\-]*(?:\(.*\)|#?\d*)")  # what a speaker's name may look like, if it is in capitals


@dataclass(frozen=True)
class Line:
    """What one speaker says without a break."""

    speaker: str
    text: str
    ends_paragraph: bool


def parse_cast(items: Iterable[str]) -> dict[str, str]:
    """`NAME=VOICE` items -> voice by speaker. Raises BarkError for an item that is not one, or a speaker with two."""
    cast: dict[str, str] = {}
    for item in items:
        name, equals, voice = item.partition("=")
        name, voice = " ".join(name.split()), voice.strip()
        if not equals:
            raise BarkError(f"--cast {item!r} has no '=': write --cast NAME=VOICE")
        if not name or not voice:
            raise BarkError(f"--cast {item!r} has no {'voice' if name else 'speaker'}: write --cast NAME=VOICE")
        if re.search(r"[:：]|^#", name) or len(name) > 60:
            raise BarkError(
                f"--cast {item!r}: no line of a script can have this speaker; "
                "names have up to 60 characters, no ':', and do not begin with '#'"
            )
        if name in cast:
            raise BarkError(f"--cast gives {name!r} two voices, {cast[name]!r} and {voice!r}: leave one out")
        cast[name] = voice
    return cast


def parse_script(text: str, cast: Collection[str]) -> list[Line]:
    """A script -> its lines, in order, each the words of one speaker up to the next speaker or blank line.

    A line without a speaker goes on with the former one's words, a blank line ends a paragraph, and a line that
    begins with `#` is a comment. Raises BarkError for speakers who are not in the cast, as far as they are written in
    capitals, for words before the first speaker, and for a script that says nothing.
    """
    parsed: list[Line] = []
    missing: dict[str, int] = {}  # speaker -> number of their first line
    orphan: int | None = None
    speaker: str | None = None
    said: list[str] = []

    def finish(ends_paragraph: bool) -> None:
        words = unwrap("\n".join(said))
        if words and speaker is not None:
            parsed.append(Line(speaker, words, ends_paragraph))
        elif ends_paragraph and parsed:  # the words before the blank line were finished by a speaker who said nothing
            parsed[-1] = Line(parsed[-1].speaker, parsed[-1].text, True)
        said.clear()

    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        if not line.strip():
            finish(ends_paragraph=True)
            continue
        name, words = _split_speaker(line, cast)
        if name is not None:
            finish(ends_paragraph=False)
            speaker = name
            if name not in cast:
                missing.setdefault(name, number)
        elif speaker is None and orphan is None:
            orphan = number
        said.append(words)
    finish(ends_paragraph=True)
    _check(parsed, cast, missing, orphan)
    return parsed


def _split_speaker(line: str, cast: Collection[str]) -> tuple[str | None, str]:
    """(speaker or None, words). Capitals that are not in the cast count as a speaker."""
    line = line.strip()
    match = _SPEAKER.match(line)
    if match:
        name = " ".join(match.group(1).split())
        if name in cast or (name.isupper() and _NAME.fullmatch(name)):
            return name, line[match.end() :]
    return None, line


def _check(parsed: list[Line], cast: Collection[str], missing: dict[str, int], orphan: int | None) -> None:
    if missing:
        places = ", ".join(f"{name} (line {number})" for name, number in missing.items())
        options = " ".join(f'--cast "{name}=VOICE"' if " " in name else f"--cast {name}=VOICE" for name in missing)
        raise BarkError(f"the script has speakers without a voice: {places}: add {options}")
    if orphan is not None:
        known = ", ".join(sorted(cast)[:8]) or "none: add --cast NAME=VOICE"
        raise BarkError(
            f"line {orphan} of the script comes before any speaker: begin it with 'NAME: '; the cast has {known}"
        )
    if not parsed:
        raise BarkError("the script says nothing: write lines such as 'NAME: Hello.'")
