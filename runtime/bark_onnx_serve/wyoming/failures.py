"""Errors as clients of the Wyoming protocol get them."""

from wyoming.error import Error
from wyoming.event import Event

from bark_onnx.errors import one_line

from ..failures import diagnose
from ..metrics import Outcome


class Failure(Exception):
    """An error that a client gets as an event; it ends the connection.

    Args:
        text: says what is wrong and what to do. It becomes one line, and a long one is cut.
        code: for programs.
        outcome: how the request is counted.
        is_fault: whether the server itself is wrong.
    """

    def __init__(self, text: str, code: str, outcome: Outcome = "refused", *, is_fault: bool = False) -> None:
        super().__init__(one_line(text))
        self.code = code
        self.outcome = outcome
        self.is_fault = is_fault

    def event(self) -> Event:
        """The event to send."""
        return Error(text=str(self), code=self.code).event()


def failure_of(error: Exception, request_seconds: float) -> Failure:
    """What a client is told about an error.

    Args:
        request_seconds: the time that a request has.
    """
    if isinstance(error, Failure):
        return error
    diagnosis = diagnose(error, request_seconds)
    again = "" if diagnosis.retry_after is None else f"; ask again in {diagnosis.retry_after} seconds"
    return Failure(f"{diagnosis.text}{again}", diagnosis.code, diagnosis.outcome, is_fault=diagnosis.is_fault)
