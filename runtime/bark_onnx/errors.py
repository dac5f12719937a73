"""What a caller can do something about, as one line: what is wrong, where, and what to do next."""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGE = str(Path(__file__).parent)
LONGEST = 800


class BarkError(Exception):
    """An error that a user can cause. Its text is one readable line, whatever a hostile file put into it."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class BundleError(BarkError):
    """A bundle that cannot be read: missing, incomplete, changed, or of another format revision."""


class VoiceError(BarkError):
    """A voice preset that cannot be found, read, or used with this model."""


class DeviceError(BarkError):
    """An execution provider that was asked for and cannot be had."""


class NothingSaid(BarkError):
    """An utterance for which the model sampled the end before there was anything to hear."""

    def __init__(self) -> None:
        super().__init__("the model ended the utterance before it began: try another seed, or more text")

    def __reduce__(self) -> tuple[Any, ...]:
        return NothingSaid, ()


class JobCancelled(BarkError):
    """The result of an utterance that was cancelled."""


class QueueFull(BarkError):
    """A request that a worker refuses, because as many as it allows are waiting already."""


class DeadlineExceeded(BarkError):
    """The result of an utterance that did not end within the time that its caller allowed."""


class WorkerError(BarkError):
    """A worker that does no more work: it was closed, or its thread has died."""


class BarkWarning(UserWarning):
    """Something that works, but not as the caller may expect: text that is cut, a voice whose lengths do not fit."""


def one_line(text: str) -> str:
    """White space collapsed, what does not print replaced, the middle of what is too long left out."""
    text = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 3 // 4]} ... {text[-LONGEST // 4 :]}"


def reason(error: Exception) -> str:
    """Why something failed, without Python's names for it: the first line of another library's exception."""
    strerror = getattr(error, "strerror", None)
    return strerror or next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def require(options: object, rules: Mapping[str, bool]) -> None:
    """Raise one BarkError that names every rule that does not hold, each beginning with the field it is about."""
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise BarkError("; ".join(f"{rule}, not {getattr(options, rule.split()[0])}" for rule in broken))


def warn(message: str) -> None:
    """Issue a BarkWarning that points at the caller's line: the innermost frame outside of this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, BarkWarning, stacklevel=level - 1)
