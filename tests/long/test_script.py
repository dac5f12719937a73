"""Scripts: who says what, and what is wrong with them in one line."""

import re
from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bark_onnx import BarkError
from bark_onnx.long.script import Line, parse_cast, parse_script


def refused(*fragments: str) -> AbstractContextManager[object]:
    """A BarkError that says all of this."""
    return pytest.raises(BarkError, match="".join(f"(?=.*{re.escape(fragment)})" for fragment in fragments))


CAST = {"HOST": "a", "GUEST ONE": "b", "Ana": "c", "王": "d"}


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("HOST: Hello.", [("HOST", "Hello.", True)]),
        ("HOST: Hello.\nGUEST ONE: Hi.", [("HOST", "Hello.", False), ("GUEST ONE", "Hi.", True)]),
        ("HOST: One\n  two.\n\nThree.", [("HOST", "One two.", True), ("HOST", "Three.", True)]),
        ("HOST:\nHello.", [("HOST", "Hello.", True)]),
        ("HOST: Hi.\n# a comment\nAgain.\n  # another", [("HOST", "Hi. Again.", True)]),
        ("  HOST  :  Hi. \r\n\r\nAna: Olá.\r\n", [("HOST", "Hi.", True), ("Ana", "Olá.", True)]),
        ("GUEST  ONE: Hi.", [("GUEST ONE", "Hi.", True)]),
        ("王：你好，\n我们。", [("王", "你好，我们。", True)]),
        ("\ufeffHOST: Hi.", [("HOST", "Hi.", True)]),
        ("HOST: Hi.\nNote: this is fine.", [("HOST", "Hi. Note: this is fine.", True)]),
        ("HOST: Hi.\nhost: no speaker", [("HOST", "Hi. host: no speaker", True)]),
        ("HOST: At\n10:30 and HTTP://x", [("HOST", "At 10:30 and HTTP://x", True)]),
        ("HOST: Hi.\n[LAUGHS]: ha", [("HOST", "Hi. [LAUGHS]: ha", True)]),
        ("HOST: Ratio: 3\nHOST: Again", [("HOST", "Ratio: 3", False), ("HOST", "Again", True)]),
        ("HOST: Hi.\nAna:\n\nOlá.", [("HOST", "Hi.", True), ("Ana", "Olá.", True)]),
        ("HOST: Hi.\nAna:", [("HOST", "Hi.", True)]),
        ("HOST: [laughs] ♪ la ♪ — NO...", [("HOST", "[laughs] ♪ la ♪ — NO...", True)]),
    ],
)
def test_lines(script: str, lines: list[tuple[str, str, bool]]) -> None:
    assert parse_script(script, CAST) == [Line(*line) for line in lines]


@pytest.mark.parametrize(
    ("script", "fragments"),
    [
        ("HOST: Hi.\nBOB: Hello.", ["BOB (line 2)", "--cast BOB=VOICE"]),
        ("BOB: a\nDR. NO: b\nBOB: c", ["BOB (line 1), DR. NO (line 2)", '--cast BOB=VOICE --cast "DR. NO=VOICE"']),
        ("ÉVA: oui", ["ÉVA (line 1)"]),
        ("SPEAKER 2: hm", ["SPEAKER 2 (line 1)"]),
        ("ИВАН: да", ["ИВАН (line 1)"]),
        ("# intro\n\nHello.\nHOST: Hi.", ["line 3", "before any speaker", "HOST"]),
        ("", ["says nothing"]),
        ("# only\nHOST:", ["says nothing"]),
    ],
)
def test_what_is_wrong_is_said(script: str, fragments: list[str]) -> None:
    with refused(*fragments):
        parse_script(script, CAST)


def test_cast() -> None:
    assert parse_cast(["HOST=v2/en_speaker_9", " GUEST  ONE = my=voice.npz "]) == {
        "HOST": "v2/en_speaker_9",
        "GUEST ONE": "my=voice.npz",
    }
    assert parse_cast([]) == {}


@pytest.mark.parametrize(
    ("items", "fragments"),
    [
        (["HOST"], ["'HOST'", "no '='", "NAME=VOICE"]),
        (["=v2/en_speaker_9"], ["no speaker"]),
        (["HOST= "], ["no voice"]),
        ([""], ["no '='"]),
        (["A=x", "A=y"], ["'A'", "two voices", "'x'", "'y'"]),
        (["A:B=x"], ["'A:B=x'", "':'"]),
        (["#A=x"], ["'#'"]),
        (["A" * 61 + "=x"], ["60 characters"]),
    ],
)
def test_a_cast_that_is_none(items: list[str], fragments: list[str]) -> None:
    with refused(*fragments):
        parse_cast(items)


@given(st.text("HOSTAna王:： #\n\r\x1c.a", max_size=80))
def test_any_script_is_read_or_refused(script: str) -> None:
    try:
        lines = parse_script(script, CAST)
    except BarkError:
        return
    assert lines[-1].ends_paragraph
    assert all(line.speaker in CAST and line.text == line.text.strip() != "" for line in lines)


@given(st.lists(st.tuples(st.sampled_from(sorted(CAST)), st.booleans()), min_size=1, max_size=8))
def test_what_is_written_is_read(turns: list[tuple[str, bool]]) -> None:
    script = "".join(f"{name}: words {n}.\n" + "\n" * ends for n, (name, ends) in enumerate(turns))
    lines = parse_script(script, CAST)
    assert lines == [Line(name, f"words {n}.", ends or n == len(turns) - 1) for n, (name, ends) in enumerate(turns)]
