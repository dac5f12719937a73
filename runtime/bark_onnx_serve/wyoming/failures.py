"""Errors as clients of the Wyoming protocol get them."""

from wyoming.error import Error
from wyoming.event import Event

from bark_onnx import BarkError, DeadlineExceeded, VoiceError, WorkerError
from bark_onnx.errors import one_line

from ..metrics import Outcome
from ..service import Busy


class Failure(Exception):
    """An error that a client gets as an event; it ends the connection.

    Args:
        text: says what is wrong and what to do. It becomes one line, and a long one is cut.
        code: for programs.
        outcome: how the request is counted.
    """

    def __init__(self, text: str, code: str, outcome: Outcome = "refused") -> None:
        super().__init__(one_line(text))
        self.code = code
        self.outcome = outcome

    def event(self) -> Event:
        """The event to send."""
        return Error(text=str(self), code=self.code).event()


def failure_of(error: Exception, request_seconds: float, *, spoken: bool) -> Failure:
    """What a client is told about an error.

    Args:
        request_seconds: the time that a request has.
        spoken: whether there has been audio.
    """
    if isinstance(error, Failure):
        return error
    if isinstance(error, Busy):
        return Failure(
            f"the server is busy: {error}; ask again in {error.retry_after} seconds", "server_busy", "rejected"
        )
    if isinstance(error, VoiceError):
        return Failure(str(error), "invalid_voice")
    if isinstance(error, TimeoutError | DeadlineExceeded):
        return Failure(f"the speech was not complete within {request_seconds:g} seconds", "deadline_exceeded", "late")
    if isinstance(error, WorkerError):
        return Failure("the engine has stopped", "engine_stopped", "failed")
    if type(error) is BarkError and not spoken:  # errors about a text have no class of their own
        return Failure(str(error), "invalid_text")
    if isinstance(error, BarkError):
        return Failure(str(error), "speech_failed", "failed")
    return Failure("the server had an error: its log says more", "internal_error", "failed")
