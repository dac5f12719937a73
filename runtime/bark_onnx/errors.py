"""Errors and warnings for the person who caused them: one line that says what is wrong, where, and what to do next."""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

PACKAGE = str(Path(__file__).parent)
LONGEST = 800  # characters of an error's text

# How C++, ONNX Runtime's arena, CUDA, the C library and Python say that memory could not be allocated. A thread needs
# memory for its stack.
_NO_MEMORY = (
    "bad_alloc", "Failed to allocate memory", "out of memory", "Cannot allocate memory", "can't start new thread",
    "pthread_create failed",
)  # fmt: skip
LESS_MEMORY = "close other programs, take a bundle of a smaller precision, or use --low-memory (low_memory=True)"

T = TypeVar("T")


class BarkError(Exception):
    """An error that a user can cause. Its text is one printable line, also if it quotes a hostile file."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class BundleError(BarkError):
    """A bundle cannot be read: it is missing, incomplete, changed, or of another format revision."""


class HubError(BarkError):
    """A model on the Hugging Face hub cannot be read or written: its name, the network, the user's rights."""


class UnknownModel(HubError):
    """Nothing says that there is such a model: the hub did not show one, or was not reached. It may be a path."""


class TextError(BarkError):
    """A text cannot be spoken: there is nothing to say in it, or it is not a string."""


class VoiceError(BarkError):
    """A voice preset cannot be found or read, or does not fit the model."""


class DeviceError(BarkError):
    """The execution provider that the caller asked for is not available."""


class OutOfMemory(BarkError, MemoryError):
    """There is not enough memory to load a network, or to run it."""


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


class MissingOnnxRuntimeError(BarkError, ImportError):
    """ONNX Runtime is not installed. Two distributions provide it, so it is not a plain requirement of bark-onnx."""


class BarkWarning(UserWarning):
    """Something works, but differently than the caller may expect: for example, text that is too long is cut."""


def how_to_install(extra: str) -> str:
    """What to run to install an extra of bark-onnx, which is not in a package index."""
    return f"in a checkout of bark-onnx, run pip install '.[{extra}]' (with its wheel: 'WHEEL[{extra}]')"


def one_line(text: str) -> str:
    """Collapse white space, replace characters that do not print with `?`, and cut the middle out of a long text."""
    text = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 3 // 4]} ... {text[-LONGEST // 4 :]}"


def reason(error: Exception) -> str:
    """Return why something failed: the first line of another library's exception, without the exception's name."""
    strerror = getattr(error, "strerror", None)
    return strerror or next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, of the system or of ONNX Runtime says that memory could not be allocated."""
    said = str(error)
    return isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY)


def shown(value: object) -> str:
    """Return a value as an error quotes it: its `repr`, or its type if that fails, as for a number of 5,000 digits."""
    try:
        return repr(value)
    except Exception:  # `repr` is the caller's code
        return f"a value of type {type(value).__name__}"


def or_default(name: str, options: T | None, kind: type[T]) -> T:
    """Return options that a caller gave, or the default ones for None. Raises BarkError for anything else."""
    if options is None:
        return kind()
    if not isinstance(options, kind):
        raise BarkError(f"{name} must be {kind.__name__}(...), not {type(options).__name__}")
    return options


def require(options: object, rules: Mapping[str, bool]) -> None:
    """Raise a BarkError that names every broken rule.

    Args:
        options: the object that the rules are about.
        rules: text of each rule -> whether it holds. The text begins with the name of a field of `options`.
    """
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise BarkError("; ".join(f"{rule}, not {shown(getattr(options, rule.split()[0]))}" for rule in broken))


def warn(message: str) -> None:
    """Issue a BarkWarning that points at the caller's line: the innermost frame outside of this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, BarkWarning, stacklevel=level)
