"""The formats of files of text: which one a file has, and its words. What is not a text to speak is refused.

A file's format is that of its suffix, or else what its content shows. `text` is read as it is written.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath
from typing import Literal

from ..errors import BarkError, shown
from .book import read_book, without_gutenberg
from .cues import TIMES, read_cues
from .html import read_html
from .markdown import read_markdown
from .prose import Prose
from .ssml import read_ssml

__all__ = ["Prose", "read_text"]

Format = Literal["auto", "text", "book", "markdown", "html", "srt", "vtt", "ssml"]
READERS: dict[Format, Callable[[str], Prose]] = {
    "text": Prose,
    "book": read_book,
    "markdown": read_markdown,
    "html": read_html,
    "srt": read_cues,
    "vtt": read_cues,
    "ssml": read_ssml,
}
FORMATS: tuple[Format, ...] = ("auto", *READERS)

_SUFFIXES: dict[str, Format] = {
    ".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html", ".xhtml": "html",
    ".srt": "srt", ".vtt": "vtt", ".ssml": "ssml",
}  # fmt: skip
_TABLES = {".csv": ",", ".tsv": "\t"}
_JSON = (".json", ".jsonl", ".ndjson")
_SEEN = 1 << 16  # characters at the beginning that decide
_BINARY = {  # how files begin -> what they are, what to do
    b"%PDF": ("a PDF", "convert it first, for example with pdftotext"),
    b"PK\x03\x04": ("a ZIP file (as .docx, .odt and .epub are)", "convert it to text first, for example with pandoc"),
    b"{\\rtf": ("RTF", "convert it to text first, for example with pandoc"),
    b"\xd0\xcf\x11\xe0": ("a file of an old Microsoft program", "save it as text first"),
    b"\x1f\x8b": ("compressed by gzip", "pass its content with gunzip -c FILE | bark-onnx say --file -"),
}
_HTML = re.compile(
    r"\s*(?:<\?xml[^<>]*>\s*)?(?:<!--.{0,2000}?-->\s*)?<(?:!doctype html|html|head|body|div|p|h1|article)\b",
    re.I | re.S,
)
_SSML = re.compile(r"\s*(?:<\?xml[^<>]*>\s*)?(?:<![^<>]*>\s*)?<(?:\w+:)?speak\b", re.I)
_XML = re.compile(r"\s*<\?xml\b")
_INLINE_TAG = re.compile(r"</(?:b|i|em|strong|p|span|a|u|div|h[1-6]|li)>", re.I)
_MARKDOWN = (  # one of these shows Markdown
    re.compile(r"\s*#{1,6} +\S"),
    re.compile(r"^(?:```|~~~)", re.M),
    re.compile(r"\[[^\[\]\n]{1,200}\]\((?:https?:|#|\.{0,2}/|[\w-]{1,50}\.)[^()\s]{0,500}\)"),
    re.compile(r"^\|?[ \t]*:?-{3,}:?[ \t]*\|[-:| \t]*$", re.M),
)
_MARKDOWN_TOO = (  # or two of these
    re.compile(r"^#{1,6} +\S", re.M),
    re.compile(r"(?<![\w*])\*\*\w[^*\n]{0,200}\*\*(?![\w*])"),
    re.compile(r"^(?:[-*+] +\S.{0,500}\n){2}", re.M),
)


def read_text(content: str, written_as: Format = "auto", *, name: str = "", script: bool = False) -> Prose:
    """Return the words of a file.

    Args:
        content: of the file.
        written_as: its format; "auto" takes the one of the file's suffix, or what the content shows.
        name: of the file; "" if it has none.
        script: whether it is a script of `SPEAKER: words`. Its marks are those of scripts, so it is neither a book nor
            Markdown unless `written_as` says so.

    Raises BarkError for an unknown format, and for content that is not a text to speak, with what to do instead.
    """
    if written_as not in FORMATS:
        raise BarkError(f"a text's format is {', '.join(FORMATS)}, not {shown(written_as)}")
    content = content.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if written_as == "auto":
        written_as = recognise(content, name, script=script)
    prose = READERS[written_as](content)
    if written_as in ("html", "markdown"):
        left_out = Counter(prose.left_out)
        prose = Prose(without_gutenberg(prose.text, left_out), left_out, prose.changed)
    return replace(prose, format=written_as)


def refuse_binary(content: bytes, name: str) -> None:
    """Raise BarkError for a file of a kind that is known not to be text."""
    for beginning, (kind, advice) in _BINARY.items():
        if content.startswith(beginning):
            raise BarkError(f"{name} is {kind}, not text: {advice}")


def recognise(content: str, name: str = "", *, script: bool = False) -> Format:
    """Return the format of a file, as for `read_text`. Raises BarkError if it is not a text to speak."""
    suffix = PurePath(name).suffix.lower()
    beginning = content[:_SEEN]
    if suffix in _SUFFIXES and not (script and suffix in (".md", ".markdown")):
        return _SUFFIXES[suffix]
    _refuse_data(content, beginning, suffix, name or "the text")
    if beginning.startswith("WEBVTT"):
        return "vtt"
    if any(TIMES.fullmatch(line) for line in beginning.lstrip().split("\n")[:3]):
        return "srt"
    if _SSML.match(beginning):
        return "ssml"
    if _HTML.match(beginning) or len(_INLINE_TAG.findall(beginning)) > 1:
        return "html"
    if _XML.match(beginning):
        raise BarkError(f"{name or 'the text'} is XML: to speak its text without the tags, give --format html")
    if script:
        return "text"
    if _MARKDOWN[0].match(beginning) or any(pattern.search(beginning) for pattern in _MARKDOWN[1:]):
        return "markdown"
    return "markdown" if sum(bool(pattern.search(beginning)) for pattern in _MARKDOWN_TOO) > 1 else "book"


def _refuse_data(content: str, beginning: str, suffix: str, name: str) -> None:
    """Raise BarkError for JSON, tables and other files that are not prose."""
    literally = "to speak it as it is written, give --format text"
    if suffix in _JSON or (suffix not in _TABLES and _is_json(content)):
        raise BarkError(
            f"{name} is JSON, not a text: pass the words on, for example with "
            f"jq -r .text FILE | bark-onnx say --file -, or speak each line with Bark.generate_batch; {literally}"
        )
    delimiter = _TABLES.get(suffix) or next((d for d in "\t," if _is_table(beginning, d)), None)
    if delimiter:
        cut = "cut -f2" if delimiter == "\t" else "cut -d, -f2"
        raise BarkError(
            f"{name} is a table, not a text: pass one column on, for example with "
            f"{cut} FILE | bark-onnx say --file -, or speak each row with Bark.generate_batch; {literally}"
        )
    if beginning.startswith("[Script Info]"):
        raise BarkError(f"{name} is in the subtitle format of Aegisub: convert it to .srt first; {literally}")


def _is_json(content: str) -> bool:
    """Whether the content, or each of its first lines, is an object of JSON."""
    content = content.strip()
    if not content.startswith(("{", "[{", '["')):
        return False
    first = content.partition("\n")[0]
    for text in (first, content):
        try:
            return isinstance(json.loads(text), dict | list)
        except (ValueError, RecursionError):
            continue
    return False


def _is_table(beginning: str, delimiter: str) -> bool:
    """Whether at least three lines have the same number of cells, and no space follows a delimiter, as in prose."""
    lines = [line for line in beginning.split("\n") if line.strip()][:20]
    if len(lines) < 3 or f"{delimiter} " in "".join(lines):
        return False
    try:
        widths = {len(row) for row in csv.reader(io.StringIO("\n".join(lines[:-1])), delimiter=delimiter)}
    except csv.Error:
        return False
    return len(widths) == 1 and widths.pop() >= (2 if delimiter == "\t" else 3)
