"""The calls of suno-ai/bark's own notebooks. Only the imports differ, and the speech is cut short.

The notebooks are `long_form_generation`, `memory_profiling_bark` and `use_small_models_on_cpu`, at f4f32d4.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bark_onnx.compat as bark  # before: import bark.generation
from bark_onnx import Bark
from bark_onnx.compat import SAMPLE_RATE, generate_audio, preload_models
from bark_onnx.compat.api import semantic_to_waveform
from bark_onnx.compat.generation import generate_text_semantic, models
from tiny import VOICE

SEED = 2  # with others the model may say nothing


@pytest.fixture(autouse=True)
def short_speech(bundle_with_voice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle that speaks, and at most 0.3 s for each call: with random weights, speech ends nowhere."""
    semantic: Callable[..., Any] = Bark.semantic

    def cut(self: Bark, text: str, **arguments: Any) -> Any:
        options = replace(arguments.pop("options"), max_seconds=0.3)
        return semantic(self, text, options=options, **arguments)

    monkeypatch.setenv("BARK_ONNX_BUNDLE", str(bundle_with_voice))
    monkeypatch.setattr(Bark, "semantic", cut)
    monkeypatch.setattr(bark.generation, "models", {})
    monkeypatch.setattr("bark_onnx.long.planner.draw_seed", lambda: SEED)


def spoken(pieces: list[Any], silence: float) -> float:
    """Join the pieces, as the notebooks do for their player, and return the seconds of the spoken ones."""
    joined = np.concatenate(pieces)
    assert np.isfinite(joined).all()
    return len(joined) / SAMPLE_RATE - silence


def test_a_long_text_sentence_by_sentence() -> None:
    """Twice: with `generate_audio`, and in two steps with a temperature and another end of sentence."""
    preload_models()
    sentences = ["A first sentence.", "And a second one."]
    silence = np.zeros(int(0.25 * SAMPLE_RATE))

    pieces: list[Any] = []
    for sentence in sentences:
        audio_array = generate_audio(sentence, history_prompt=VOICE)
        pieces += [audio_array, silence.copy()]
    assert 0.3 < spoken(pieces, silence=0.5) < 0.8

    pieces = []
    for sentence in sentences:
        semantic_tokens = generate_text_semantic(sentence, history_prompt=VOICE, temp=0.6, min_eos_p=0.05)
        pieces += [semantic_to_waveform(semantic_tokens, history_prompt=VOICE), silence.copy()]
    assert 0.3 < spoken(pieces, silence=0.5) < 0.8


def test_a_dialogue_with_a_voice_for_each_speaker() -> None:
    speakers = {"Anna": VOICE, "Ben": None}
    pieces: list[Any] = []
    for line in ["Anna: Good morning.", "Ben: Good morning to you."]:
        speaker, text = line.split(": ")
        pieces += [generate_audio(text, history_prompt=speakers[speaker]), np.zeros(int(0.5 * SAMPLE_RATE))]
    assert 0.1 < spoken(pieces, silence=1) < 0.8


def test_other_sizes_and_offloading_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook that measures memory sets a global of the module, and loads the models again for each size."""
    lengths = []
    for offload in (True, False):
        monkeypatch.setattr(bark.generation, "OFFLOAD_CPU", offload, raising=False)
        for small in (True, False):
            preload_models(text_use_small=small, coarse_use_small=small, fine_use_small=small, force_reload=True)
            assert {*bark.generation.models} == {"text", "coarse", "fine", "codec"}
            lengths.append(generate_audio("madam", history_prompt=VOICE, silent=True).shape[0])
    assert min(lengths) > 0
    assert isinstance(models, dict)  # which that notebook imports by name


def test_small_models_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("SUNO_USE_SMALL_MODELS", "1")
    audio_array = generate_audio("A little egg lay on a leaf.")
    assert audio_array.shape[0] / SAMPLE_RATE < 0.4
