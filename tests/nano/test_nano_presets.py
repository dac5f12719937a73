"""Which utterance of the nano corpus becomes a voice's preset."""

import json
from pathlib import Path

import numpy as np
import pytest

from bark_onnx import Bark, VoicePreset
from bark_onnx_nano import checkpoint, codes, presets, speech
from bark_onnx_nano.__main__ import Recipe
from bark_onnx_nano.codes import VALIDATION, Tokens
from bark_onnx_nano.evaluate import spoken_tokens
from bark_onnx_nano.units import UNITS, VOICES


@pytest.fixture(scope="module")
def nano() -> Bark:
    return Bark.load(device="cpu", threads=1)


def utterances(lengths: list[int]) -> Tokens:
    """Utterances of so many semantic tokens, the voices in turn."""
    return Tokens(
        [np.full(length, UNITS * (n % 2)) for n, length in enumerate(lengths)],
        [np.full((8, length * 3 // 2), n) for n, length in enumerate(lengths)],
    )


def test_candidates_fill_the_coarse_history_and_were_not_trained_on() -> None:
    tokens = utterances([100, 300, 300, 300, 600, 250] + [100] * VALIDATION + [300])
    assert presets.candidates(tokens, VOICES[0]) == [2]
    assert presets.candidates(tokens, VOICES[1]) == [1, 3, 5]
    assert presets.first(tokens) == {VOICES[0]: 2, VOICES[1]: 1}


def test_of_those_with_few_wrong_phones_the_one_that_is_understood_best_wins(
    nano: Bark, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = utterances([300] * 12)

    def number(preset: VoicePreset) -> int:
        return int(preset.fine[0, 0])

    monkeypatch.setattr(presets, "phone_errors", lambda bark, voice, preset, said: 1 / (1 + number(preset)))
    asked = []

    def missed_words(bark: Bark, preset: VoicePreset, said: list[str]) -> float:
        asked.append(number(preset))
        return 0.1 if number(preset) in (1, 7) else 0.2

    monkeypatch.setattr(presets, "missed_words", missed_words)
    assert presets.best(nano, tokens, ["Hello."], VOICES[1]) == 7
    assert asked == [11, 9, 7, 5]


def test_the_recipe_writes_the_presets_that_were_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the first candidates; once some are chosen, those, whenever the checkpoint is written."""
    tokens, written, recipe = utterances([300] * 6), [], Recipe(tmp_path, tmp_path / "out")
    monkeypatch.setattr(codes, "load", lambda path: tokens)
    monkeypatch.setattr(checkpoint, "write", lambda work, out, tokens, presets: written.append(presets))
    recipe.step_checkpoint()
    (tmp_path / presets.CHOSEN).write_text(json.dumps({"slt": 4, "rms": 5}))
    recipe.step_checkpoint()
    recipe.step_presets()  # which has nothing left to do
    assert written == [{"slt": 0, "rms": 1}, {"slt": 4, "rms": 5}]


@pytest.mark.skipif(not speech.available(), reason="needs flite's shared libraries")
def test_phones_are_compared_with_the_synthesizer_s(nano: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    said, preset = ["She tugged for years to make a decent living."], nano.voice("en_male")
    assert preset is not None
    assert presets.phone_errors(nano, "rms", preset, said) < 0.2
    monkeypatch.setattr(presets, "spoken_tokens", lambda _, voice: spoken_tokens("The answer is no.", voice))
    assert presets.phone_errors(nano, "rms", preset, said) > 1


def test_words_are_those_that_the_recogniser_hears(nano: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    said, preset = ["good morning"], nano.voice("en_male")
    assert preset is not None
    assert presets.missed_words(nano, preset, said) <= 0.5
    monkeypatch.setattr(presets, "recognise", lambda wave, rate: "good evening")
    assert presets.missed_words(nano, preset, said) == 0.5
