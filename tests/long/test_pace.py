"""The pace of a voice: what is learnt from its passages, and which passages are short by it."""

from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, BarkError, NarrationOptions
from bark_onnx.arrays import Waveform
from bark_onnx.long.guards import Guards, Problem, problems
from bark_onnx.long.pace import MOST_PASSAGES, Pace, Paces, doubtful, sentences, speech_seconds
from full import FULL
from passages import names
from synthetic_speech import RATE, silence, speech

GUARDS = Guards()
TEXT = "The train to the old city leaves at noon, and nobody is late."
SHORT, LINES = Problem("short", ""), "First line.\nSecond line.\nThird line."


def spoken(share: float, text: str = TEXT, seed: int = 0) -> Waveform:
    """Speech of this share of the estimated seconds of a text."""
    return speech(share * speech_seconds(text), seed)


def pace(*shares: float) -> Pace:
    found = Pace()
    for seed, share in enumerate(shares):
        found = found.after(TEXT, spoken(share, seed=seed), RATE)
    return found


def is_short(share: float, known: Pace, guards: Guards = GUARDS) -> bool:
    listed = problems(
        spoken(share), RATE, semantic_tokens=300, token_limit=768, expected_seconds=speech_seconds(TEXT), guards=guards,
        speech=known.expects(TEXT, guards),
    )  # fmt: skip
    assert names(tuple(listed)) in ([], ["short"])
    return bool(listed)


@pytest.mark.parametrize("usual", [0.7, 1.0, 1.4])
def test_a_passage_without_a_third_is_short_in_the_pace_of_its_voice(usual: float) -> None:
    known = pace(usual, 1.05 * usual, 0.95 * usual)
    assert is_short(0.67 * usual, known)
    assert not any(is_short(share * usual, known) for share in (0.85, 1.0, 1.3))
    assert not is_short(max(0.45, 0.67 * usual), Pace())  # as long as the pace is unknown


def test_the_more_passages_are_known_the_less_may_be_missing() -> None:
    shares = [
        expected.least / expected.seconds for n in (1, 2, 5, 20) if (expected := pace(*[1.0] * n).expects(TEXT, GUARDS))
    ]
    assert shares == sorted(shares)
    assert 0.65 < shares[0] < 0.75 < shares[-1] < 0.85


def test_fewer_false_alarms_find_fewer_missing_words() -> None:
    known = pace(1.0, 1.0, 1.0)
    assert is_short(0.7, known)
    assert not is_short(0.7, known, Guards(false_alarms=1e-4))
    assert is_short(0.3, known, Guards(false_alarms=1e-300))  # less than `shortest` is short in every pace
    with pytest.raises(BarkError, match="false_alarms must be over 0"):
        Guards(false_alarms=0)


def test_a_pace_is_the_median_and_forgets_old_passages() -> None:
    expected = pace(1.0, 1.0, 0.6).expects(TEXT, GUARDS)
    assert expected is not None
    assert expected.seconds == pytest.approx(speech_seconds(TEXT), rel=0.05)
    assert len(pace(*[1.0] * (MOST_PASSAGES + 3)).ratios) == MOST_PASSAGES


@pytest.mark.parametrize(
    ("text", "waveform"),
    [
        pytest.param(f"[laughs] {TEXT}", spoken(1.0), id="a mark, which takes any time"),
        pytest.param("♪ The old city, the old city ♪", spoken(1.0), id="a song"),
        pytest.param(TEXT, spoken(0.3), id="too fast for a voice"),
        pytest.param(TEXT, spoken(2.5), id="too slow for a voice"),
        pytest.param(TEXT, silence(3), id="silence"),
        pytest.param("...", spoken(1.0), id="no words"),
    ],
)
def test_other_passages_say_nothing_about_the_pace(text: str, waveform: Waveform) -> None:
    assert Pace().after(text, waveform, RATE) == Pace()


