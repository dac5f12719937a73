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

from .engine.engine import Engine
from .engine.job import BatchError, Job, JobState, Request
from .engine.speech import Speech
from .engine.speech_stream import SpeechStream
from .engine.stream import AudioChunk, StreamOptions
from .engine.worker import Task, Worker
from .errors import (
    BarkError,
    BarkWarning,
    BundleError,
    DeadlineExceeded,
    DeviceError,
    JobCancelled,
    NothingSaid,
    QueueFull,
    VoiceError,
    WorkerError,
)
from .long.guards import Guards, Problem
from .long.journal import Journal
from .long.narration import NarrationOptions, SpokenPassage
from .model.vocabulary import Vocabulary
from .model.voice import VoicePreset
from .pipeline import Bark
from .progress import Progress
from .stages.options import GenerationOptions

__all__ = [
    "AudioChunk",
    "Bark",
    "BarkError",
    "BarkWarning",
    "BatchError",
    "BundleError",
    "DeadlineExceeded",
    "DeviceError",
    "Engine",
    "GenerationOptions",
    "Guards",
    "Job",
    "JobCancelled",
    "JobState",
    "Journal",
    "NarrationOptions",
    "NothingSaid",
    "Problem",
    "Progress",
    "QueueFull",
    "Request",
    "Speech",
    "SpeechStream",
    "SpokenPassage",
    "StreamOptions",
    "Task",
    "Vocabulary",
    "VoiceError",
    "VoicePreset",
    "Worker",
    "WorkerError",
    "__version__",
]

__version__ = version("bark-onnx")
