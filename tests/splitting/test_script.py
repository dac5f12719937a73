"""Scripts: who says what, names that are not in the cast, and errors in one line."""

import re
import warnings
from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bark_onnx import BarkError, BarkWarning
from bark_onnx.splitting.script import Line, parse_cast, parse_script
from linear import is_linear


def refused(*fragments: str) -> AbstractContextManager[object]:
    """Expect a BarkError that contains all of these."""
    return pytest.raises(BarkError, match="".join(f"(?=.*{re.escape(fragment)})" for fragment in fragments))


CAST = {"HOST": "a", "GUEST ONE": "b", "Ana": "c", "王": "d"}


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("HOST: Hello.", [("HOST", "Hello.", True)]),
        ("HOST: Hello.\nGUEST ONE: Hi.", [("HOST", "Hello.", False), ("GUEST ONE", "Hi.", True)]),
        ("HOST: One\n  two.\n\nThree.", [("HOST", "One two.", True), ("HOST", "Three.", True)]),
        ("HOST:\nHello.", [("HOST", "Hello.", True)]),
        ("  HOST  :  Hi. \r\n\r\nAna: Olá.\r\n", [("HOST", "Hi.", True), ("Ana", "Olá.", True)]),
        ("GUEST  ONE: Hi.", [("GUEST ONE", "Hi.", True)]),
        ("王：你好，\n我们。", [("王", "你好，我们。", True)]),
        ("\ufeffHOST: Hi.", [("HOST", "Hi.", True)]),
        ("HOST: Hi.\nhost: Again.", [("HOST", "Hi.", False), ("HOST", "Again.", True)]),
        ("Guest one: Hi.\nANA: Olá.", [("GUEST ONE", "Hi.", False), ("Ana", "Olá.", True)]),
        ("ＨＯＳＴ： Hi.", [("HOST", "Hi.", True)]),
        ("**HOST:** Hi.\n**Ana**: *Olá*.", [("HOST", "Hi.", False), ("Ana", "*Olá*.", True)]),
        ("HOST: At\n10:30 and HTTP://x", [("HOST", "At 10:30 and HTTP://x", True)]),
        ("HOST: I read\nJohn 3:16 today", [("HOST", "I read John 3:16 today", True)]),
        ("HOST: See\nthat is what I mean to say: no", [("HOST", "See that is what I mean to say: no", True)]),
        ("HOST: Hi.\n  Bob: he left.\n\tBOB: So.", [("HOST", "Hi. Bob: he left. BOB: So.", True)]),
        ("  HOST: Hi.\n   Bob: he left.", [("HOST", "Hi. Bob: he left.", True)]),
        ("HOST: Hi.\n1: Introduction", [("HOST", "Hi. 1: Introduction", True)]),
        ("HOST: Ratio: 3\nHOST: Again", [("HOST", "Ratio: 3", False), ("HOST", "Again", True)]),
        ("HOST: Hi.\nAna:\n\nOlá.", [("HOST", "Hi.", True), ("Ana", "Olá.", True)]),
        ("HOST: Hi.\nAna:", [("HOST", "Hi.", True)]),
        ("HOST: [laughs] ♪ la ♪ — NO...", [("HOST", "[laughs] ♪ la ♪ — NO...", True)]),
    ],
)
def test_lines(script: str, lines: list[tuple[str, str, bool]]) -> None:
    with warnings.catch_warnings(action="error"):
        assert parse_script(script, CAST) == [Line(*line) for line in lines]


@pytest.mark.parametrize(
    "line",
    [
        "Note: this is fine.",
        "bob: hello",
        "Old man: Hello.",
        "Ludwig van Beethoven: Hello.",
        "The answer is: No.",
        "[LAUGHS]: ha",
        "- Guest: Hello.",
        "*Bob:* Hello.",
        "“Bob”: Hello.",
    ],
)
def test_a_line_that_may_begin_with_a_speaker_gives_a_warning(line: str) -> None:
    """The speaker before reads it, with the name."""
    with pytest.warns(BarkWarning, match=r"may begin with a speaker who is not in the cast: .* \(line 2\)") as caught:
        lines = parse_script(f"HOST: Hi.\n{line}\nAgain.", CAST)
    assert lines == [Line("HOST", f"Hi. {line} Again.", True)]
    assert len(caught) == 1


def test_one_warning_lists_the_first_of_the_names() -> None:
    names = [f"a {letter}" for letter in "bcdefghijk"]
    with pytest.warns(BarkWarning) as caught:
        parse_script("HOST: Hi.\n" + "".join(f"{name}: x\n" for name in names * 2), CAST)
    (warning,) = caught
    assert "a b (line 2), a c (line 3)" in str(warning.message)
    assert "a i (line 9) and 2 more;" in str(warning.message)


