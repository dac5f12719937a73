"""The choice of the voices' presets among the utterances of the corpus."""

import json
from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, VoicePreset
from bark_onnx_nano import __main__ as recipes
from bark_onnx_nano.corpus import tokens as corpus_tokens
from bark_onnx_nano.corpus.tokens import Tokens
from bark_onnx_nano.judging import presets
from bark_onnx_nano.judging.measures import synthesized_tokens
from bark_onnx_nano.speech.synthesis import available
from bark_onnx_nano.training.batches import VALIDATION
from bark_onnx_nano.units import UNITS, VOICES


@pytest.fixture(scope="module")
def nano() -> Bark:
    return Bark.load(device="cpu", threads=1)


def utterances(lengths: list[int]) -> Tokens:
    """Utterances with these numbers of semantic tokens; the voices alternate."""
    return Tokens(
        [np.full(length, UNITS * (n % 2)) for n, length in enumerate(lengths)],
        [np.full((8, length * 3 // 2), n) for n, length in enumerate(lengths)],
    )


def test_candidates_have_the_right_length_and_are_not_trained_on() -> None:
    tokens = utterances([100, 300, 300, 300, 600, 250] + [100] * VALIDATION + [300])
    assert presets.candidates(tokens, VOICES[0]) == [2]
    assert presets.candidates(tokens, VOICES[1]) == [1, 3, 5]
    assert presets.first(tokens) == {VOICES[0]: 2, VOICES[1]: 1}


def test_the_finalist_with_the_fewest_wrong_words_is_chosen(nano: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = utterances([300] * 12)

    def number(preset: VoicePreset) -> int:
        return int(preset.fine[0, 0])

    monkeypatch.setattr(presets, "phone_errors", lambda bark, voice, preset, texts: 1 / (1 + number(preset)))
    compared = []

    def wrong_words(bark: Bark, preset: VoicePreset, texts: list[str]) -> float:
        compared.append(number(preset))
        return 0.1 if number(preset) in (1, 7) else 0.2

    monkeypatch.setattr(presets, "wrong_words", wrong_words)
    assert presets.best(nano, tokens, ["Hello."], VOICES[1]) == 7
    assert compared == [11, 9, 7, 5]


def test_the_recipe_writes_the_chosen_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the choice it writes the first candidates, afterwards the chosen ones, also when it runs again."""
    tokens, written, recipe = utterances([300] * 6), [], recipes.Recipe(tmp_path, tmp_path / "out")
    monkeypatch.setattr(corpus_tokens, "load", lambda path: tokens)
    monkeypatch.setattr(recipes, "write", lambda work, out, tokens, presets: written.append(presets))
    recipe.write_checkpoint()
    (tmp_path / presets.CHOSEN).write_text(json.dumps({"slt": 4, "rms": 5}))
    recipe.write_checkpoint()
    recipe.choose_presets()  # has nothing to do: the presets are chosen
    assert written == [{"slt": 0, "rms": 1}, {"slt": 4, "rms": 5}]


@pytest.mark.skipif(not available(), reason="needs flite's shared libraries")
def test_phones_are_compared_with_the_synthesizer_s(nano: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, preset = ["She tugged for years to make a decent living."], nano.preset("en_male")
    assert preset is not None
    assert presets.phone_errors(nano, "rms", preset, texts) < 0.2
    monkeypatch.setattr(presets, "synthesized_tokens", lambda _, voice: synthesized_tokens("The answer is no.", voice))
    assert presets.phone_errors(nano, "rms", preset, texts) > 1


def test_wrong_words_are_counted_by_the_recogniser(nano: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, preset = ["good morning"], nano.preset("en_male")
    assert preset is not None
    assert presets.wrong_words(nano, preset, texts) <= 0.5
    monkeypatch.setattr(presets, "recognise", lambda wave, rate: "good evening")
    assert presets.wrong_words(nano, preset, texts) == 0.5
