"""Markdown: what is read of it, and what is not."""

import pytest

from bark_onnx.texts.markdown import read_markdown


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("# Title #\ntext\n## C# and F#", "Title\n\ntext\n\nC# and F#"),
        ("Title\n=====\ntext\n\nTitle\n---\n", "Title\n\ntext\n\nTitle"),
        ("a\n\n---\n\n* * *\n\nb", "a\n\nb"),
        ("#hashtag and #1", "#hashtag and #1"),
        ("one\ntwo\\\nthree\n\nfour", "one\ntwo\nthree\n\nfour"),
        ("- one\n  more\n* two\n+ [x] three\n1. four\n2) five", "one\nmore\n\ntwo\n\nthree\n\n1. four\n\n2) five"),
        ("> quoted\n> > twice\n\n> [!NOTE]\n> text", "quoted\ntwice\n\ntext"),
        ("```python\ncode\n```\ntext\n\n~~~~\n```\n~~~~", "text"),
        ("* ```\n  code\n  ```\n* text", "text"),
        ("**Ann** <<ann@x.y>> and #<me_too>", "Ann <ann@x.y> and #"),
        ("text\n\n    code\n\ntext\n\n- item\n\n    more of it", "text\n\ntext\n\nitem\n\nmore of it"),
        ("a `x * y` b ``c`d`` `open", "a x * y b c`d `open"),
        ("| A | B |\n|---|:-:|\n| 1 | 2 \\| 3 |\n|  | x |\n\ntext | more", "A, B\n\n1, 2 | 3\n\nx\n\ntext | more"),
        ("*a* **b** ***c*** _d_ __e__ ~~f~~ ***g** h*", "a b c d e f g h"),
        ("5 * 3 * 2 = 5*3*2, snake_case_name, _private, a*", "5 * 3 * 2 = 5*3*2, snake_case_name, _private, a*"),
        ("un*frigging*believable", "unfriggingbelievable"),
        ("**unclosed and *closed*", "**unclosed and closed"),
        (r"\*not\* \[a](b) \# \\", r"*not* [a](b) # \\"[:-1]),
        ("[a](http://x.y/z_(w) 'title') [b]() [c](<d e>)", "a b c"),
        ("![alt](x.png) [![badge](b.svg)](http://x) end", "end"),
        (
            "[text][ref] [Ref] [laughs] [laughs][sighs]\n\n[REF]: http://x.y 'title'",
            "text Ref [laughs] [laughs][sighs]",
        ),
        ("[MAN]: I said so.", "[MAN]: I said so."),
        ("word[^1].\n\n[^1]: The note.", "word.\n\nThe note."),
        ("<https://x.y> <me@x.y>", "https://x.y me@x.y"),
        ("a<br>b <b>c</b> &amp; <!-- d --> 1 < 2", "a\nb c & 1 < 2"),
        ("a\n<!-- b\n\nc --> d\n\ne <!-- f", "a\nd\n\ne <!-- f"),
        ("<details>\n<summary>More</summary>\n\ntext\n\n</details>", "More\n\ntext"),
        ("---\ntitle: x\n---\ntext", "text"),
        ("+++\ntitle = 'x'\n+++\ntext", "text"),
        ("---\nWords between lines\n---\n", "Words between lines"),
        ("♪ la la ♪ [laughs] ... — CAPITALS", "♪ la la ♪ [laughs] ... — CAPITALS"),
        ("```\nnever closed", ""),
        ("", ""),
    ],
)
def test_the_words_of_a_document(document: str, text: str) -> None:
    assert read_markdown(document).text.replace("  ", " ") == text


def test_everything_that_is_left_out_is_counted() -> None:
    document = (
        "---\na: b\n---\n# T\n\n```\n1\n2\n```\n\n![i](x) [l](y) <b>*x*</b><!-- c -->[^1]\n\n[^1]: n\n\n[r]: http://z\n"
    )
    assert {name: count for name, count in read_markdown(document).left_out.items() if count} == {
        "lines of front matter": 1, "marks": 3, "lines of code": 2, "images": 1, "addresses of links": 2, "tags": 2,
        "comments": 1, "footnote marks": 2,
    }  # fmt: skip
