"""Scripts: dialogues of `SPEAKER: words`, and the cast, which gives every speaker a voice."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..errors import BarkError, warn
from .passages import unwrap
from .punctuation import COMBINING

MOST_WORDS = 4  # of a name that is not in the cast and not in capitals
LISTED = 8  # names in an error or a warning

# A name before a colon, which may be bold in Markdown: "**HOST:** Hello" or "**HOST**: Hello".
_SPEAKER = re.compile(r"(\*\*)?([^:：]{1,60}?)(?(1)(?:\*\*[:：]|[:：]\*\*)|[:：])(?!//)")
_NAME = re.compile(rf"\w[\w{COMBINING} .'’&/\-]*(?P<more>\(.*\)|#?\d*)")  # "Dr. No (angry)", "Guest #2", "Tom & Jo"


@dataclass(frozen=True)
class Line:
    """What one speaker says without a break.

    Args:
        speaker: as the cast spells the name.
        ends_paragraph: whether a blank line or the end of the script follows.
    """

    speaker: str
    text: str
    ends_paragraph: bool


def parse_cast(items: Iterable[str]) -> dict[str, str]:
    """Read `NAME=VOICE` items. Returns the voice of each speaker.

    Raises BarkError for an item of another form, and for a speaker with two voices.
    """
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
                f"--cast {item!r}: a script cannot have this speaker; "
                "a name has up to 60 characters and no ':', and does not begin with '#'"
            )
        if name in cast:
            raise BarkError(f"--cast gives {name!r} two voices, {cast[name]!r} and {voice!r}: leave one out")
        cast[name] = voice
    return cast


def parse_script(text: str, cast: Collection[str]) -> list[Line]:
    """Read a script. Returns its lines in order, each with the words of one speaker up to the next or a blank line.

    A line `NAME: words` begins the turn of a speaker of the cast. Capitals and small letters may differ (`Guest` is
    GUEST), and the name may be bold in Markdown (`**GUEST:**`). Any other line continues the turn. A blank line ends a
    paragraph. Lines that begin with `#` are comments: they are not spoken, and one warning says how many there are.

    A line `Name: words` whose name is not in the cast may belong to a speaker who has no voice. The rules:

    - The name is in capitals, or has up to four words that all begin with a capital, a digit, or a letter of a script
      without capitals, and the words after the colon do not begin with a small letter ("Guest: Hello"): BarkError.
    - It has up to four words otherwise, or a small letter follows the colon ("Note: this is fine", "old man: Hi",
      "- Guest: Hi"): the line continues the turn, and one warning lists such names.
    - It has more words: the line continues the turn.
    - The line is indented more than the line with which the turn began: it continues the turn without a warning. So
      indent words that look like a speaker but are not.
    - A colon between two digits or before `//` does not end a name ("At 10:30", "https://"), and a name has a letter.

    Raises BarkError for speakers who are not in the cast, for a name that could be several speakers of the cast, for
    words before the first speaker, and for a script that says nothing.
    """
    if not isinstance(text, str):
        raise BarkError(f"the script must be a string, not {type(text).__name__}")
    reader = _Reader({name: _folded(name) for name in cast})
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        reader.read(number, line)
    reader.end_turn(ends_paragraph=True)
    reader.check()
    return reader.lines


@dataclass
class _Reader:
    """Reads a script line by line.

    Args:
        cast: names as the cast spells them -> as they are compared.
        lines: what has been read.
        speaker, indent: whose turn it is, and the indentation of the line with which it began.
        said: the turn's words since the last blank line.
        missing, doubtful: names that are, or may be, speakers without a voice -> number of their first line.
        orphan: number of the first line before any speaker.
        comments: numbers of the comments' lines.
    """

    cast: Mapping[str, str]
    lines: list[Line] = field(default_factory=list)
    speaker: str | None = None
    indent: int = 0
    said: list[str] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    doubtful: dict[str, int] = field(default_factory=dict)
    orphan: int | None = None
    comments: list[int] = field(default_factory=list)

    def read(self, number: int, line: str) -> None:
        """Read one line of the script."""
        stripped = line.strip()
        if stripped.startswith("#"):
            self.comments.append(number)
        elif not stripped:
            self.end_turn(ends_paragraph=True)
        else:
            self._read_words(number, stripped, len(line.expandtabs()) - len(line.expandtabs().lstrip()))

    def _read_words(self, number: int, line: str, indent: int) -> None:
        match = _SPEAKER.match(line)
        if match:
            name, words = " ".join(match.group(2).split()), line[match.end() :]
            speaker = self._find(name, number)
            if speaker is None and (self.speaker is None or indent <= self.indent):
                kind = _kind(name, words)
                if kind == "speaker":
                    self.missing.setdefault(name, number)
                    speaker = name  # `check` reports it
                elif kind == "doubtful":
                    self.doubtful.setdefault(name, number)
            if speaker is not None:
                self.end_turn(ends_paragraph=False)
                self.speaker, self.indent, line = speaker, indent, words
        if self.speaker is None and self.orphan is None:
            self.orphan = number
        self.said.append(line)

    def _find(self, name: str, number: int) -> str | None:
        """Return the speaker of the cast whom a name means, if any."""
        if name in self.cast:
            return name
        folded = _folded(name)
        found = [speaker for speaker, compared in self.cast.items() if compared == folded]
        if len(found) > 1:
            raise BarkError(
                f"line {number} of the script: {name!r} may be {' or '.join(found)}; write the name as in the cast"
            )
        return found[0] if found else None

    def end_turn(self, *, ends_paragraph: bool) -> None:
        """Add the words of the turn to the lines."""
        words = unwrap("\n".join(self.said))
        if words and self.speaker is not None:
            self.lines.append(Line(self.speaker, words, ends_paragraph))
        elif ends_paragraph and self.lines:  # the last speaker before the blank line has said nothing
            self.lines[-1] = replace(self.lines[-1], ends_paragraph=True)
        self.said.clear()

    def check(self) -> None:
        """Raise the errors and give the warnings of the whole script."""
        if self.missing:
            listed = list(self.missing)[:LISTED]
            options = " ".join(f'--cast "{name}=VOICE"' if " " in name else f"--cast {name}=VOICE" for name in listed)
            raise BarkError(
                f"the script has speakers without a voice: {_places(self.missing)}: add {options}, "
                "or indent the line if it does not begin with a speaker"
            )
        if self.orphan is not None:
            known = ", ".join(sorted(self.cast)[:LISTED]) or "none: add --cast NAME=VOICE"
            raise BarkError(
                f"line {self.orphan} of the script comes before any speaker: "
                f"begin it with 'NAME: '; the cast has {known}"
            )
        if not self.lines:
            raise BarkError("the script says nothing: write lines such as 'NAME: Hello.'")
        if self.doubtful:
            warn(
                f"some lines of the script may begin with a speaker who is not in the cast: {_places(self.doubtful)}; "
                "the speaker before reads them with the name: add the speaker to the cast, or indent the line"
            )
        if self.comments:
            count = f"{len(self.comments)} lines" if len(self.comments) > 1 else "1 line"
            warn(f"{count} of the script not spoken, as comments begin with '#'; the first is line {self.comments[0]}")


def _kind(name: str, words: str) -> Literal["speaker", "doubtful", "words"]:
    """Tell whether a name that is not in the cast is a speaker, by the rules of `parse_script`.

    Args:
        name: what stands before the colon.
        words: what follows the colon.
    """
    if not any(map(str.isalpha, name)) or (name[-1].isdigit() and words[:1].isdigit()):  # "At 10:30"
        return "words"
    shape = _NAME.fullmatch(name)
    if shape and name.isupper():
        return "speaker"
    parts = name[: shape.start("more") if shape else None].split()
    if len(parts) > MOST_WORDS:
        return "words"
    small = any(part[0].islower() for part in parts) or words.lstrip()[:1].islower()
    return "speaker" if shape and not small else "doubtful"


def _folded(name: str) -> str:
    """Return a name in the form in which names are compared, the same for `Ana`, `ANA` and `ａｎａ`."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _places(names: Mapping[str, int]) -> str:
    places = [f"{name} (line {number})" for name, number in names.items()]
    more = f" and {len(places) - LISTED} more" if len(places) > LISTED else ""
    return ", ".join(places[:LISTED]) + more