def test_one_warning_counts_the_comments() -> None:
    with pytest.warns(BarkWarning) as caught:
        lines = parse_script("HOST: Hi.\n# a comment\nAgain.\n  # another\n#GUEST ONE: no", CAST)
    assert lines == [Line("HOST", "Hi. Again.", True)]
    (warning,) = caught
    assert str(warning.message).startswith("3 lines of the script not spoken")
    assert str(warning.message).endswith("the first is line 2")


@pytest.mark.parametrize(
    "name",
    [
        "Bob", "Dr. Smith", "O'Brien", "Anna-Maria", "Speaker 2", "Guest #2", "Narrator", "Mr. T", "María José", "Иван",
        "SPEAKER_01", "Guest (laughing)", "HOST (laughing)", "John Ronald Reuel Tolkien", "Éva", "राम", "太郎",
        "진행자", "Tom & Jerry", "1st Witness", "2ND WITNESS", "**Bob**", "A", "THE OLD MAN AND THE SEA",
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", ["Hello.", "", "[laughs] Hello", "“Hello”", "5 apples", "你好"])
def test_a_line_that_looks_like_a_speaker_without_a_voice_is_refused(name: str, words: str) -> None:
    bare = name.strip("*")
    with refused(f"speakers without a voice: {bare} (line 2): add --cast ", f"{bare}=VOICE", "or indent the line"):
        parse_script(f"HOST: Hi.\n{name}: {words}\nmore words", CAST)


def test_a_name_in_capitals_is_a_speaker_whatever_follows() -> None:
    with refused("BOB (line 1)"):
        parse_script("BOB: hello", CAST)


def test_a_name_that_could_be_several_speakers_is_refused() -> None:
    cast = ["Ana", "ANA", "HOST"]
    assert [line.speaker for line in parse_script("Ana: Hi.\nANA: Hi.", cast)] == ["Ana", "ANA"]
    with refused("line 2", "'ana' may be Ana or ANA"):
        parse_script("HOST: Hi.\nana: Hi.", cast)


@pytest.mark.parametrize("text", [None, b"HOST: Hi.", ["HOST: Hi."]])
def test_a_script_is_a_string(text: str) -> None:
    with refused("the script must be a string"):
        parse_script(text, CAST)


@pytest.mark.parametrize(
    ("script", "fragments"),
    [
        ("HOST: Hi.\nBOB: Hello.", ["BOB (line 2)", "--cast BOB=VOICE"]),
        ("BOB: a\nDR. NO: b\nBOB: c", ["BOB (line 1), DR. NO (line 2)", '--cast BOB=VOICE --cast "DR. NO=VOICE"']),
        ("ÉVA: oui", ["ÉVA (line 1)"]),
        ("SPEAKER 2: hm", ["SPEAKER 2 (line 1)"]),
        ("ИВАН: да", ["ИВАН (line 1)"]),
        ("HOST: Hi.\nGuest: Hello", ["Guest (line 2)", "--cast Guest=VOICE"]),
        ("# intro\n\nHello.\nHOST: Hi.", ["line 3", "before any speaker", "HOST"]),
        ("", ["says nothing"]),
        ("# only\nHOST:", ["says nothing"]),
    ],
)
@pytest.mark.filterwarnings("ignore::bark_onnx.BarkWarning")
def test_an_error_says_what_is_wrong(script: str, fragments: list[str]) -> None:
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
def test_an_invalid_cast_is_refused(items: list[str], fragments: list[str]) -> None:
    with refused(*fragments):
        parse_cast(items)


@pytest.mark.filterwarnings("ignore::bark_onnx.BarkWarning")
@given(st.text("HOSTAna王:： #\n\r\x1c.a*1(", max_size=80))
def test_any_script_is_read_or_refused(script: str) -> None:
    try:
        lines = parse_script(script, CAST)
    except BarkError:
        return
    assert lines[-1].ends_paragraph
    assert all(line.speaker in CAST and line.text == line.text.strip() != "" for line in lines)


@given(st.lists(st.tuples(st.sampled_from(sorted(CAST)), st.booleans()), min_size=1, max_size=8))
def test_a_written_script_is_read_as_it_was(turns: list[tuple[str, bool]]) -> None:
    script = "".join(f"{name}: words {n}.\n" + "\n" * ends for n, (name, ends) in enumerate(turns))
    lines = parse_script(script, CAST)
    assert lines == [Line(name, f"words {n}.", ends or n == len(turns) - 1) for n, (name, ends) in enumerate(turns)]


@pytest.mark.filterwarnings("ignore::bark_onnx.BarkWarning")
@pytest.mark.parametrize(
    "unit", ["a", ":", "a:", "A: b\n", "HOST: b\n", "#\n", "\n", " ", "**", "(", "\u0301", "ß: a\n"]
)
def test_scripts_take_linear_time(unit: str) -> None:
    assert is_linear(refusal, unit)


def refusal(text: str) -> str | None:
    """Read a script after a line of a speaker; many of them have speakers without a voice."""
    try:
        parse_script(f"HOST: Hi.\n{text}", CAST)
    except BarkError as error:
        return str(error)
    return None
