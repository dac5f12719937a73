"""The constants, the functions and the global state of suno-ai/bark's `bark/generation.py`."""

import os
from pathlib import Path
from typing import TypeAlias

from ..arrays import IntArray, Waveform
from ..errors import BarkError, warn
from ..model.bundle import Bundle
from ..model.vocabulary import Vocabulary
from ..model.voice import Voice
from ..pipeline import Bark
from ..stages.options import GenerationOptions

HistoryPrompt: TypeAlias = Voice | None

# The reference's constants: those of the published models, whatever bundle is loaded. `Bark.vocabulary` has the
# bundle's own.
_PUBLISHED = Vocabulary()

CONTEXT_WINDOW_SIZE = 1024
SAMPLE_RATE = _PUBLISHED.sample_rate

SEMANTIC_RATE_HZ = _PUBLISHED.semantic_rate
SEMANTIC_VOCAB_SIZE = _PUBLISHED.semantic_size

CODEBOOK_SIZE = _PUBLISHED.codebook_size
N_COARSE_CODEBOOKS = _PUBLISHED.coarse_codebooks
N_FINE_CODEBOOKS = _PUBLISHED.fine_codebooks
COARSE_RATE_HZ = int(_PUBLISHED.coarse_rate)

TEXT_ENCODING_OFFSET = _PUBLISHED.text_offset
SEMANTIC_PAD_TOKEN = _PUBLISHED.semantic_pad
TEXT_PAD_TOKEN = _PUBLISHED.text_pad
SEMANTIC_INFER_TOKEN = _PUBLISHED.semantic_infer

COARSE_SEMANTIC_PAD_TOKEN = _PUBLISHED.coarse_semantic_pad
COARSE_INFER_TOKEN = _PUBLISHED.coarse_infer

SUPPORTED_LANGS = [
    ("English", "en"),
    ("German", "de"),
    ("Spanish", "es"),
    ("French", "fr"),
    ("Hindi", "hi"),
    ("Italian", "it"),
    ("Japanese", "ja"),
    ("Korean", "ko"),
    ("Polish", "pl"),
    ("Portuguese", "pt"),
    ("Russian", "ru"),
    ("Turkish", "tr"),
    ("Chinese", "zh"),
]

# The names of Suno's voices. They have a slash on every system, as the voices of a bundle.
ALLOWED_PROMPTS = {"announcer"} | {
    f"{directory}{language}_speaker_{number}"
    for _, language in SUPPORTED_LANGS
    for directory in ("", "v2/")
    for number in range(10)
}

# The reference keeps its models in this global too: its functions have no argument for them. Here it is empty, or every
# name has the same Bark.
models: dict[str, Bark] = {}

_TRANSFORMERS, _CODEC = ("text", "coarse", "fine"), "codec"  # the reference's names of the models
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
    path: str | Path | None = None,
) -> None:
    """Load the bundle, unless it is loaded already. The other functions call this themselves if nobody else did.

    Args:
        bundle: a directory that `bark-onnx export` made, or a name on the Hugging Face hub. None takes the one in
            BARK_ONNX_BUNDLE, else the one that is loaded, else nano.
        path: the same as `bundle`, for programs that give the directory of their models under this name.
    """
    if bundle is not None and path is not None:
        raise BarkError("bundle and path mean the same directory: give one of them")
    gpu = text_use_gpu and coarse_use_gpu and fine_use_gpu and codec_use_gpu
    _load(bundle or path, gpu, force_reload)


def load_model(
    use_gpu: bool = True, use_small: bool = False, force_reload: bool = False, model_type: str = "text"
) -> Bark:
    """Load the bundle, unless it is loaded already, and return its Bark.

    Args:
        model_type: text, coarse or fine. A bundle holds all of them, so the result is the same.
    """
    if model_type not in _TRANSFORMERS:
        raise BarkError(f"model_type must be {', '.join(_TRANSFORMERS)}, not {model_type!r:.40}")
    return _load(None, use_gpu, force_reload)


def load_codec_model(use_gpu: bool = True, force_reload: bool = False) -> Bark:
    """Load the bundle, unless it is loaded already, and return its Bark.

    Its `bark_onnx.Bark.decode` is the codec's decoder.

    The reference returns EnCodec, which also has an encoder. A bundle has none.
    """
    return _load(None, use_gpu, force_reload)


def clean_models(model_key: str | None = None) -> None:
    """Free the bundle and its memory. The next function that needs it loads it again.

    Args:
        model_key: text, coarse, fine or codec. A bundle is freed as a whole, so each of them frees all.
    """
    if models and (model_key is None or model_key in models):
        loaded = next(iter(models.values()))
        models.clear()
        loaded.close()


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
    bark = _load(None, gpu=True, again=False)
    bark.progress = not silent
    return bark


def _load(bundle: str | Path | None, gpu: bool, again: bool) -> Bark:
    """Return the loaded Bark; load it first if there is none, if a bundle is given, or `again`."""
    loaded = models.get(_CODEC)
    if loaded is not None and bundle is None and not again:
        return loaded
    before = None if loaded is None else loaded.bundle.directory
    directory = bundle or os.environ.get("BARK_ONNX_BUNDLE") or before
    if directory is None:
        warn(_NANO)
    opened = Bundle.open(directory)  # raises before the old one is freed
    clean_models()  # first, so that two bundles are never in memory together
    bark = Bark.load(opened, device="auto" if gpu else "cpu")
    models.update(dict.fromkeys([*_TRANSFORMERS, _CODEC], bark))
    return bark