def test_speakers_and_scripts_have_paces_of_their_own() -> None:
    paces = Paces(RATE)
    paces.add("HOST", TEXT, spoken(1.0), [])
    assert paces.of("HOST", "Another text in the same script.").known
    assert not paces.of("GUEST", TEXT).known
    assert not paces.of("HOST", "今日はいい天気です。").known


def test_passages_with_problems_are_not_learnt_from_unless_they_are_only_short() -> None:
    """If the first passage was unusually slow, the others are short, and the pace follows them."""
    paces = Paces(RATE)
    paces.add(None, TEXT, spoken(1.0), [Problem("clipped", "")])
    assert not paces.of(None, TEXT).known
    paces.add(None, TEXT, spoken(1.5), [])
    assert is_short(1.0, paces.of(None, TEXT))
    for seed in range(2):
        paces.add(None, TEXT, spoken(1.0, seed=seed), [SHORT])
    assert not is_short(1.0, paces.of(None, TEXT))


def test_marks_take_no_time_and_sentences_take_some() -> None:
    assert speech_seconds(f"[laughs] {TEXT}") == pytest.approx(speech_seconds(TEXT))
    assert speech_seconds("One dog. Two cats.") > speech_seconds("One dog and two cats.") - 0.2
    assert sentences(LINES) == ["First line.", "Second line.", "Third line."]
    assert not doubtful(TEXT, spoken(1.0), RATE)
    assert doubtful(TEXT, spoken(0.6), RATE)


@pytest.fixture(scope="module")
def nano() -> Bark:
    return Bark.load(device="cpu", threads=1)


# nano, whose male voice often loses the third of these lines: it takes the end of the second for that of the third.


def test_the_lost_third_line_is_reported(nano: Bark) -> None:
    narration = NarrationOptions(guards=Guards(retries=0))
    lost = [
        passage
        for seed in range(3 if FULL else 2)
        for passage in nano.generate_long(LINES, voice="en_male", seed=seed, narration=narration)
        if len(passage.tokens.semantic) < 130
    ]
    assert lost
    assert all(names(passage.problems) == ["short"] for passage in lost)
    (whole,) = nano.generate_long(LINES, voice="en_female", seed=1, narration=narration)
    assert (len(whole.tokens.semantic) > 140, whole.problems) == (True, ())


def test_a_lost_line_is_mended_by_its_sentences_one_by_one(nano: Bark) -> None:
    for seed in range(3):
        (passage,) = nano.generate_long(LINES, voice="en_male", seed=seed)
        assert passage.problems == ()
        if passage.attempts == 4:
            assert [problem.name for problem in passage.rejected] == ["short"] * 3
            assert passage.end > 3
            assert passage.tokens is not None
            passage.tokens.check(nano.vocabulary)
            return
    raise AssertionError("no seed lost the line three times")


def test_a_resumed_job_judges_by_the_same_pace(nano: Bark, tmp_path: Path) -> None:
    text = "\n\n".join(["It was a dark and stormy night.", "The teacher found an old book in the kitchen.", LINES])
    narration = NarrationOptions(block=1, guards=Guards(retries=0))
    whole = list(nano.generate_long(text, voice="en_male", seed=4, narration=narration))
    for _ in nano.generate_long(text, voice="en_male", seed=4, narration=narration, journal=tmp_path / "job"):
        break
    resumed = list(nano.generate_long(text, voice="en_male", seed=4, narration=narration, journal=tmp_path / "job"))
    assert [passage.problems for passage in resumed] == [passage.problems for passage in whole]
    assert all(np.array_equal(one.waveform, other.waveform) for one, other in zip(whole, resumed, strict=True))


@pytest.mark.filterwarnings("ignore:not spoken")
def test_a_sentence_without_a_known_word_leaves_the_pace_unknown(nano: Bark) -> None:
    """The passage seems short, as its second sentence is not spoken; spoken by itself, that would be an error."""
    narration = NarrationOptions(guards=Guards(retries=0))
    text = "Hello there. 世界は音楽です。犬は笑います。"
    (passage,) = nano.generate_long(text, voice="en_male", seed=1, narration=narration)
    assert passage.tokens is not None
