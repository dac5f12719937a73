"""Clients that go, readers that are slow, queues that are full, time that is over, an engine that dies."""

import gc
import json
import random
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from http.client import IncompleteRead
from pathlib import Path
from socket import socket
from threading import Event

import numpy as np
import pytest

from bark_onnx import AudioChunk, GenerationOptions, NothingSaid, SpeechStream
from bark_onnx.arrays import Waveform
from bark_onnx.audio.encoder import StreamEncoder
from bark_onnx.engine.job import Job
from bark_onnx.long.narrator import Narrator
from bark_onnx_serve.service import Words
from serving import LONG, Running, connected, raw_request, running, slowed, speech, until


def test_whoever_disconnects_at_any_moment_frees_everything(fresh: Running) -> None:
    """While it waits, while nothing has been sent yet, and while it is answered."""
    moments = random.Random(1)
    slowed(fresh, 0.001)
    for number in range(10):
        whole, audio_format = number % 3 == 0, ("pcm", "mp3", "opus", "flac")[number % 4]
        with connected(fresh.port) as connection:
            connection.sendall(raw_request(speech(LONG, stream=not whole, response_format=audio_format)))
            time.sleep(moments.uniform(0, 0.3))
        until(lambda: fresh.is_idle, 5)
    until(lambda: fresh.outcomes() == {"cancelled": 10})
    assert fresh.metric('bark_onnx_active_rows{stage="coarse"}') == 0


def test_a_client_that_goes_while_it_waits_in_the_queue_leaves_it(fresh: Running) -> None:
    slowed(fresh, 0.01)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connected(fresh.port)).sendall(raw_request(speech(LONG)))
        until(lambda: fresh.metric('bark_onnx_active_rows{stage="semantic"}') == 2)
        with connected(fresh.port) as waiting:
            waiting.sendall(raw_request(speech("hello")))
            until(lambda: fresh.service.worker.waiting == 1)
        until(lambda: fresh.service.worker.waiting == 0, 2)
    until(lambda: fresh.is_idle, 5)
    until(lambda: fresh.outcomes() == {"cancelled": 3})


def test_others_get_their_own_while_clients_come_and_go(server: Running) -> None:
    """Every third request is given up. The others are what they are alone."""
    before = server.outcomes().get("completed", 0)
    alone = [server.speak("hello", seed=seed).body for seed in range(6)]
    until(lambda: server.outcomes()["completed"] >= before + 6)  # a request is counted after its answer
    before = sum(server.outcomes().values())

    def one(number: int) -> bool:
        if number % 3 == 2:
            with connected(server.port) as connection:
                connection.sendall(raw_request(speech("hello " * 20, seed=number)))
                time.sleep(number % 7 * 0.01)
            return True
        return server.speak("hello", seed=number % 6).body == alone[number % 6]

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(one, range(48)))
    until(lambda: server.is_idle, 5)
    until(lambda: sum(server.outcomes().values()) == before + 48)
    assert {*server.outcomes()} <= {"completed", "cancelled"}


def test_a_slow_reader_is_not_generated_for_and_holds_up_nobody(fresh: Running) -> None:
    """Its stream is taken from only as the client reads: the engine is idle although little of the text is spoken."""
    with connected(fresh.port, receive_buffer=4096) as connection:
        connection.sendall(raw_request(speech(LONG)))
        connection.recv(1000)
        until(lambda: fresh.service.worker.unfinished == 0)
        time.sleep(0.2)
        assert fresh.service.worker.unfinished == 0
        assert fresh.metric("bark_onnx_audio_seconds_total") < 20  # of about 31 s
        assert fresh.speak("hello", seed=2).status == 200
    until(lambda: fresh.is_idle, 5)
    until(lambda: fresh.outcomes() == {"completed": 1, "cancelled": 1})


