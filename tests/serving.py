"""A server in a thread of the test's process, on a port of its own, and plain HTTP to talk to it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any

from bark_onnx import Bark
from bark_onnx_serve.listening import listening_sockets, port_of
from bark_onnx_serve.process import Server
from bark_onnx_serve.service import Service
from bark_onnx_serve.settings import Settings

SPEECH = "/v1/audio/speech"
LONG = "One sentence is here. And here is another one, which is a little longer. " * 50  # 40 s of speech, 1 s of work


@dataclass
class Running:
    """A server that runs."""

    service: Service
    port: int
    wyoming_port: int
    stop: Callable[[], None]  # as SIGTERM does
    server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def metric(self, name: str) -> float:
        """The figure of a line of /metrics, such as `bark_onnx_requests_total{outcome="failed"}`."""
        lines = self.get("/metrics").body.decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name)

    def get(self, path: str, **headers: str) -> "Answer":
        return request(self.port, "GET", path, headers=headers)

    def post(self, path: str, body: object, **headers: str) -> "Answer":
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return request(self.port, "POST", path, content, {"Content-Type": "application/json", **headers})

    def speak(self, text: str = "hello", **fields: object) -> "Answer":
        return self.post(SPEECH, speech(text, **fields))

    def speak_with(self, voice: str, status: int = 200) -> bytes:
        """What a voice says, with the first key."""
        keys = self.service.settings.api_keys
        headers = {"Authorization": f"Bearer {keys[0]}"} if keys else {}
        answer = self.post(SPEECH, speech("hello", voice=voice), **headers)
        assert answer.status == status
        return answer.body

    def outcomes(self) -> dict[str, int]:
        """How many requests for speech ended in each way; those that never happened are left out."""
        lines = self.get("/metrics").body.decode().splitlines()
        found = [line.split('outcome="')[1].split('"} ') for line in lines if "bark_onnx_requests_total{" in line]
        return {name: int(float(count)) for name, count in found if float(count)}

    @property
    def connections(self) -> list[Any]:
        """The HTTP connections that are open."""
        return list(self.server.server_state.connections)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left of any request."""
        worker = self.service.worker
        return (
            worker.unfinished == worker.waiting == 0
            and set(worker.active_rows.values()) == {0}
            and self.service.backlog.seconds == 0
            and self.metric("bark_onnx_requests_in_progress") == 0
        )


@dataclass
class Answer:
    """Of the server, whole."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The fields of an error, which must have OpenAI's form."""
        assert [*self.json] == ["error"]
        error: dict[str, Any] = self.json["error"]
        assert [*error] == ["message", "type", "param", "code"]
        return error


def speech(text: str = "hello", **fields: object) -> dict[str, object]:
    """The body of a request. With the seed, the model says something; with some others it ends at once."""
    return {"model": "tts-1", "voice": "alloy", "response_format": "pcm", "input": text, "seed": 2, **fields}


def request(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Answer:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def raw_request(fields: dict[str, object], version: str = "1.1") -> bytes:
    """A request for speech as it goes over the wire."""
    content = json.dumps(fields).encode()
    head = f"POST {SPEECH} HTTP/{version}\r\nHost: here\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}".encode() + b"\r\n\r\n" + content


@contextmanager
def connected(port: int, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """A connection without a client library."""
    with socket.socket() as connection:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", port))
        yield connection


@contextmanager
def running(bundle: Path, **settings: Any) -> Iterator[Running]:
    """A server on a bundle."""
    service = Service(Bark.load(bundle, device="cpu", threads=1), Settings(**settings))
    with listening_sockets("127.0.0.1", 0) as listening, listening_sockets("127.0.0.1", 0) as wyoming:
        server = Server(service, wyoming)
        thread = threading.Thread(target=server.run, args=(listening,), daemon=True)
        stop = partial(setattr, server, "should_exit", True)
        thread.start()
        try:
            yield Running(service, port_of(listening), port_of(wyoming), stop, server)
        finally:
            stop()
            thread.join(60)
            service.close()
    assert not thread.is_alive()


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is true, and fail if it is not for so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def slowed(server: Running, seconds: float) -> None:
    """Make each step of the engine take longer."""
    engine = server.service.worker._engine
    step = engine.step

    def slow() -> bool:
        time.sleep(seconds)
        return step()

    engine.step = slow
