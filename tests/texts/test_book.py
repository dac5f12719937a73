"""Books: line ends, headings, marks of footnotes, and the licence of Project Gutenberg."""

import pytest

from bark_onnx.texts.book import read_book

GUTENBERG = """The Project Gutenberg eBook of Emma

This ebook is for the use of anyone anywhere.

*** START OF THE PROJECT GUTENBERG EBOOK EMMA, A NOVEL WITH A
LONG TITLE ***

Produced by An Anonymous Volunteer
and others

EMMA

The text.

End of the Project Gutenberg EBook of Emma, by Jane Austen

*** END OF THE PROJECT GUTENBERG EBOOK EMMA ***

The licence.
"""


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("hand-\nsome, clever", "handsome, clever"),
        ("hand-  \n  some", "handsome"),
        ("hand\u00ad\nsome hand‐\nsome", "handsome handsome"),
        ("a well-\nknown and well-known man", "a well-known and well-known man"),
        ("exam-\nple of an ex-ample example", "example of an ex-ample example"),
        ("Jean-\nPaul", "Jean-Paul"),
        ("he said -\nand went--\nthere 1914-\n1918 -\n", "he said -\nand went--\nthere 1914-\n1918 -\n"),
        ("CHAPTER I\nIt was dark.", "CHAPTER I\n\nIt was dark."),
        ("Chapter 12. The Fall\nIt was dark.", "Chapter 12. The Fall\n\nIt was dark."),
        ("CHAPTER I\nTHE DARK\nNIGHT\nIt was", "CHAPTER I\n\nTHE DARK\nNIGHT\n\nIt was"),
        ("text\n\nIV.\nIt was", "text\n\nIV.\n\nIt was"),
        ("Prologue\nIt was", "Prologue\n\nIt was"),
        ("Kapitel 3\nEs war", "Kapitel 3\n\nEs war"),
        ("Part one of the plan\nwas to go.", "Part one of the plan\nwas to go."),
        ("Book it now\nor not.", "Book it now\nor not."),
        ("IT WAS THE BEST,\nand the worst", "IT WAS THE BEST,\nand the worst"),
        ("A LINE IN CAPITALS\nAND ANOTHER", "A LINE IN CAPITALS\nAND ANOTHER"),
        ("It was\nIV.\nThen", "It was\nIV.\nThen"),
        ("word[1] said.[23] [*] end† x[2](y)", "word said. end x[2](y)"),
        ("said.² word¹², but m², 10² and x³", "said. word, but m², 10² and x³"),
        ("[1] See Smith. [laughs] [MAN] [12345]", "See Smith. [laughs] [MAN] [12345]"),
        ("_It_ was _very_ dark, snake_case __x__ _", "It was very dark, snake_case __x__ _"),
        ("on [Pg 12] and on {13} [Illustration] [Illustration: a man] stash@{1}", "on  and on    stash@{1}"),
        ("fish &amp; chips &mdash; AT&T", "fish & chips — AT&T"),
        ("plain text, as it is.\n\n* * *\n", "plain text, as it is.\n\n* * *\n"),
    ],
)
def test_the_words_of_a_book(text: str, read: str) -> None:
    assert read_book(text).text.strip() == read.strip()


def test_what_is_changed_is_counted() -> None:
    prose = read_book("CHAPTER I\nhand-\nsome[1] &amp; _so_")
    assert prose.note == (
        "read as text; left out: footnote marks (1), underscores (2); "
        "changed: entities (1), words joined at line ends (1), headings set apart (1)"
    )


def test_gutenberg_s_header_and_licence_are_left_out() -> None:
    prose = read_book(GUTENBERG)
    assert prose.text.split() == ["EMMA", "The", "text."]
    assert prose.left_out["lines of Project Gutenberg's header and licence"] > 10


@pytest.mark.parametrize("missing", ["*** START", "*** END", "both"])
def test_a_book_without_one_of_the_lines_keeps_its_text(missing: str) -> None:
    lines = [
        line
        for line in GUTENBERG.splitlines()
        if not line.startswith(("***", "LONG") if missing == "both" else missing) and not line.startswith("End of")
    ]
    assert "The text." in read_book("\n".join(lines)).text


def test_a_book_about_gutenberg_is_whole() -> None:
    text = "Project Gutenberg was begun by Michael Hart.\n\nIt has no end of books."
    assert read_book(text).is_as_written
