"""suno-ai/bark's functions on this runtime: change the import line, and a program written for Bark works.

    from bark_onnx.compat import SAMPLE_RATE, generate_audio, preload_models

Say which bundle to use with `preload_models(bundle=...)` or with the environment variable BARK_ONNX_BUNDLE. Without
either it is nano, a small demonstration voice, and a warning says so.

Differences from the reference:

- A bundle has one model size, so the `*_use_small` arguments have no effect.
- One `*_use_gpu=False` keeps all networks on the CPU.
- A temperature of 0 takes the most probable token.
- Every function that samples has the argument `seed`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from .arrays import IntArray, Waveform
from .errors import warn
from .model.vocabulary import Vocabulary
from .model.voice import Voice, VoicePreset
from .pipeline import Bark
from .stages.options import GenerationOptions

HistoryPrompt: TypeAlias = Voice | None

SAMPLE_RATE = Vocabulary().sample_rate

# The reference keeps its models in module globals too: its functions have no argument for them.
_loaded: Bark | None = None

_NANO = (
    "no bundle was given, so this is nano, a small demonstration voice and not Suno's Bark: "
    "set BARK_ONNX_BUNDLE, or call preload_models(bundle=...), with a directory that `bark-onnx export` made"
)


def preload_models(
    text_use_gpu: bool = True,
    text_use_small: bool = False,
    coarse_use_gpu: bool = True,
    coarse_use_small: bool = False,
    fine_use_gpu: bool = True,
    fine_use_small: bool = False,
    codec_use_gpu: bool = True,
    force_reload: bool = False,
    *,
    bundle: str | Path | None = None,
) -> None:
    """Load the bundle, unless it is loaded already. The other functions call this themselves if nobody else did."""
    global _loaded
    if _loaded is None or force_reload or bundle is not None:
        gpu = text_use_gpu and coarse_use_gpu and fine_use_gpu and codec_use_gpu
        directory = bundle or os.environ.get("BARK_ONNX_BUNDLE") or None
        if directory is None and _loaded is None:
            warn(_NANO)
        _loaded = Bark.load(directory, device="auto" if gpu else "cpu")


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


def generate_text_semantic(
    text: str,
    history_prompt: HistoryPrompt = None,
    temp: float = 0.7,
    top_k: int | None = None,
    top_p: float | None = None,
    silent: bool = False,
    min_eos_p: float | None = 0.2,
    max_gen_duration_s: float | None = None,
    allow_early_stop: bool = True,
    use_kv_caching: bool = False,
    *,
    seed: int | None = None,
) -> IntArray:
    """Turn text into semantic tokens [S].

    `use_kv_caching` has no effect: the KV cache is always used, and changes nothing but the speed.
    """
    options = GenerationOptions(
        text_temperature=temp,
        top_k=top_k,
        top_p=top_p,
        min_eos_p=min_eos_p,
        max_seconds=max_gen_duration_s,
        allow_early_stop=allow_early_stop,
    )
    return _bark(silent).semantic(text, voice=history_prompt, options=options, seed=seed)


def generate_coarse(
    x_semantic: IntArray,
    history_prompt: HistoryPrompt = None,
    temp: float = 0.7,
    top_k: int | None = None,
    top_p: float | None = None,
    silent: bool = False,
    max_coarse_history: int = 630,
    sliding_window_len: int = 60,
    use_kv_caching: bool = False,
    *,
    seed: int | None = None,
) -> IntArray:
    """Turn semantic tokens [S] into coarse codes [2, T]."""
    options = GenerationOptions(
        coarse_temperature=temp,
        top_k=top_k,
        top_p=top_p,
        max_coarse_history=max_coarse_history,
        sliding_window=sliding_window_len,
    )
    return _bark(silent).coarse(x_semantic, voice=history_prompt, options=options, seed=seed)


def generate_fine(
    x_coarse_gen: IntArray,
    history_prompt: HistoryPrompt = None,
    temp: float | None = 0.5,
    silent: bool = True,
    *,
    seed: int | None = None,
) -> IntArray:
    """Turn coarse codes [n, T] into fine codes [8, T]. The temperature None is argmax, as in the reference."""
    options = GenerationOptions(fine_temperature=0 if temp is None else temp)
    return _bark(silent).fine(x_coarse_gen, voice=history_prompt, options=options, seed=seed)


def codec_decode(fine_tokens: IntArray) -> Waveform:
    """Turn fine codes [8, T] into a waveform [n]."""
    return _bark(silent=True).decode(fine_tokens)


def _bark(silent: bool) -> Bark:
    if _loaded is None:
        preload_models()
    assert _loaded is not None
    _loaded.progress = not silent
    return _loaded
