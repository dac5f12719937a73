"""suno-ai/bark's names on this runtime: change the import line, and a program written for Bark works.

    from bark_onnx.compat import SAMPLE_RATE, generate_audio, preload_models     # before: from bark import ...
    from bark_onnx.compat.generation import generate_text_semantic               # before: from bark.generation ...

Say which bundle to use with `preload_models(bundle=...)` or with the environment variable BARK_ONNX_BUNDLE. Without
either it is nano, a small demonstration voice, and a warning says so.

Differences from the reference:

- A bundle has one model size, so the `use_small` arguments have no effect.
- A bundle is loaded and freed as a whole, so all names in the global dictionary of models hold the same
  `bark_onnx.Bark`.
- One `use_gpu=False` keeps all networks on the CPU.
- A temperature of 0 takes the most probable token.
- Every function that samples has the argument `seed`.
"""

from .api import generate_audio, save_as_prompt, semantic_to_waveform, text_to_semantic
from .generation import (
    ALLOWED_PROMPTS,
    COARSE_INFER_TOKEN,
    COARSE_RATE_HZ,
    COARSE_SEMANTIC_PAD_TOKEN,
    CODEBOOK_SIZE,
    CONTEXT_WINDOW_SIZE,
    N_COARSE_CODEBOOKS,
    N_FINE_CODEBOOKS,
    SAMPLE_RATE,
    SEMANTIC_INFER_TOKEN,
    SEMANTIC_PAD_TOKEN,
    SEMANTIC_RATE_HZ,
    SEMANTIC_VOCAB_SIZE,
    SUPPORTED_LANGS,
    TEXT_ENCODING_OFFSET,
    TEXT_PAD_TOKEN,
    clean_models,
    codec_decode,
    generate_coarse,
    generate_fine,
    generate_text_semantic,
    load_codec_model,
    load_model,
    preload_models,
)

__all__ = [
    "ALLOWED_PROMPTS",
    "COARSE_INFER_TOKEN",
    "COARSE_RATE_HZ",
    "COARSE_SEMANTIC_PAD_TOKEN",
    "CODEBOOK_SIZE",
    "CONTEXT_WINDOW_SIZE",
    "N_COARSE_CODEBOOKS",
    "N_FINE_CODEBOOKS",
    "SAMPLE_RATE",
    "SEMANTIC_INFER_TOKEN",
    "SEMANTIC_PAD_TOKEN",
    "SEMANTIC_RATE_HZ",
    "SEMANTIC_VOCAB_SIZE",
    "SUPPORTED_LANGS",
    "TEXT_ENCODING_OFFSET",
    "TEXT_PAD_TOKEN",
    "clean_models",
    "codec_decode",
    "generate_audio",
    "generate_coarse",
    "generate_fine",
    "generate_text_semantic",
    "load_codec_model",
    "load_model",
    "preload_models",
    "save_as_prompt",
    "semantic_to_waveform",
    "text_to_semantic",
]
