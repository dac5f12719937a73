"""The functions of suno-ai/bark's `bark/api.py`."""

from collections.abc import Mapping
from typing import Any

from ..arrays import IntArray, Waveform
from ..model.voice import VoicePreset
from .generation import HistoryPrompt, codec_decode, generate_coarse, generate_fine, generate_text_semantic


def text_to_semantic(
    text: str, history_prompt: HistoryPrompt = None, temp: float = 0.7, silent: bool = False, *, seed: int | None = None
) -> IntArray:
    """Turn text into semantic tokens [S]."""
    return generate_text_semantic(text, history_prompt, temp, silent=silent, seed=seed)


def semantic_to_waveform(
    semantic_tokens: IntArray,
    history_prompt: HistoryPrompt = None,
    temp: float = 0.7,
    silent: bool = False,
    output_full: bool = False,
    *,
    seed: int | None = None,
) -> Waveform | tuple[dict[str, IntArray], Waveform]:
    """Turn semantic tokens [S] into a waveform [n]; with `output_full`, return (tokens, waveform)."""
    coarse = generate_coarse(semantic_tokens, history_prompt, temp, silent=silent, seed=seed)
    fine = generate_fine(coarse, history_prompt, temp=0.5, seed=seed)
    audio = codec_decode(fine)
    if output_full:
        return {"semantic_prompt": semantic_tokens, "coarse_prompt": coarse, "fine_prompt": fine}, audio
    return audio


def save_as_prompt(filepath: str, full_generation: Mapping[str, Any]) -> None:
    """Save the tokens that `output_full` returned as a voice preset (.npz)."""
    VoicePreset.from_prompt(full_generation).save(filepath)


def generate_audio(
    text: str,
    history_prompt: HistoryPrompt = None,
    text_temp: float = 0.7,
    waveform_temp: float = 0.7,
    silent: bool = False,
    output_full: bool = False,
    *,
    seed: int | None = None,
) -> Waveform | tuple[dict[str, IntArray], Waveform]:
    """Turn text into a waveform [n] at SAMPLE_RATE; with `output_full`, return (tokens, waveform).

    The tokens can be given as a history prompt.
    """
    semantic = text_to_semantic(text, history_prompt, text_temp, silent, seed=seed)
    return semantic_to_waveform(semantic, history_prompt, waveform_temp, silent, output_full, seed=seed)
