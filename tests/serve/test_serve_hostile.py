"""Requests that nobody sends in good faith: never a fault of the server's, always an error in OpenAI's form."""

import gzip
import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bark_onnx_serve.speech.request import SpeechRequest
from serving import SPEECH, Answer, Running, connected, speech, until

FIELDS = [*SpeechRequest.model_fields, "aac", "__proto__", "\ud800", "\u202e", ""]
NUMBERS = st.one_of(st.integers(), st.sampled_from([2**63, 2**64, 10**400, -1, 0]), st.floats())
TEXTS = st.one_of(
    st.text(), st.sampled_from(["\ud800", "\0", "../../etc/passwd", "v2/../../a.npz", "ａｌｌｏｙ", "alloy\n"])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)
ENOUGH = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def assert_refused_well(answer: Answer) -> None:
    """Check that a wrong request got an error that OpenAI's clients can read."""
    assert 400 <= answer.status < 500, answer
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["message"]
    assert "\n" not in answer.error["message"]
    assert len(answer.body) < 2000


def as_json(document: object) -> bytes:
    """JSON with half characters as escapes, and with NaN and Infinity as Python writes them."""
    return json.dumps(document).encode()


@settings(ENOUGH, max_examples=25)  # speech takes longer than a refusal
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1))
def test_fields_of_any_kind_are_refused_or_spoken(server: Running, changed: dict[str, Any]) -> None:
    """The text stays, so that what is spoken is short."""
    answer = server.post(SPEECH, as_json({**speech(), **changed, "input": "hello"}))
    if answer.status == 200:
        assert answer.body
    elif answer.status == 500:  # temperatures, for example, with which the model says nothing
        assert answer.error["code"] == "speech_failed"
    else:
        assert_refused_well(answer)


@ENOUGH
@given(VALUES)
def test_a_body_that_is_any_json_but_a_request_is_refused(server: Running, document: object) -> None:
    assert_refused_well(server.post(SPEECH, as_json(document)))


@ENOUGH
@given(st.binary())
def test_a_body_that_is_anything_is_refused(server: Running, content: bytes) -> None:
    assert_refused_well(server.post(SPEECH, content))


@ENOUGH
@given(TEXTS)
def test_a_voice_that_is_not_there_is_refused(server: Running, name: str) -> None:
    """A name is never a path, and never a pattern."""
    assert_refused_well(server.speak(voice=f"{name}/"))
    assert_refused_well(server.speak(voice={"id": f"{name}/"}))


@ENOUGH
@given(
    st.sampled_from(["/", "/page/", "/v1/models/", "/v1/audio/voices/", "/docs/"]),
    st.one_of(
        st.binary(min_size=1).map(quote),
        st.sampled_from(
            ["%2e%2e/%2e%2e/etc/passwd", "..%2f..%5c", "%00", "%ed%a0%80", "..;/", "%0d%0aX:1", "a" * 9000]
        ),
    ),
)
def test_a_path_that_is_not_there_is_refused(server: Running, folder: str, rest: str) -> None:
    assert_refused_well(server.get(f"{folder}{rest}/nothing"))


GOOD = json.dumps(speech())


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (gzip.compress(GOOD.encode()), {"Content-Encoding": "gzip"}),
        (GOOD.encode(), {"Content-Type": "text/plain"}),
        (GOOD.encode(), {"Content-Type": "multipart/form-data; boundary=x"}),
        (GOOD.encode(), {"Content-Type": ""}),
        (GOOD.encode("cp037"), {"Content-Type": "application/json; charset=cp037"}),
        (GOOD.encode("utf-7")[:-1], {}),
        (b'{"a":' * 5000, {}),
        (b"[" * 50_000 + b"]" * 50_000, {}),
        (GOOD.encode() + GOOD.encode(), {}),
        (GOOD.encode() + b"\0", {}),
    ],
    ids=["gzip", "plain", "form", "no type", "charset", "cut", "deep", "deeper", "twice", "NUL"],
)
def test_a_body_that_is_packed_or_labelled_otherwise_is_refused(
    server: Running, content: bytes, headers: dict[str, str]
) -> None:
    assert_refused_well(server.post(SPEECH, content, **headers))


def test_what_json_leaves_open_is_taken_as_python_takes_it(server: Running) -> None:
    alone = server.speak().body
    for content in (
        b"\xef\xbb\xbf" + GOOD.encode(),  # a byte order mark
        GOOD.encode("utf-16"),
        GOOD.replace('"input": "hello"', '"input": "another", "input": "hello"').encode(),  # the last one counts
    ):
        assert server.post(SPEECH, content).body == alone


@pytest.mark.parametrize(
    "wire",
    [
        b"nonsense\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: here\r\nX: a\0b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\n\n",  # TLS
        b"GET / HTTP/1.1\r\nHost: here\r\nX: " + b"a" * (1 << 19),
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % number for number in range(40_000)),
    ],
    ids=lambda wire: str(wire)[:30],
)
def test_what_is_not_http_is_refused_and_the_connection_ends(server: Running, wire: bytes) -> None:
    with connected(server.port) as connection:
        came = b""
        with suppress(ConnectionResetError, BrokenPipeError):  # the server does not read the rest of what is sent
            connection.sendall(wire)
            while part := connection.recv(1 << 16):
                came += part
    head, _, content = came.partition(b"\r\n\r\n")
    if came:
        assert head.startswith(b"HTTP/1.1 400 Bad Request")
        assert json.loads(content)["error"]["code"] == "invalid_http"


def test_after_all_this_the_server_serves(server: Running) -> None:
    assert server.speak().status == 200
    until(lambda: server.is_idle)
    assert {*server.outcomes()} <= {"completed", "refused", "failed"}
