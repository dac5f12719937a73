"""Bark, Suno's text-to-audio model, on ONNX Runtime and without PyTorch.

from bark_onnx import Bark

bark = Bark.load("bundles/bark-small-int8")
speech = bark.generate("Hello [laughs]", voice="v2/en_speaker_6", seed=7)
speech.save("hello.wav")
"""

import sys
from importlib.metadata import version
from pathlib import Path

try:
    import onnxruntime as _  # noqa: F401  two distributions own this module, so that neither is a plain requirement
except ImportError:
    _MISSING = "bark-onnx needs ONNX Runtime: pip install 'bark-onnx[cpu]', or 'bark-onnx[gpu]' for NVIDIA GPUs"
    if Path(sys.argv[0]).stem == "bark-onnx":  # the command, which says what is wrong in one line
        sys.exit(f"Error: {_MISSING}")
    raise ImportError(_MISSING) from None

from .engine import Engine, SpeechStream
from .errors import BarkError, BarkWarning, BundleError, DeviceError, VoiceError
from .guards import Guards, Problem
from .job import BatchError, Job, Request
from .journal import Journal
from .narration import NarrationOptions, SpokenPassage
from .options import GenerationOptions
from .pipeline import Bark
from .speech import Speech
from .stream import AudioChunk, StreamOptions
from .vocabulary import Vocabulary
from .voice import VoicePreset

__all__ = [
    "AudioChunk",
    "Bark",
    "BarkError",
    "BarkWarning",
    "BatchError",
    "BundleError",
    "DeviceError",
    "Engine",
    "GenerationOptions",
    "Guards",
    "Job",
    "Journal",
    "NarrationOptions",
    "Problem",
    "Request",
    "Speech",
    "SpeechStream",
    "SpokenPassage",
    "StreamOptions",
    "Vocabulary",
    "VoiceError",
    "VoicePreset",
    "__version__",
]

__version__ = version("bark-onnx")
