"""What a file is: by its suffix, by its content; what is refused; and that all readers are linear and keep words."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bark_onnx import BarkError
from bark_onnx.texts.formats import FORMATS, READERS, Format, read_text, recognise, refuse_binary
from linear import is_linear

SRT = "1\n00:00:01,000 --> 00:00:02,000\nHello\n"
PAGE = "<!DOCTYPE html>\n<html><body><p>Hello</p></body></html>"
SSML = '<?xml version="1.0"?>\n<speak version="1.1">Hello</speak>'


@pytest.mark.parametrize(
    ("name", "written_as"),
    [
        ("a.txt", "book"),
        ("a", "book"),
        ("", "book"),
        ("README.MD", "markdown"),
        ("a.markdown", "markdown"),
        ("a.htm", "html"),
        ("a.xhtml", "html"),
        ("a.srt", "srt"),
        ("a.vtt", "vtt"),
        ("a.ssml", "ssml"),
    ],
)
def test_a_suffix_tells_the_format(name: str, written_as: Format) -> None:
    assert recognise("Hello.", name) == written_as


@pytest.mark.parametrize(
    ("content", "written_as"),
    [
        ("Dear Sir,\n\nyes. 3 < 4 & 5 > 4", "book"),
        ("[laughs] Hello ♪ la ♪", "book"),
        ("{hello} said [he]", "book"),
        ("- Hola.\n- ¿Qué tal?\n", "book"),
        ("Call #1 is **not** mine", "book"),
        ("* * *\n\nHello\n-----\n", "book"),
        ("a, b,\nc, d,\ne, f\n", "book"),
        (SRT, "srt"),
        ("\n\n" + SRT, "srt"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nHello", "vtt"),
        (PAGE, "html"),
        ("<p>Hello</p>", "html"),
        ("It is <b>bold</b> and <i>it</i>.", "html"),
        ("<!-- made by x -->\n<html>", "html"),
        (SSML, "ssml"),
        ("<speak>Hello</speak>", "ssml"),
        ("# Title\n\nWords", "markdown"),
        ("Words\n\n## Title\n\nIt is **so**.", "markdown"),
        ("See [here](https://example.com).", "markdown"),
        ("Words:\n\n```\ncode\n```\n", "markdown"),
        ("a | b\n--- | ---\n1 | 2\n", "markdown"),
    ],
)
def test_content_tells_the_format(content: str, written_as: Format) -> None:
    assert recognise(content) == written_as
    assert read_text(content).format == written_as
    assert read_text("\ufeff" + content.replace("\n", "\r\n")).text == read_text(content).text


@pytest.mark.parametrize("name", ["a.md", "a.txt", ""])
def test_a_script_keeps_its_own_marks(name: str) -> None:
    script = "# a comment\n**HOST:** Hi & [bye](x.y) _now_[1]\n"
    prose = read_text(script, name=name, script=True)
    assert (prose.text, prose.is_as_written, prose.format) == (script, True, "text")
    assert read_text(script, "markdown", script=True).format == "markdown"
    assert read_text(SRT, name="a.srt", script=True).format == "srt"


@pytest.mark.parametrize(
    ("content", "name", "fragments"),
    [
        ('{"text": "hi"}\n{"text": "ho"}\n', "", ["the text is JSON", "jq -r .text", "Bark.generate_batch"]),
        ('[{"text": "hi"}]', "", ["is JSON"]),
        ("not at all", "a.jsonl", ["a.jsonl is JSON"]),
        ("id,text,voice\n1,Hi,x\n2,Ho,y\n", "", ["is a table", "cut -d, -f2", "Bark.generate_batch"]),
        ("id\ttext\n1\tHi\n2\tHo\n", "", ["is a table", "cut -f2"]),
        ("id,text\n", "a.csv", ["a.csv is a table"]),
        ("[Script Info]\nTitle: x\n", "", ["Aegisub", ".srt"]),
        ("<?xml version='1.0'?><a>b</a>", "a.xml", ["a.xml is XML", "--format html"]),
    ],
)
def test_what_is_not_a_text_is_refused_with_advice(content: str, name: str, fragments: list[str]) -> None:
    with pytest.raises(BarkError) as caught:
        read_text(content, name=name)
    assert [fragment for fragment in fragments if fragment not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
    assert read_text(content, "text", name=name).text == content


def test_deep_json_is_text() -> None:
    assert recognise('["' * 100_000) == "book"
    assert recognise('{"a":' * 100_000) == "book"


@pytest.mark.parametrize(
    ("content", "fragment"),
    [(b"%PDF-1.7\n", "PDF"), (b"PK\x03\x04..", "epub"), (b"{\\rtf1", "RTF"), (b"\x1f\x8b\x08", "gzip")],
)
def test_files_that_are_not_text_are_named(content: bytes, fragment: str) -> None:
    with pytest.raises(BarkError, match=fragment):
        refuse_binary(content, "a.bin")
    refuse_binary(b"Hello" + content, "a.txt")


@pytest.mark.parametrize("written_as", ["pdf", "", None, 5])
def test_an_unknown_format_is_refused(written_as: Any) -> None:
    with pytest.raises(BarkError, match="a text's format is auto, text, book"):
        read_text("Hello", written_as)


def test_the_command_has_all_formats() -> None:
    assert set(FORMATS) == {*READERS, "auto"}


def test_the_format_text_changes_nothing() -> None:
    content = f"{PAGE}\n{SRT}\n# A\n\nhand-\nsome &amp; _it_[1]"
    prose = read_text(content, "text", name="a.html")
    assert (prose.text, prose.is_as_written) == (content, True)


def test_a_note_tells_what_is_left_out() -> None:
    prose = read_text("Hi<br>there &amp; <img src=x>me<script>x</script>", "html")
    assert prose.note == "read as html; left out: tags (1), images (1), scripts (1)"
    assert read_text("hand-\nsome[1]").note == (
        "read as book; left out: footnote marks (1); changed: words joined at line ends (1)"
    )
    assert read_text("Hello").is_as_written


def test_gutenberg_s_licence_is_left_out_of_every_format() -> None:
    def book(paragraph: str) -> str:
        lines = ("licence", "*** START OF THE PROJECT GUTENBERG EBOOK X ***", "Hello.",
                 "*** END OF THE PROJECT GUTENBERG EBOOK X ***", "licence")  # fmt: skip
        return "\n\n".join(paragraph.format(line) for line in lines)

    assert read_text(book("<p>{}</p>")).text.strip() == "Hello."
    assert read_text(book("{}"), "markdown").text.strip() == "Hello."
    assert "Project Gutenberg" in read_text(book("<p>{}</p>")).note


WORDS = st.text("abcdeéжו你 \n.,!?'", max_size=80)


@given(text=WORDS)
@pytest.mark.parametrize("written_as", [name for name in FORMATS if name != "auto"])
def test_no_reader_loses_words(written_as: Format, text: str) -> None:
    if written_as in ("srt", "vtt"):  # there a line that is repeated is left out, and the note says so
        lines = [line.split() for line in text.splitlines() if line.strip()]
        assume(all(line != after for line, after in pairwise(lines)))
    assert read_text(text, written_as).text.split() == text.split()


@given(text=st.text(max_size=200))
def test_any_content_can_be_read(text: str) -> None:
    for written_as in READERS:
        read_text(text, written_as)


UNITS = [
    "a", "<", "<a", "<a ", '<a "', "<!--", "<!-- -->", "<![CDATA[", "</", "<script>", "</script", "<nav>", "</nav>",
    "<sup>", "<a><sup>", "<td>", "<pre>", "&", "&amp;", "&#1", "*", "**a", "_a", "~~a", "`", "``a`", "[", "[a](",
    "[a][", "![a](", "[](a", "(", "\\", "|", "-", "> ", "#", "# ", "-\n", "- a\n", "---\n", "```\n", "~~~~\n", "<!--\n",
    "a-\n", "a-\na", "    a\n", "[a]: b\n", "[^a]", "\n", " ", "\t", " \n", "{\\", "1\n",
    "00:00:01,000 --> 00:00:02,000\n", "[Illustration", "[1]", "*** START OF THE PROJECT GUTENBERG\n",
    "End of Project Gutenberg\n", "I\n", "CHAPTER ", "<speak>", "<sub alias='a'>", "<break time='1s'/>",
    "\u00b9", "WEBVTT", "NOTE\n", "\u0301", "1. ", "*a* ", '"',
    "a,b,c\n", "a\tb\n", '{"a":', "[[", "a|b\n-|-\n",
]  # fmt: skip


@pytest.mark.parametrize("written_as", FORMATS)
def test_reading_takes_linear_time(written_as: Format) -> None:
    def read(text: str) -> None:
        try:
            read_text(text, written_as)
        except BarkError:
            assert written_as == "auto"

    assert [unit for unit in UNITS if not is_linear(read, unit)] == []


def test_a_readme_is_read(request: pytest.FixtureRequest) -> None:
    """This project's own: no mark, no code and no address remains."""
    root = Path(__file__).parents[2]
    text = read_text((root / "README.md").read_text(encoding="utf-8"), name="README.md").text
    assert [mark for mark in ("```", "](", "**", "|---", "pip install") if mark in text] == []
    assert "bark-onnx" in text
