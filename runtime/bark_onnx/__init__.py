"""Bark, Suno's text-to-audio model, on ONNX Runtime and without PyTorch.

Load a bundle once, and speak:

    from bark_onnx import Bark

    bark = Bark.load("bundles/bark-small-int8")
    speech = bark.generate("Hello [laughs]", voice="v2/en_speaker_6", seed=7)
    speech.save("hello.wav")

These modules have more public names: `bark_onnx.compat` (suno-ai/bark's), `bark_onnx.texts.formats` (text files),
`bark_onnx.audio.files` and `bark_onnx.audio.encoder` (audio), `bark_onnx.subtitles.formats` and
`bark_onnx.subtitles.timing` (subtitles).
"""

import logging
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from .errors import (
    BarkError,
    BarkWarning,
    BundleError,
    DeadlineExceeded,
    DeviceError,
    HubError,
    JobCancelled,
    MissingOnnxRuntimeError,
    NothingSaid,
    OutOfMemory,
    QueueFull,
    TextError,
    VoiceError,
    WorkerError,
)

try:
    from .engine.batch import BatchError
    from .engine.engine import Engine
    from .engine.job import Job, JobState, Request
    from .engine.speech import Speech
    from .engine.stream import AudioChunk, StreamOptions
    from .engine.task import Task
    from .engine.worker import Worker
    from .jobs.batch import run_batch
    from .jobs.job import BatchOptions
    from .jobs.report import BatchReport
    from .jobs.row import BadRow, Columns, Row
    from .jobs.speaking import SpokenRow, speak_rows
    from .long.guards import Guards, Problem
    from .long.journal import Journal
    from .long.plan import NarrationOptions
    from .long.speech_stream import Said, SpeechStream
    from .long.spoken import LongSpeech, PassageReport, SpokenPassage
    from .model.vocabulary import Vocabulary
    from .model.voice import VoicePreset
    from .pipeline import Bark
    from .progress import Progress
    from .stages.options import GenerationOptions
except MissingOnnxRuntimeError as error:
    # Whoever asks for one of these names gets the error. The package itself can be imported, so that the command can
    # say what is missing in one line. Type checkers must not think that the package has any name whatsoever.
    if not TYPE_CHECKING:
        _missing = str(error)

        def __getattr__(name: str) -> None:
            if name in __all__:
                raise MissingOnnxRuntimeError(_missing)
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent, unless the program configures logging

__all__ = [
    "AudioChunk",
    "BadRow",
    "Bark",
    "BarkError",
    "BarkWarning",
    "BatchError",
    "BatchOptions",
    "BatchReport",
    "BundleError",
    "Columns",
    "DeadlineExceeded",
    "DeviceError",
    "Engine",
    "GenerationOptions",
    "Guards",
    "HubError",
    "Job",
    "JobCancelled",
    "JobState",
    "Journal",
    "LongSpeech",
    "MissingOnnxRuntimeError",
    "NarrationOptions",
    "NothingSaid",
    "OutOfMemory",
    "PassageReport",
    "Problem",
    "Progress",
    "QueueFull",
    "Request",
    "Row",
    "Said",
    "Speech",
    "SpeechStream",
    "SpokenPassage",
    "SpokenRow",
    "StreamOptions",
    "Task",
    "TextError",
    "Vocabulary",
    "VoiceError",
    "VoicePreset",
    "Worker",
    "WorkerError",
    "__version__",
    "run_batch",
    "speak_rows",
]

try:
    __version__ = version("bark-onnx")
except PackageNotFoundError:  # a frozen application may not carry the package's metadata
    __version__ = "unknown"
