"""Long texts: what each passage says, hears and becomes is what `generate`, the guards and the joiner make of it alone.

Tokens are compared exactly (fp32), waveforms of a batch within 1e-4.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_onnx import Bark, BarkError, GenerationOptions, NothingSaid, Progress, Vocabulary, VoicePreset
from bark_onnx.long.guards import Guards, Problem, problems
from bark_onnx.long.joining import Joiner
from bark_onnx.long.plan import HISTORIES, History, NarrationOptions, Plan, passage_seed
from bark_onnx.long.spoken import SpokenPassage
from bark_onnx.long.trimming import Trimmer
from bark_onnx.model.voice import succession
from bark_onnx.splitting.passages import Passage, estimate_seconds
from bark_onnx.stages.coarse import coarse_history
from passages import SAID, SCRIPT, SPACE, TEXT, names
from voices import make_voice, same_tokens

ONCE = NarrationOptions(passage_seconds=2, guards=Guards(retries=0))
ENDLESS = GenerationOptions(max_seconds=0.2, allow_early_stop=False)
SPEECHLESS = GenerationOptions(min_eos_p=1e-9)  # the end always is probable enough


# What a passage hears


@pytest.mark.parametrize("voice", [make_voice(SPACE, seed=3), None], ids=["voice", "no voice"])
@pytest.mark.parametrize("history", HISTORIES)
def test_what_a_passage_hears_before_it(short: Bark, history: History, voice: VoicePreset | None) -> None:
    spoken = list(short.generate_long(TEXT, voice=voice, seed=5, history=history, narration=ONCE))
    assert [passage.text for passage in spoken] == SAID
    before: VoicePreset | None = None
    for index, passage in enumerate(spoken):
        heard: VoicePreset | None = voice or (spoken[0].tokens if index else None)
        if before is not None and history != "fixed":
            assert heard is not None
            heard = before if history == "rolling" else succession(heard, before, SPACE)
        alone = short.generate(passage.text, voice=heard, seed=passage_seed(5, index, 0))
        assert (passage.seed, passage.attempts) == (alone.seed, 1)
        assert same_tokens(passage.tokens, alone.tokens)
        before = passage.tokens
    if voice is not None:
        assert not same_tokens(short.generate(SAID[0], voice=None, seed=spoken[0].seed).tokens, spoken[0].tokens)


@pytest.mark.filterwarnings("ignore:the voice has")  # of one that is so short that a frame is much of it
@pytest.mark.parametrize("history", ["fixed", "rolling"])
def test_a_cast_gives_each_speaker_a_voice(short: Bark, history: History) -> None:
    voices = {"HOST": make_voice(SPACE, seed=1), "GUEST": make_voice(SPACE, seed=2)}
    spoken = list(short.generate_long(SCRIPT, seed=6, history=history, cast=voices, narration=ONCE))
    assert [passage.speaker for passage in spoken] == ["HOST", "GUEST", "HOST", "GUEST", "HOST"]
    heard = dict(voices)
    for index, passage in enumerate(spoken):
        assert passage.speaker is not None
        alone = short.generate(passage.text, voice=heard[passage.speaker], seed=passage_seed(6, index, 0))
        assert same_tokens(passage.tokens, alone.tokens)
        if history == "rolling" and passage.tokens is not None:
            heard[passage.speaker] = passage.tokens


def test_a_block_is_spoken_as_its_passages_would_be_alone(short: Bark) -> None:
    ones, threes = (
        list(short.generate_long(TEXT, voice=make_voice(SPACE, seed=3), seed=7, narration=replace(ONCE, block=block)))
        for block in (1, 3)
    )
    for one, three in zip(ones, threes, strict=True):
        assert same_tokens(one.tokens, three.tokens)
        assert np.abs(one.waveform - three.waveform).max() < 1e-4


@pytest.mark.parametrize(
    ("history", "voice", "expected"),
    [
        ("fixed", make_voice(SPACE, seed=0), [range(3), range(3, 6), range(6, 7)]),
        ("fixed", None, [range(1), range(1, 4), range(4, 7)]),  # the first finds the voice of the others
        ("rolling", make_voice(SPACE, seed=0), [range(n, n + 1) for n in range(7)]),
        ("hybrid", None, [range(n, n + 1) for n in range(7)]),
    ],
)
def test_blocks(history: History, voice: VoicePreset | None, expected: list[range]) -> None:
    passages = [Passage("Hello.", False)] * 7
    plan = Plan(passages, {None: voice}, history, 1, GenerationOptions(), NarrationOptions(block=3), "")
    blocks = [plan.block(0, voiced=False)]
    while blocks[-1].stop < 7:
        blocks.append(plan.block(blocks[-1].stop, voiced=True))
    assert blocks == expected


def test_passages_are_spoken_alone_until_one_has_found_the_voice() -> None:
    plan = Plan([Passage("Hello.", False)] * 7, {None: None}, "fixed", 1, GenerationOptions(), NarrationOptions(), "")
    assert plan.block(1, voiced=False) == range(1, 2)


@pytest.mark.parametrize("before", [1, 2, 3, 50, 104, 105, 300, 768])
@pytest.mark.parametrize("voice", [2, 60, 400])
def test_a_succession_keeps_tokens_and_codes_aligned(voice: int, before: int) -> None:
    """To a frame: the codes after the join are those of the tokens after it."""
    space = Vocabulary()
    ratio = space.coarse_per_semantic
    zeros, ones = (
        VoicePreset(*(np.full(shape, value) for shape in (tokens, (2, frames), (8, frames))))
        for value, tokens in enumerate((voice, before))
        for frames in [space.coarse_length(tokens) // 2]
    )
    joined = succession(zeros, ones, space)
    joined.check(space)
    tokens, frames = int(joined.semantic.sum()), int(joined.coarse[0].sum())
    assert tokens == min(before, 104)  # half of 209 tokens, or 4.2 s, which are the coarse stage's history
    assert abs(frames - tokens * ratio / 2) <= 1
    assert joined.fine.sum() == 8 * frames
    assert (joined.semantic[-tokens:].all(), joined.fine[:, -frames:].all()) == (True, True)
    assert len(joined.semantic) == voice + tokens
    heard = coarse_history(joined, space.max_coarse_history, space)
    assert heard.semantic.sum() == min(tokens, len(heard.semantic))
    assert abs(len(heard.coarse) + 2 - len(heard.semantic) * ratio) <= 1


# When it is heard


def test_passages_follow_each_other_without_a_gap(short: Bark) -> None:
    """Each is the attempt, trimmed and joined; the times are those of the samples."""
    spoken = list(
        short.generate_long(
            TEXT, voice=make_voice(SPACE, seed=3), seed=5, narration=replace(ONCE, sentence_pause=0.123456)
        )
    )
    joiner, samples, rate = Joiner(SPACE.sample_rate), 0, SPACE.sample_rate
    for passage, pause in zip(spoken, (0, 0.7, 0.08, 0.123456), strict=True):
        assert passage.tokens is not None
        waveform = short.decode(passage.tokens.fine)
        trimmer = Trimmer(rate, from_start=not samples, expected_seconds=estimate_seconds(passage.text))
        waveform = np.concatenate([trimmer.push(waveform), trimmer.finish()])
        silence = round(pause * rate)
        assert np.abs(passage.waveform - joiner.add(waveform, pause)).max() < 1e-4
        assert not passage.waveform[:silence].any()
        assert passage.waveform[silence:].any()
        assert passage.start * rate == pytest.approx(samples + silence, abs=1e-6)
        samples += len(passage.waveform)
        assert passage.end * rate == pytest.approx(samples, abs=1e-6)
        assert (passage.sample_rate, passage.waveform.dtype, passage.waveform.ndim) == (rate, np.float32, 1)


@pytest.mark.parametrize(
    ("text", "cast", "expected"),
    [
        (f"{TEXT}.\n\nThe dog", None, [0, 3, 1, 2, 3]),
        ("“Is it music?” The dog is laughter", None, [0, 2]),
        ("世界は音楽です、犬は笑いです。世界は音楽です", None, [0, 1, 2]),
        ("1 यह नाच रही है यह गा रही है 2 यह हँस रही है", None, [0, 1]),  # the last character is a vowel sign
        (SCRIPT, {"HOST": make_voice(SPACE, seed=1), "GUEST": make_voice(SPACE, seed=2)}, [0, 4, 4, 3, 4]),
    ],
)
def test_the_pause_tells_what_lies_between(
    short: Bark, text: str, cast: Mapping[str, VoicePreset] | None, expected: list[float]
) -> None:
    pauses = {"clause_pause": 1, "sentence_pause": 2, "paragraph_pause": 3, "speaker_pause": 4}
    narration = NarrationOptions(passage_seconds=2.2, guards=Guards(retries=0), **pauses)
    spoken = list(short.generate_long(text, seed=1, options=ENDLESS, cast=cast, narration=narration))
    ends = [0, *(passage.end for passage in spoken)]
    assert [round(passage.start - end, 9) for passage, end in zip(spoken, ends, strict=False)] == expected


# What goes wrong


def best_attempt(bark: Bark, text: str, voice: VoicePreset, seed: int, index: int, retries: int) -> dict[str, Any]:
    """What is kept of a passage and what is told, by the rules: fewest problems, silence last, the first of equals.

    Of equals that are short, it is the longest.
    """
    kept: list[tuple[int, tuple[Problem, ...], VoicePreset | None]] = []
    lengths: dict[int, int] = {}
    for own in (passage_seed(seed, index, attempt) for attempt in range(retries + 1)):
        if kept and not kept[-1][1]:
            break
        if not len(bark.semantic(text, voice=voice, seed=own)):
            kept.append((own, (Problem("silent", str(NothingSaid())),), None))
            continue
        speech = bark.generate(text, voice=voice, seed=own)
        counts = {"semantic_tokens": len(speech.tokens.semantic), "token_limit": SPACE.max_semantic_tokens}
        expected = estimate_seconds(text)
        found = problems(speech.waveform, SPACE.sample_rate, expected_seconds=expected, guards=Guards(), **counts)
        kept.append((own, tuple(found), speech.tokens))
        lengths[own] = len(speech.waveform) if "short" in names(tuple(found)) else 0
    best = min(kept, key=lambda entry: ("silent" in names(entry[1]), len(entry[1]), -lengths.get(entry[0], 0)))
    rejected = sorted(str(problem) for entry in kept if entry is not best for problem in entry[1])
    return {"seed": best[0], "attempts": len(kept), "problems": best[1], "rejected": rejected, "tokens": best[2]}


def test_a_passage_gone_wrong_is_spoken_again_and_the_best_is_kept(short: Bark) -> None:
    guards = Guards(retries=2, false_alarms=1e-300)  # the pace of the voice is another test's
    voice, narration = make_voice(SPACE, seed=3), NarrationOptions(guards=guards)
    spoken = list(short.generate_long("\n\n".join([*SAID, *SAID]), voice=voice, seed=3, narration=narration))
    for index, passage in enumerate(spoken):
        expected = best_attempt(short, passage.text, voice, 3, index, retries=2)
        if passage.attempts > 3:  # its sentences one by one: another test's
            assert names(expected["problems"]) == ["short"]
            continue
        told = {name: getattr(passage, name) for name in ("seed", "attempts", "problems")}
        assert told == {name: expected[name] for name in told}
        assert sorted(map(str, passage.rejected)) == expected["rejected"]
        assert same_tokens(passage.tokens, expected["tokens"])
    assert any(passage.attempts == 1 for passage in spoken)
    assert any(passage.rejected and not passage.problems for passage in spoken)
    assert any(passage.problems for passage in spoken)


def test_anything_is_better_than_silence(short: Bark) -> None:
    text, voice = "The dog is the laughter of the world, " * 4, make_voice(SPACE, seed=3)

    def length(seed: int, attempt: int) -> int:
        return len(short.semantic(text, voice=voice, seed=passage_seed(seed, 0, attempt)))

    seed = next(seed for seed in range(100) if length(seed, 0) <= 2 and 15 <= length(seed, 1) < 100)
    (passage,) = short.generate_long(text, voice=voice, seed=seed, narration=NarrationOptions(guards=Guards(retries=1)))
    assert (names(passage.problems), names(passage.rejected)) == (["short"], ["silent"])
    assert passage.seed == passage_seed(seed, 0, 1)


@pytest.mark.parametrize("retries", [0, 2])
def test_what_never_ends_is_a_runaway(short: Bark, retries: int) -> None:
    narration = NarrationOptions(guards=Guards(retries=retries))
    (passage,) = short.generate_long(
        "Hi", voice=make_voice(SPACE, seed=3), options=ENDLESS, seed=4, narration=narration
    )
    assert (names(passage.problems), names(passage.rejected)) == (["runaway"], ["runaway"] * retries)
    assert (passage.attempts, passage.seed) == (retries + 1, passage_seed(4, 0, 0))
    assert passage.tokens is not None
    assert len(passage.tokens.semantic) == 10


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("voice", [make_voice(SPACE, seed=3), None], ids=["voice", "no voice"])
def test_a_passage_that_says_nothing_is_silence(short: Bark, history: History, voice: VoicePreset | None) -> None:
    spoken = list(short.generate_long(TEXT, voice=voice, options=SPEECHLESS, seed=4, history=history, narration=ONCE))
    assert [(names(passage.problems), passage.tokens) for passage in spoken] == [(["silent"], None)] * 4
    assert [len(passage.waveform) for passage in spoken] == [0, 16_800, 1_920, 6_000]
    assert [passage.end - passage.start for passage in spoken] == [0, 0, 0, 0]
    assert not any(passage.waveform.any() for passage in spoken)


# What is refused, before any work


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"text": ""}, "the text is empty"),
        ({"text": " \n\n\t\u2029 "}, "the text is empty"),
        ({"text": "", "cast": {"HOST": make_voice(SPACE, seed=1)}}, "the script says nothing"),
        ({"text": "HOST: Hi", "cast": {}}, "HOST"),
        ({"text": "Hi", "cast": {"HOST": make_voice(SPACE, seed=1)}}, "line 1"),
        ({"voice": "nobody"}, "no voice 'nobody'"),
        ({"voice": "nobody.npz"}, "no such voice file"),
        ({"voice": VoicePreset(*(np.full(shape, 100) for shape in (9, (2, 9), (8, 9))))}, "does not fit this model"),
        ({"text": "HOST: Hi", "cast": {"HOST": "nobody"}}, "no voice 'nobody'"),
        ({"history": "wandering"}, "history must be fixed, rolling, hybrid, not 'wandering'"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"text": "caf\udce9"}, "cannot be tokenized"),
    ],
)
def test_a_call_that_cannot_be_done_is_refused_at_once(
    short: Bark, tmp_path: Path, arguments: dict[str, Any], fragment: str
) -> None:
    with pytest.raises(BarkError) as caught:
        short.generate_long(**({"text": "Hi"} | arguments), journal=tmp_path / "journal")
    assert fragment in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"block": 0}, {"block": 65}, {"passage_seconds": 0.5}, {"passage_seconds": 15}, {"speaker_pause": -1}]
)
def test_narration_options_have_limits(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(BarkError, match=f"{name} must be"):
        NarrationOptions(**options)


def test_who_stops_listening_can_ask_for_something_else(short: Bark) -> None:
    passages = short.generate_long(TEXT, voice=make_voice(SPACE, seed=3), seed=5, narration=ONCE)
    first: SpokenPassage = next(passages)
    close: Callable[[], None] = passages.close  # type: ignore[attr-defined]
    close()
    assert same_tokens(
        next(short.generate_long(TEXT, voice=make_voice(SPACE, seed=3), seed=5, narration=ONCE)).tokens, first.tokens
    )


# What is shown meanwhile


def test_progress_moves_with_tokens_and_not_with_passages(short_bundle: Path) -> None:
    seen: list[Progress] = []
    with Bark.load(short_bundle, device="cpu", threads=1, progress=seen.append) as bark:
        text = " ".join([SAID[0]] * 12)
        slow = GenerationOptions(max_seconds=3, allow_early_stop=False)
        spoken = list(bark.generate_long(text, voice=make_voice(SPACE, seed=3), seed=5, options=slow))
    done = [progress.done for progress in seen]
    assert {progress.stage for progress in seen} == {"speech"}
    assert done == sorted(done)
    assert done[-1] == pytest.approx(seen[-1].total)
    assert len(set(done)) > 2 * len(spoken)
