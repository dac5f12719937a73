"""Subtitles: players accept the times, people can read the lines, and no text breaks the format."""

import html
import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bark_onnx.subtitles.formats import Cue, to_json, to_srt, to_vtt
from bark_onnx.subtitles.phrases import LINE_WIDTH
from linear import is_linear

TIME = r"(\d\d+):([0-5]\d):([0-5]\d),(\d{3})"
BLOCK = re.compile(rf"(\d+)\n{TIME} --> {TIME}\n([^\n]+(?:\n[^\n]+)?)")
TIMES = st.floats(0, 20_000, allow_nan=False)
TEXTS = st.one_of(st.text("ab -->\n\r\t5.你好，。「」é\u0301♪[]\x00", max_size=200), st.text(max_size=100))
CUES = st.lists(st.builds(Cue, TIMES, TIMES, TEXTS, st.none() | st.sampled_from(["HOST", "A\n\n1", " "])), max_size=6)


def read(srt: str) -> list[tuple[int, int, str]]:
    """Read subtitles as a player does: (start, end, text), in milliseconds. Fails if they are not SubRip."""
    cues = []
    for number, block in enumerate(srt.removesuffix("\n").split("\n\n") if srt else [], 1):
        match = BLOCK.fullmatch(block)
        assert match, block
        assert int(match.group(1)) == number
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups()[1:9])
        cues.append((((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2, match.group(10)))
    return cues


def test_one_cue() -> None:
    assert to_srt([Cue(0, 1.5, "Hello [laughs]")]) == "1\n00:00:00,000 --> 00:00:01,500\nHello [laughs]\n"


def test_two_cues_and_hours() -> None:
    assert to_srt([Cue(0.0004, 1, "One"), Cue(3661.0015, 360_000, "Two")]) == (
        "1\n00:00:00,000 --> 00:00:01,000\nOne\n\n2\n01:01:01,002 --> 100:00:00,000\nTwo\n"
    )


def test_no_cues() -> None:
    assert to_srt([]) == to_srt([Cue(0, 1, " \n"), Cue(1, 2, "\x00")]) == ""
    assert json.loads(to_json([])) == []


def test_the_first_cue_of_a_turn_names_the_speaker() -> None:
    cues = [
        Cue(0, 1, "a", "HOST"),
        Cue(1, 2, "b", "HOST"),
        Cue(2, 3, "c", "ANA"),
        Cue(3, 4, "d", "HOST"),
        Cue(4, 5, "e"),
    ]
    assert [text for *_, text in read(to_srt(cues))] == ["HOST: a", "b", "ANA: c", "HOST: d", "e"]


def test_a_long_cue_is_divided_in_proportion_to_its_text() -> None:
    words = "word " * 50  # seven lines: four cues
    cues = read(to_srt([Cue(10, 22, words, "HOST")]))
    assert len(cues) == 4
    assert (cues[0][0], cues[-1][1]) == (10_000, 22_000)
    assert " ".join(text.replace("\n", " ") for *_, text in cues) == f"HOST: {words}".strip()
    assert all(before[1] == after[0] for before, after in pairwise(cues))
    assert all(2000 < end - start < 4000 for start, end, _ in cues)


def test_a_cjk_character_is_as_wide_as_two_others() -> None:
    cues = read(to_srt([Cue(0, 8, "今天天气很好，我们一起去公园散步。" * 4)]))
    assert all(len(line) <= LINE_WIDTH // 2 for *_, text in cues for line in text.split("\n"))
    assert not any(line[0] in "，。" for *_, text in cues for line in text.split("\n"))
    assert len(cues) == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n\n2\n00:00:01,000 --> 00:00:02,000\nb", "a 2 00:00:01,000 → 00:00:02,000 b"),
        ("a\r\n \u2028b", "a b"),
        ("x ---> y", "x -→ y"),
        ("♪ la ♪ [sighs] — NO...", "♪ la ♪ [sighs] — NO..."),
        ("a\x00-\x07->b", "a→b"),
    ],
)
def test_text_cannot_break_the_format(text: str, shown: str) -> None:
    (cue,) = read(to_srt([Cue(0, 1, text)]))
    assert cue[2].replace("\n", " ") == shown


@pytest.mark.parametrize(
    ("cues", "times"),
    [
        ([Cue(1, 1, "a")], [(1000, 1001)]),
        ([Cue(2, 1, "a")], [(2000, 2001)]),
        ([Cue(-1, 1, "a")], [(0, 1000)]),
        ([Cue(0, 2, "a"), Cue(1, 3, "b")], [(0, 1000), (1000, 3000)]),
        ([Cue(1, 3, "b"), Cue(0, 2, "a")], [(0, 1000), (1000, 3000)]),
        ([Cue(1, 2, "a"), Cue(1, 2, "b")], [(1000, 1001), (1001, 2000)]),
    ],
)
def test_times_do_not_overlap(cues: list[Cue], times: list[tuple[int, int]]) -> None:
    assert [(start, end) for start, end, _ in read(to_srt(cues))] == times


@given(CUES)
def test_any_cues_become_valid_subrip(cues: list[Cue]) -> None:
    shown = read(to_srt(cues))
    assert all(start < end for start, end, _ in shown)
    assert all(before[1] <= after[0] for before, after in pairwise(shown))
    assert all(len(line) <= LINE_WIDTH + 8 or "\u0301" in line for *_, text in shown for line in text.split("\n"))


@pytest.mark.parametrize(
    "unit", ["a", "我", "。", "\u0301", "a\u0301", "「", "-->", "a ", " ", "\x00", "😀", '"'], ids=ascii
)
def test_subtitles_take_linear_time(unit: str) -> None:
    assert is_linear(lambda text: to_srt([Cue(0, 9, text)]), unit)


def test_json() -> None:
    text = to_json([Cue(0.12345, 1.99999, 'Olá "你"\n--> [laughs]', "HOST"), Cue(2, 3, "b")])
    assert "你" in text
    assert json.loads(text) == [
        {"start": 0.123, "end": 2.0, "speaker": "HOST", "text": 'Olá "你"\n--> [laughs]'},
        {"start": 2, "end": 3, "speaker": None, "text": "b"},
    ]


# WebVTT

VTT_TIME = r"(\d\d+):([0-5]\d):([0-5]\d)\.(\d{3})"
VTT_BLOCK = re.compile(rf"{VTT_TIME} --> {VTT_TIME}\n(?:<v ([^<>\n]+)>)?([^<>\n]+(?:\n[^<>\n]+)?)")


def read_vtt(vtt: str) -> list[tuple[int, int, str | None, str]]:
    """Read WebVTT as a browser does: (start, end, speaker, text). Fails if it is not WebVTT."""
    header, *blocks = vtt.removesuffix("\n").split("\n\n")
    assert header == "WEBVTT"
    cues = []
    for block in blocks:
        match = VTT_BLOCK.fullmatch(block)
        assert match, block
        assert "-->" not in block.split("\n", 1)[1]
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups()[:8])
        speaker, text = match.groups()[8:]
        assert re.fullmatch("(?:[^&]|&(?:amp|lt|gt);)*", (speaker or "") + text)
        speaker = html.unescape(speaker) if speaker else None
        times = ((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
        cues.append((*times, speaker, html.unescape(text)))
    return cues


def test_vtt() -> None:
    cues = [
        Cue(0, 1.5, "Hello [laughs]"),
        Cue(3661.0015, 360_000, "Two", "HOST"),
        Cue(360_000, 360_001, "Three", "HOST"),
    ]
    assert to_vtt(cues) == (
        "WEBVTT\n"
        "\n00:00:00.000 --> 00:00:01.500\nHello [laughs]\n"
        "\n01:01:01.002 --> 100:00:00.000\n<v HOST>Two\n"
        "\n100:00:00.000 --> 100:00:01.000\n<v HOST>Three\n"
    )
    assert to_vtt([]) == to_vtt([Cue(0, 1, " \n")]) == "WEBVTT\n"


def test_text_cannot_break_vtt() -> None:
    text, speaker = "a\n\nNOTE <b>&amp; --> <v X>1 < 2", "A>\n\n<i>&"
    ((start, end, who, shown),) = read_vtt(to_vtt([Cue(0, 1, text, speaker)]))
    assert (start, end, who, shown) == (0, 1000, "A> <i>&", "a NOTE <b>&amp; → <v X>1 < 2")


@given(CUES)
def test_any_cues_become_valid_vtt_with_the_times_of_subrip(cues: list[Cue]) -> None:
    shown = read_vtt(to_vtt(cues))
    assert all(start < end for start, end, *_ in shown)
    assert all(before[1] <= after[0] for before, after in pairwise(shown))
    if not any(cue.speaker for cue in cues):
        assert [(start, end, text) for start, end, _, text in shown] == read(to_srt(cues))


# Where a cue ends


def test_a_long_cue_is_divided_where_sentences_end() -> None:
    sentences = ["The train to the coast leaves at noon.", "We should be at the station early.", "Bring your coat."]
    cues = read(to_srt([Cue(0, 10, " ".join(sentences))]))
    assert [text.replace("\n", " ") for *_, text in cues] == [sentences[0], " ".join(sentences[1:])]


def test_a_long_sentence_is_divided_where_clauses_end() -> None:
    clauses = [
        "When the old man came back from the market in the evening,",
        "he saw that the door of his small house was open,",
        "and that a letter lay there.",
    ]
    cues = read(to_srt([Cue(0, 10, " ".join(clauses))]))
    assert [text.replace("\n", " ") for *_, text in cues] == [clauses[0], " ".join(clauses[1:])]