def test_a_reader_that_stops_is_dropped(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bark_onnx_serve.web.connection.STALL_SECONDS", 0.3)
    with connected(fresh.port, receive_buffer=4096) as connection:
        connection.sendall(raw_request(speech(LONG)))
        until(lambda: fresh.outcomes() == {"cancelled": 1})
        until(lambda: fresh.is_idle)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/audio/spe", raw_request(speech())[:-5]], ids=["nothing", "a", "most"])
def test_a_request_that_does_not_come_to_its_end_is_dropped(
    server: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("bark_onnx_serve.web.connection.REQUEST_SECONDS", 0.2)
    with connected(server.port) as connection:
        connection.sendall(sent)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_a_full_queue_refuses_with_a_time_to_come_back(bundle: Path) -> None:
    with running(bundle, slots=1, max_queue=1) as server, ExitStack() as stack:
        slowed(server, 0.02)
        worker = server.service.worker
        stack.enter_context(connected(server.port)).sendall(raw_request(speech("hello", seed=2)))
        until(lambda: worker.active_rows["semantic"] == 1)
        stack.enter_context(connected(server.port)).sendall(raw_request(speech("hello", seed=2)))
        until(lambda: worker.waiting == 1)
        answer = server.speak("hello")
        assert (answer.status, answer.error["type"], answer.error["code"]) == (429, "rate_limit_error", "server_busy")
        assert 1 <= int(answer.headers["retry-after"]) <= 120
        stack.close()
        until(lambda: server.is_idle)
        until(lambda: server.outcomes() == {"rejected": 1, "cancelled": 2})


def test_too_much_speech_in_the_queue_is_refused(bundle: Path) -> None:
    with running(bundle, max_seconds_queued=100) as server, connected(server.port) as connection:
        slowed(server, 0.01)
        connection.sendall(raw_request(speech(LONG)))  # longer than allowed, but the first
        until(lambda: server.metric("bark_onnx_backlog_seconds") > 100)
        assert server.speak("hello").status == 429


def test_a_request_whose_time_is_over_before_its_audio_gets_an_error(bundle: Path) -> None:
    with running(bundle, request_seconds=0.3) as server:
        slowed(server, 0.05)
        answer = server.speak(LONG, stream=False)
        assert (answer.status, answer.error["code"]) == (503, "deadline_exceeded")
        until(lambda: server.is_idle)
        until(lambda: server.outcomes() == {"late": 1})


def test_a_stream_whose_time_is_over_is_cut(bundle: Path) -> None:
    with running(bundle, request_seconds=3) as server:
        slowed(server, 0.01)
        with pytest.raises(IncompleteRead):
            server.speak(LONG)
        until(lambda: server.is_idle)
        until(lambda: server.outcomes() == {"late": 1})


def test_what_a_request_held_is_free_without_the_garbage_collector(fresh: Running) -> None:
    """Circles of references would hold the arrays of many requests until it comes, which is seldom."""

    def leave(**fields: object) -> None:
        with connected(fresh.port) as connection:
            connection.sendall(raw_request(speech(LONG[:300], **fields)))
            until(lambda: fresh.service.worker.unfinished > 0)

    def held() -> int:
        return sum(isinstance(one, Job | Narrator) for one in gc.get_objects())

    gc.collect()
    before = held()
    gc.disable()
    try:
        for whole in ({}, {"stream": False}):
            fresh.speak(**whole)
            leave(**whole)
            until(lambda: fresh.is_idle)
        until(lambda: held() == before)
    finally:
        gc.enable()


def read_to_end(connection: socket) -> bytes:
    content = b""
    while came := connection.recv(1 << 20):
        content += came
    return content


class Failing:
    """A source of audio that fails after its first chunk."""

    seed = 7

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        yield AudioChunk(np.zeros(24_000, np.float32), 0.0, 24_000)
        raise self._error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeError("a fault"), "internal_error"), (NothingSaid(), "speech_failed")], ids=str
)
def test_a_failure_in_the_middle_is_never_a_clean_end(
    fresh: Running, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    failing = Failing(error)
    monkeypatch.setattr(fresh.service, "_begin", lambda words: failing)
    with pytest.raises(IncompleteRead):
        fresh.speak()
    with pytest.raises(IncompleteRead):
        fresh.speak(response_format="mp3")
    lines = fresh.speak(stream_format="sse").body.decode().splitlines()
    first, last = (json.loads(line.removeprefix("data: ")) for line in lines if line)
    assert first["type"] == "speech.audio.delta"
    assert last["error"]["code"] == code
    whole = fresh.speak(stream=False)
    assert (whole.status, whole.error["code"]) == (500, code)
    with connected(fresh.port) as connection:
        # An answer in HTTP/1.0 ends with the connection, so only a reset tells that it is not complete.
        connection.sendall(raw_request(speech(), version="1.0"))
        with pytest.raises(ConnectionResetError):
            read_to_end(connection)
    assert failing.closed
    until(lambda: fresh.is_idle)
    until(lambda: fresh.outcomes() == {"failed": 5})


def test_the_death_of_the_engine_ends_what_waits(bundle: Path) -> None:
    with running(bundle, slots=1) as server:
        slowed(server, 0.005)
        worker = server.service.worker
        with connected(server.port) as busy, ThreadPoolExecutor(3) as clients:
            busy.sendall(raw_request(speech(LONG)))
            until(lambda: worker.active_rows["semantic"] == 1)
            kinds = ({"stream": False}, {"stream_format": "sse"}, {"response_format": "mp3"})
            waiting = [clients.submit(server.speak, "hello", **kind) for kind in kinds]
            until(lambda: worker.waiting == 3)

            def die() -> bool:
                raise AssertionError("killed by a test")

            worker._engine.step = die
            for answer in (one.result() for one in waiting):
                assert (answer.status, answer.error["code"]) == (503, "engine_stopped")


def test_a_client_that_goes_while_its_audio_is_encoded_is_cancelled(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder ends its call in its thread, and is closed after that."""
    encoding, go_on, closed = Event(), Event(), Event()

    class Slow(StreamEncoder):
        def push(self, waveform: Waveform) -> bytes:
            encoding.set()
            assert go_on.wait(20)
            return super().push(waveform)

        def close(self) -> None:
            super().close()
            closed.set()

    monkeypatch.setattr("bark_onnx_serve.speech.encoding.StreamEncoder", Slow)
    with connected(fresh.port) as connection:
        connection.sendall(raw_request(speech(LONG, response_format="mp3")))
        assert encoding.wait(20)
    until(lambda: fresh.is_idle)  # although the encoder has not ended
    assert not closed.is_set()
    go_on.set()
    assert closed.wait(20)
    until(lambda: fresh.outcomes() == {"cancelled": 1})


def test_the_death_of_the_engine_ends_everything(bundle: Path) -> None:
    """Streams are cut, events have an error, and the server stops."""
    with running(bundle) as server:
        slowed(server, 0.005)
        with ThreadPoolExecutor(2) as clients:
            audio = clients.submit(server.speak, LONG)
            events = clients.submit(server.speak, LONG, stream_format="sse")
            until(lambda: server.metric("bark_onnx_time_to_first_audio_seconds_count") == 2)
            worker = server.service.worker

            def die() -> bool:
                raise AssertionError("killed by a test")

            worker._engine.step = die
            with pytest.raises(IncompleteRead):
                audio.result()
            lines = [line for line in events.result().body.decode().splitlines() if line]
        last = json.loads(lines[-1].removeprefix("data: "))
        assert last == {
            "type": "error",
            "error": {
                "message": "the engine has stopped", "type": "server_error", "param": None, "code": "engine_stopped",
            },
        }  # fmt: skip
        assert not server.service.ready


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"response_format": "mp3"}], ids=str)
def test_a_short_text_of_which_nothing_is_said_is_spoken_again_with_the_next_seed(
    server: Running, fields: dict[str, object]
) -> None:
    with pytest.raises(NothingSaid):
        server.service.bark.generate("hello", seed=10)
    answer = server.speak("hello", seed=10, **fields)
    assert answer.status == 200
    assert answer.headers["x-bark-onnx-seed"] == "10"  # that gives the same speech again
    assert answer.body == server.speak("hello", seed=11, **fields).body


@pytest.mark.parametrize("text", ["hello", LONG[:400]], ids=["short", "long"])
def test_if_nothing_is_said_at_all_it_is_an_error_and_no_empty_answer(server: Running, text: str) -> None:
    """The model is made to end every utterance at once. A longer text has the pauses between its passages then."""
    options = GenerationOptions(min_eos_p=1e-9)

    def begin(words: Words) -> SpeechStream:
        return type(server.service)._begin(server.service, replace(words, options=options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.service, "_begin", begin)
        for stream in (True, False):
            if stream and text != "hello":
                with pytest.raises(IncompleteRead):
                    server.speak(text)
                continue
            answer = server.speak(text, stream=stream)
            assert (answer.status, answer.error["code"]) == (500, "speech_failed")
            assert "try another seed" in answer.error["message"]
    until(lambda: server.is_idle)
