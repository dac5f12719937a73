"""The piece splitter: passages of a text that comes piece by piece. Where the pieces end does not matter."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_onnx.splitting.passages import SHORT_SECONDS, Passage, estimate_seconds, unwrap
from bark_onnx.splitting.pieces import PieceSplitter
from linear import is_linear

MOST = 6.0  # seconds of a passage

WORDS = st.sampled_from(
    [
        "yes", "No", "Dr.", "e.g.", "the", "train", "leaves", "at", "7.30", "and", "then,", "we", "wait;", "wait!",
        "Really?", "end.", "Stop.", "“Go!”", "(well.)", "♪", "la", "[laughs]", "...", "—", "https://example.com",
        "你好。", "今天天气很好，", "我们去公园散步。", "はい。", "नमस्ते।", "\n", "\n\n", " \n \n ", "a" * 300,
        "e\u0301",
    ]
)  # fmt: skip


def fits(text: str) -> bool:
    return estimate_seconds(text) <= MOST


def split(pieces: list[str], *, first_clause: bool = True) -> list[Passage]:
    """All passages, with the end of a paragraph that is known late."""
    splitter, found = PieceSplitter(fits, first_clause), []
    for known, ends_paragraph in [*map(splitter.push, pieces), splitter.flush()]:
        if ends_paragraph and found:
            found[-1] = replace(found[-1], ends_paragraph=True)
        found += known
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=40), st.data())
def test_where_the_pieces_end_does_not_matter(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    found = split(pieces)
    assert found == split([text])
    assert found == split(list(text))


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=40))
def test_nothing_is_lost_and_every_passage_fits(words: list[str]) -> None:
    text = " ".join(words)
    found = split([text])
    assert "".join("".join(passage.text.split()) for passage in found) == "".join(text.split())
    for passage in found:
        assert fits(passage.text) or len(passage.text) == 1
        assert passage.text == unwrap(passage.text)


def known_after(text: str, *, first_clause: bool = False) -> list[str]:
    return [passage.text for passage in PieceSplitter(fits, first_clause).push(text).passages]


def test_a_sentence_is_known_when_the_next_word_is() -> None:
    said = "The train leaves at seven in the morning."
    assert known_after(said) == known_after(f"{said} ") == known_after(f"{said} We") == []
    assert known_after(f"{said}\n") == [said]
    assert known_after("The train leaves at seven, said Dr.\n") == known_after("The train leaves at seven, and\n") == []
    assert known_after(f"{said} We ") == [said]
    assert known_after(f"{said}\n\n") == [said]


def test_a_short_sentence_is_spoken_with_the_next() -> None:
    assert known_after("Yes. The train leaves at seven in the morning. We ") == [
        "Yes. The train leaves at seven in the morning."
    ]
    assert [passage.text for passage in split(["Yes.\n\n", "No. "])] == ["Yes.", "No."]


def test_the_first_passage_may_be_a_clause() -> None:
    text = "When the train leaves at seven in the morning, we wait at the bridge, and then we sleep. We "
    first, second = known_after(text, first_clause=True)
    assert first == "When the train leaves at seven in the morning,"
    assert estimate_seconds(first) >= SHORT_SECONDS
    assert second == "we wait at the bridge, and then we sleep."
    assert known_after(text) == [f"{first} {second}"]


def test_a_song_is_not_cut() -> None:
    song = "♪ La la, the train leaves at seven. We wait at the bridge. ♪"
    assert known_after(f"{song} Now ", first_clause=True) == [song]


def test_a_sentence_without_an_end_is_divided_before_it_is_over() -> None:
    text = "and then the train leaves " * 20
    found = known_after(text)
    assert len(found) > 2
    assert all(fits(passage) and estimate_seconds(passage) > MOST / 3 for passage in found)


def test_flush_speaks_what_has_come() -> None:
    splitter = PieceSplitter(fits)
    assert splitter.push("The train lea").passages == []
    assert [passage.text for passage in splitter.flush().passages] == ["The train lea"]
    assert splitter.flush().passages == []
    splitter.push("The train leaves at seven in the morning. We")
    assert [passage.text for passage in splitter.flush(complete=True).passages] == [
        "The train leaves at seven in the morning."
    ]
    assert [passage.text for passage in splitter.flush(complete=True).passages] == ["We"]
    splitter.push("The train lea")
    assert splitter.flush().passages
    assert [passage.text for passage in [*splitter.push("ves.").passages, *splitter.flush().passages]] == ["ves."]


def test_paragraphs_end_at_blank_lines() -> None:
    found = split(["The first line\nof one.\n", "\nThe train leaves at seven now. We wait.", "\n \n", "The last."])
    assert [(passage.text, passage.ends_paragraph) for passage in found] == [
        ("The first line of one.", True),
        ("The train leaves at seven now.", False),
        ("We wait.", True),
        ("The last.", False),
    ]


def test_a_paragraph_may_end_after_its_last_passage_is_known() -> None:
    splitter = PieceSplitter(fits)
    (first,) = splitter.push("The train leaves at seven in the morning. 你好").passages
    assert not first.ends_paragraph
    known = splitter.push("。\n\n")
    assert ([passage.text for passage in known.passages], known.ends_paragraph) == (["你好。"], False)
    splitter = PieceSplitter(fits)
    splitter.push("The train leaves at seven now.")
    assert splitter.flush().passages
    assert splitter.push("\n\nAnd").ends_paragraph


@pytest.mark.parametrize("unit", ["a", "a ", ". ", "… ", "你", "。", "♪ ", "[", "\n", "a\n\n", "e\u0301", "Dr. "])
def test_hostile_texts_take_linear_time(unit: str) -> None:
    assert is_linear(lambda text: split([text]), unit)
