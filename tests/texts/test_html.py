"""Web pages: what is read of them, and what is not."""

import pytest

from bark_onnx.texts.html import read_html
from bark_onnx.texts.markup import Tag, parts


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>One   two\nthree</p><p>Four", "One two three\n\nFour"),
        ("a<br>b<br/><br />c<p>", "a\nb\n\nc"),
        ("Plain\n\ntext with <b>bold</b>\nwords", "Plain\n\ntext with bold\nwords"),
        ("<h1>Title</h1>Text<div>More</div>", "Title\n\nText\n\nMore"),
        ("<ul><li>One<li>Two</ul>", "One\n\nTwo"),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td></td><td>1<td>2</table>", "a, b\n\n1, 2"),
        ("<p>fish &amp; chips &#8217;n&#x2019; &eacute;&nbsp;x", "fish & chips ’n’ é\u00a0x"),
        ("<p>&bogus; AT&T &lt;b&gt; &#99999999999; &amp", "&bogus; AT&T <b> &#99999999999; &amp"),
        ("<p>1 < 2 and 3 > 2, a<3, </3", "1 < 2 and 3 > 2, a<3, </3"),
        ('<p title="a > b" data-x=\'"\'>text', "text"),
        ("<P CLASS=x>UP</P >", "UP"),
        ("<p>a<script>if (a<b) x('<p>no</p>')</SCRIPT >b<style>p {}</style>c", "abc"),
        ("<p>a<!-- <p>no</p> -->b<![CDATA[c]]><!DOCTYPE html>d<?php x ?>e", "abcde"),
        ("<p>open <!-- comment", "open <!-- comment"),
        ("<html><head><title>T</title><meta x></head><body>text", "text"),
        ("<head><title>T</title><body>text", "text"),  # no end of the head
        ("<nav>a<nav>b</nav>c</nav><p>text<nav>kept", "text\n\nkept"),
        ("<p>text<svg><svg><text>no</text></svg></svg>!", "text!"),
        ("<p>text<button>no</button><select><option>no</select>", "text"),
        ("<p>wörd<sup><a href='#1'>1</a></sup>, <a href=x><sup>[2]</sup></a>x<sup>3</sup>", "wörd, x3"),
        ("<p><a href=x>never closed<p>x<sup>2</sup>", "never closed\n\nx2"),
        ("<p>5<sup><a href=x>th</a></sup>", "5th"),
        ("<p><ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>字", "漢字"),
        ("<p><img src=x alt='no'>text<img alt='a>b'>", "text"),
        ("<p><pre>a\n  b</pre>", "a\nb"),
        ("<p>a<script>never closed", "a"),
        ("", ""),
    ],
)
def test_the_words_of_a_page(page: str, text: str) -> None:
    assert read_html(page).text.replace("  ", " ") == text


def test_everything_that_is_left_out_is_counted() -> None:
    page = "<head></head><script></script><style></style><nav></nav><svg></svg><img><!-- --><b><sup><a>1</a></sup>"
    left_out = {name: count for name, count in read_html(page).left_out.items() if count}
    assert left_out == {
        "invisible parts": 1, "scripts": 1, "styles": 1, "navigation and buttons": 1, "pictures and media": 1,
        "images": 1, "comments": 1, "tags": 3, "footnote marks": 1,
    }  # fmt: skip


def test_attributes_of_tags() -> None:
    (tag,) = parts("""<sub Alias="a &amp; b" x='"' y=z />""")
    assert isinstance(tag, Tag)
    assert [tag.attribute(name) for name in ("alias", "x", "y", "none")] == ["a & b", '"', "z", ""]
    assert (tag.name, tag.empty, tag.closes) == ("sub", True, False)
