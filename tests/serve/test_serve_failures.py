"""What an error means, and that HTTP and Wyoming say the same about it."""

import asyncio

import pytest

from bark_onnx import BarkError, DeadlineExceeded, NothingSaid, TextError, VoiceError, WorkerError
from bark_onnx_serve.failures import diagnose
from bark_onnx_serve.service import Busy
from bark_onnx_serve.web.errors import from_diagnosis
from bark_onnx_serve.wyoming.failures import failure_of


@pytest.mark.parametrize(
    ("error", "status", "code", "outcome"),
    [
        (Busy("64 requests are waiting", 7), 429, "server_busy", "rejected"),
        (VoiceError("no voice 'bob'"), 400, "invalid_voice", "refused"),
        (TextError("the text is empty"), 400, "invalid_text", "refused"),
        (TimeoutError(), 503, "deadline_exceeded", "late"),
        (DeadlineExceeded("too late"), 503, "deadline_exceeded", "late"),
        (WorkerError("dead"), 503, "engine_stopped", "failed"),
        (NothingSaid(), 500, "speech_failed", "failed"),
        (BarkError("the logits are not numbers"), 500, "speech_failed", "failed"),  # no fault of the request's
        (RuntimeError("a secret"), 500, "internal_error", "failed"),
        (asyncio.QueueFull(), 500, "internal_error", "failed"),
    ],
    ids=repr,
)
def test_both_protocols_tell_the_same(error: Exception, status: int, code: str, outcome: str) -> None:
    diagnosis = diagnose(error, 600)
    http, wyoming = from_diagnosis(diagnosis), failure_of(error, 600)
    assert (diagnosis.code, diagnosis.outcome) == (code, outcome)
    assert http.status == status
    assert (wyoming.code, wyoming.outcome) == (code, outcome)
    assert diagnosis.text in str(http)
    assert diagnosis.text in str(wyoming)
    assert "secret" not in f"{http}{wyoming}"
    assert "Traceback" not in f"{http}{wyoming}"
    assert wyoming.is_fault == (code == "internal_error")


def test_when_to_ask_again_is_a_header_or_a_part_of_the_text() -> None:
    error = Busy("too much", 7)
    assert from_diagnosis(diagnose(error, 600)).headers == {"Retry-After": "7"}
    assert str(failure_of(error, 600)).endswith("ask again in 7 seconds")


def test_what_is_wrong_in_a_request_is_named_in_openais_form() -> None:
    http = from_diagnosis(diagnose(TextError("the text is empty"), 600))
    assert (http.body.error.param, http.body.error.code) == ("input", "invalid_value")
    http = from_diagnosis(diagnose(VoiceError("no voice 'bob'"), 600))
    assert (http.body.error.param, http.body.error.code) == ("voice", "invalid_voice")
