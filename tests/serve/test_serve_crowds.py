"""Clients that hold connections without using them, and clients that do not read: bounded, and others are served."""

import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from socket import socket

import numpy as np
import pytest

from bark_onnx import AudioChunk
from serving import LONG, Running, connected, raw_request, speech, until


def is_closed(connection: socket) -> bool:
    """Whether the server has closed a connection on which nothing else is to come."""
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_connections_that_send_nothing_make_room_for_others(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bark_onnx_serve.web.connection.MOST_CONNECTIONS", 50)
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(server.port)) for _ in range(500)]
        assert server.speak().status == 200
        until(lambda: is_closed(silent[400]))
        assert [is_closed(one) for one in silent[::100]] == [True] * 5
        assert not is_closed(silent[-1])  # the oldest went first


def test_a_connection_that_is_answered_is_not_closed_for_others(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bark_onnx_serve.web.connection.MOST_CONNECTIONS", 3)
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        answer = pool.submit(fresh.speak, LONG[:700])
        until(lambda: fresh.metric("bark_onnx_requests_in_progress") == 1)
        for _ in range(20):
            stack.enter_context(connected(fresh.port))
        assert answer.result().status == 200


def test_a_slow_sender_is_cut_off_however_it_drips(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes soon after the one before, but the whole request does not come in its time."""
    monkeypatch.setattr("bark_onnx_serve.web.connection.REQUEST_SECONDS", 0.3)
    wanted = raw_request(speech())
    for begin in (20, wanted.index(b"\r\n\r\n") + 10):  # in the headers, in the body
        with connected(server.port) as connection:
            connection.sendall(wanted[:begin])
            started = time.monotonic()
            place = begin
            while not is_closed(connection):
                assert time.monotonic() - started < 3
                connection.sendall(wanted[place : place + 1])
                place = min(place + 1, len(wanted) - 2)
    until(lambda: server.is_idle)


class EndsUnread:
    """A source of audio that ends as soon as some of it waits for the reader in the server."""

    seed = 7

    def __init__(self, server: Running) -> None:
        self._server = server

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        while not any(one.transport.get_write_buffer_size() for one in self._server.connections):
            yield AudioChunk(np.zeros(8000, np.float32), 0.0, 24_000)

    def close(self) -> None:
        pass


def test_the_end_of_an_answer_that_nobody_reads_is_dropped(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last bytes are fewer than those which make the server wait for the reader."""
    monkeypatch.setattr("bark_onnx_serve.web.connection.STALL_SECONDS", 0.5)
    monkeypatch.setattr(fresh.service, "_begin", lambda words: EndsUnread(fresh))
    with connected(fresh.port, receive_buffer=4096) as connection:
        connection.sendall(raw_request(speech()))
        until(lambda: fresh.outcomes() == {"completed": 1})
        until(lambda: not fresh.connections)
        content = b""
        while came := connection.recv(1 << 20):
            content += came
        assert not content.endswith(b"0\r\n\r\n")


def test_the_end_of_an_answer_that_is_read_late_comes(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bark_onnx_serve.web.connection.STALL_SECONDS", 0.5)
    monkeypatch.setattr(fresh.service, "_begin", lambda words: EndsUnread(fresh))
    with connected(fresh.port, receive_buffer=4096) as connection:
        connection.sendall(raw_request(speech()))
        until(lambda: fresh.outcomes() == {"completed": 1})
        content = b""
        while not content.endswith(b"\r\n0\r\n\r\n"):
            content += connection.recv(1 << 20)
        time.sleep(0.7)
        connection.sendall(raw_request(speech()))  # the connection can be used again
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_slow_readers_hold_little_and_take_nothing_from_others(fresh: Running) -> None:
    """Four of them would fill both slots twice. Nothing is made for them while another one is served."""
    with ExitStack() as stack:
        for _ in range(4):
            slow = stack.enter_context(connected(fresh.port, receive_buffer=4096))
            slow.sendall(raw_request(speech(LONG)))
            slow.recv(1000)
        made = 0.0
        while made != (made := fresh.metric("bark_onnx_audio_seconds_total")):
            until(lambda: fresh.service.worker.unfinished == 0, 60)
            time.sleep(0.2)
        assert sum(one.transport.get_write_buffer_size() for one in fresh.connections) < 4 * (1 << 17)
        answer = fresh.speak()
        assert fresh.metric("bark_onnx_audio_seconds_total") - made == pytest.approx(len(answer.body) / 48_000)
    until(lambda: fresh.is_idle)
