"""What an error means for the client that asked for speech. Each protocol writes it in its own form."""

from dataclasses import dataclass

from bark_onnx import BarkError, DeadlineExceeded, TextError, VoiceError, WorkerError

from .metrics import Outcome
from .service import Busy


@dataclass(frozen=True)
class Diagnosis:
    """What an error means.

    Args:
        text: what is wrong and what to do, for a person.
        code: the same for programs.
        outcome: how the request is counted.
        field: of the request, by OpenAI's name, if that is wrong.
        retry_after: seconds after which to ask again; None if asking again does not help.
    """

    text: str
    code: str
    outcome: Outcome
    field: str | None = None
    retry_after: int | None = None

    @property
    def is_fault(self) -> bool:
        """Whether the server itself is wrong; then its log needs the traceback."""
        return self.code == "internal_error"


def diagnose(error: Exception, request_seconds: float) -> Diagnosis:
    """What an error means that ended a request for speech.

    Args:
        request_seconds: the time that a request has.
    """
    if isinstance(error, Busy):
        return Diagnosis(f"the server is busy: {error}", "server_busy", "rejected", retry_after=error.retry_after)
    if isinstance(error, VoiceError):
        return Diagnosis(str(error), "invalid_voice", "refused", "voice")
    if isinstance(error, TextError):
        return Diagnosis(str(error), "invalid_text", "refused", "input")
    if isinstance(error, TimeoutError | DeadlineExceeded):
        return Diagnosis(f"the speech was not complete within {request_seconds:g} seconds", "deadline_exceeded", "late")
    if isinstance(error, WorkerError):
        return Diagnosis("the engine has stopped", "engine_stopped", "failed")
    if isinstance(error, BarkError):
        return Diagnosis(str(error), "speech_failed", "failed")
    return Diagnosis("the server had an error: its log says more", "internal_error", "failed")
