"""The Wyoming protocol, with the client of its own library against a server on a port of its own."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from bark_onnx import BarkError, SpeechStream
from bark_onnx.long.feeding import TextFeed
from bark_onnx_serve.listening import listening_sockets
from bark_onnx_serve.process import _tell
from bark_onnx_serve.service import Words
from bark_onnx_serve.settings import Settings
from bark_onnx_serve.voices import OPENAI_VOICES
from serving import LONG, Running, connected, running, slowed, until

T = TypeVar("T")

TEXT = "One sentence is here. And here is another one, which is a little longer."
NARRATOR = SynthesizeVoice(name="narrator")


def talk(server: Running, work: Callable[[AsyncTcpClient], Awaitable[T]]) -> T:
    """Run a conversation with a client of the library."""

    async def conversation() -> T:
        async with client_of(server) as client:
            return await work(client)

    return asyncio.run(conversation())


@asynccontextmanager
async def client_of(server: Running) -> AsyncIterator[AsyncTcpClient]:
    client = AsyncTcpClient("127.0.0.1", server.wyoming_port, read_timeout=30)
    await client.connect()
    try:
        yield client
    finally:
        await client.disconnect()


async def until_type(client: AsyncTcpClient, kind: str) -> list[Event]:
    """All events to the next one of a type, or to the end of the connection."""
    events: list[Event] = []
    while not events or events[-1].type != kind:
        event = await client.read_event()
        if event is None:
            break
        events.append(event)
    return events


async def send(client: AsyncTcpClient, *events: Any) -> None:
    for event in events:
        await client.write_event(event if isinstance(event, Event) else event.event())


def audio_of(events: list[Event]) -> bytes:
    """The samples of a complete answer."""
    first, *chunks, last = events
    assert (first.type, last.type) == ("audio-start", "audio-stop")
    assert (first.data["rate"], first.data["width"], first.data["channels"]) == (24_000, 2, 1)
    assert {chunk.type for chunk in chunks} == {"audio-chunk"}
    samples = 0
    for chunk in chunks:
        assert chunk.data["timestamp"] == round(samples / 24)
        assert chunk.payload is not None
        samples += len(chunk.payload) // 2
    assert last.data["timestamp"] == round(samples / 24)
    return b"".join(chunk.payload or b"" for chunk in chunks)


def error_of(server: Running, *events: Any) -> dict[str, str]:
    """The error that events get; then the connection ends. Before it there may be audio of the text so far."""

    async def work(client: AsyncTcpClient) -> list[Event]:
        await send(client, *events)
        return await until_type(client, "never")

    *audio, event = talk(server, work)
    assert all(event.type in ("audio-start", "audio-chunk") for event in audio)
    assert event.type == "error"
    return event.data


def test_describe_lists_the_voices_with_their_languages(server: Running) -> None:
    async def work(client: AsyncTcpClient) -> Event:
        await send(client, Describe())
        (event,) = await until_type(client, "info")
        return event

    (program,) = Info.from_event(talk(server, work)).tts
    assert program.supports_synthesize_streaming
    assert program.installed
    assert program.version
    voices = {voice.name: voice for voice in program.voices}
    assert {*OPENAI_VOICES, "narrator", *server.service.bark.voices} == {*voices}
    assert all(voice.installed and voice.languages == ["en"] for voice in voices.values())
    assert voices["narrator"].description == "narrator (v2/en_speaker_6)"


def test_the_language_is_that_of_the_voice_in_the_bundle(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    voices = server.service.voices
    monkeypatch.setattr(voices, "_meanings", {"a": "v2/de_speaker_3", "b": "en_male", "c": "announcer", "d": None})
    assert [voices.language(name) for name in "abcd"] == ["de", "en", None, None]


def test_synthesize_answers_with_all_audio(server: Running) -> None:
    """A second request on the same connection is answered too."""

    async def work(client: AsyncTcpClient) -> list[list[Event]]:
        await send(client, Synthesize("hello", voice=NARRATOR), Synthesize("hello " * 80))
        return [await until_type(client, "audio-stop") for _ in range(2)]

    before = server.outcomes().get("completed", 0)
    counted = server.metric("bark_onnx_time_to_first_audio_seconds_count")
    short, long = map(audio_of, talk(server, work))
    assert short
    assert long
    assert server.outcomes()["completed"] == before + 2
    assert server.metric("bark_onnx_time_to_first_audio_seconds_count") == counted + 2
    until(lambda: server.is_idle)


@pytest.fixture
def spoken(server: Running, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pieces of text that the engine of the server gets."""
    pieces: list[str] = []
    begin = server.service._begin

    async def kept(text: AsyncIterable[str]) -> AsyncIterator[str]:
        async for piece in text:
            pieces.append(piece)
            yield piece

    def begin_and_keep(words: Words) -> SpeechStream:
        return begin(replace(words, text=words.text if isinstance(words.text, str) else kept(words.text)))

    monkeypatch.setattr(server.service, "_begin", begin_and_keep)
    return pieces


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stream_is_spoken_wherever_its_text_is_cut(server: Running, spoken: list[str], size: int) -> None:
    """The synthesize event in it is for servers that cannot stream: it must not be spoken."""
    pieces = [TEXT[start : start + size] for start in range(0, len(TEXT), size)]

    async def work(client: AsyncTcpClient) -> list[Event]:
        await send(client, SynthesizeStart(voice=NARRATOR), *map(SynthesizeChunk, pieces))
        await send(client, Synthesize(TEXT, voice=NARRATOR), SynthesizeStop())
        events = await until_type(client, "synthesize-stopped")
        await send(client, Describe())
        assert [event.type for event in await until_type(client, "info")] == ["info"]
        return events

    before = server.outcomes().get("completed", 0)
    *events, last = talk(server, work)
    assert last.type == "synthesize-stopped"
    assert audio_of(events)
    assert "".join(spoken) == TEXT
    assert server.outcomes()["completed"] == before + 1
    until(lambda: server.is_idle)


def test_a_sentence_is_spoken_while_the_rest_of_the_text_still_comes(
    server: Running, spoken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since it is complete, and not since nothing came for a second."""
    monkeypatch.setattr(TextFeed, "flush", lambda feed: None)
    first, rest = "A first sentence that is long enough to speak. And then ", "the rest of it, which comes late."

    async def work(client: AsyncTcpClient) -> list[Event]:
        await send(client, SynthesizeStart(), SynthesizeChunk(first))
        begun = await until_type(client, "audio-chunk")
        assert spoken == [first]
        await send(client, SynthesizeChunk(rest), SynthesizeStop())
        return begun + await until_type(client, "synthesize-stopped")

    *events, _ = talk(server, work)
    assert audio_of(events)
    assert spoken == [first, rest]


def test_two_clients_are_answered_at_once(fresh: Running) -> None:
    slowed(fresh, 0.004)

    async def one(text: str) -> tuple[float, float]:
        async with client_of(fresh) as client:
            await send(client, Synthesize(text))
            await until_type(client, "audio-start")
            begun = time.monotonic()
            await until_type(client, "audio-stop")
            return begun, time.monotonic()

    async def both() -> list[tuple[float, float]]:
        return await asyncio.gather(one(LONG[:150]), one(LONG[:150]))

    (first, first_end), (second, second_end) = asyncio.run(both())
    assert max(first, second) < min(first_end, second_end)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (Synthesize(""), "invalid_text"),
        (Synthesize("..."), "invalid_text"),
        (Synthesize("x" * 4097), "text_too_long"),
        (Synthesize("hello", voice=SynthesizeVoice(name="../secret")), "invalid_voice"),
        (Synthesize("hello", voice=SynthesizeVoice(language="xx")), "invalid_voice"),
        (Synthesize("<speak/>", text_format="ssml"), "unsupported_value"),
        (Event("synthesize", {}), "invalid_event"),
        (Event("synthesize", {"text": 5}), "invalid_event"),
        (Event("synthesize", {"text": "hello", "voice": "alloy"}), "invalid_voice"),
        (Event("synthesize", {"text": "hello", "voice": {"name": ["alloy"]}}), "invalid_voice"),
        (SynthesizeChunk("hello"), "invalid_event"),
        (SynthesizeStop(), "invalid_event"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_is_an_error_that_ends_the_connection(server: Running, event: Any, code: str) -> None:
    before = server.outcomes().get("refused", 0)
    error = error_of(server, event)
    assert error["code"] == code
    assert "\n" not in error["text"]
    assert "/v1" not in error["text"]  # no address of the other protocol
    assert server.outcomes()["refused"] == before + 1
    until(lambda: server.is_idle)


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([SynthesizeStart(), SynthesizeStop()], "invalid_text"),
        ([SynthesizeStart(), SynthesizeChunk(" \n"), SynthesizeStop()], "invalid_text"),
        ([SynthesizeStart(voice=SynthesizeVoice(name="nobody"))], "invalid_voice"),
        ([SynthesizeStart(), *[SynthesizeChunk("a " * 1000)] * 3], "text_too_long"),
        ([SynthesizeStart(), SynthesizeStart()], "invalid_event"),
    ],
    ids=["nothing", "blank", "voice", "long", "twice"],
)
def test_a_stream_that_is_wrong_is_an_error_too(fresh: Running, events: list[Any], code: str) -> None:
    assert error_of(fresh, *events)["code"] == code
    until(lambda: fresh.is_idle)
    assert fresh.outcomes() == {"refused": 1}


def test_language_alone_gives_a_voice(server: Running) -> None:
    async def work(client: AsyncTcpClient) -> list[Event]:
        await send(client, Synthesize("hello", voice=SynthesizeVoice(language="en_US")))
        return await until_type(client, "audio-stop")

    assert audio_of(talk(server, work))


def test_unknown_events_are_ignored(server: Running) -> None:
    async def work(client: AsyncTcpClient) -> list[Event]:
        await send(client, Event("transcribe", {"name": "x"}), Event("audio-chunk", {"rate": 16000}, b"\0" * 5000))
        await send(client, Describe())
        return await until_type(client, "info")

    assert [event.type for event in talk(server, work)] == ["info"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "invalid_event"),
        (b"[" * 50_000 + b"\n", "invalid_event"),
        (b"[]\n", "invalid_event"),
        (b'{"data": {}}\n', "invalid_event"),
        (b'{"type": "describe", "data": []}\n', "invalid_event"),
        (b'{"type": "describe", "data_length": "9"}\n', "invalid_event"),
        (b'{"type": "describe", "data_length": -1}\n', "invalid_event"),
        (b'{"type": "describe", "data_length": 1000000000}\n', "event_too_long"),
        (b'{"type": "describe", "payload_length": 1000000000}\n', "event_too_long"),
        (b'{"type": "' + b"x" * 200_000 + b'"}\n', "event_too_long"),
        (b'{"type": "synthesize", "data": {"text": "\\ud800"}}\n', "invalid_text"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_an_event_is_refused(server: Running, sent: bytes, code: str) -> None:
    with connected(server.wyoming_port) as connection:
        connection.sendall(sent)
        head, _, data = read_all(connection).partition(b"\n")
    assert json.loads(head)["type"] == "error"
    assert json.loads(data)["code"] == code


def read_all(connection: socket.socket) -> bytes:
    came = b""
    while content := connection.recv(1 << 16):
        came += content
    return came


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("streams", [False, True])
def test_a_client_that_disconnects_frees_its_rows(fresh: Running, seconds: float, streams: bool) -> None:
    slowed(fresh, 0.003)

    async def work(client: AsyncTcpClient) -> None:
        if streams:
            await send(client, SynthesizeStart(), SynthesizeChunk(LONG[:1000]))
        else:
            await send(client, Synthesize(LONG[:1000]))
        await asyncio.sleep(seconds)

    talk(fresh, work)
    until(lambda: fresh.is_idle and bool(fresh.outcomes()), 2)
    assert fresh.outcomes() == {"cancelled": 1}


def test_a_client_that_does_not_read_is_paused_and_then_dropped(
    fresh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bark_onnx_serve.wyoming.connection.STALL_SECONDS", 0.3)
    with connected(fresh.wyoming_port, receive_buffer=4096) as connection:
        event = {"type": "synthesize", "data": {"text": LONG}}
        connection.sendall(json.dumps(event).encode() + b"\n")
        until(lambda: fresh.outcomes() == {"cancelled": 1})
    until(lambda: fresh.is_idle)


def test_an_idle_connection_is_closed(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bark_onnx_serve.wyoming.connection.IDLE_SECONDS", 0.1)
    with connected(fresh.wyoming_port) as connection:
        assert read_all(connection) == b""


def test_more_connections_or_requests_than_allowed_are_refused(fresh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    slowed(fresh, 0.003)
    assert error_of_many(fresh)["code"] == "too_many_requests"
    until(lambda: fresh.is_idle)
    assert fresh.outcomes()["rejected"] == 1
    monkeypatch.setattr("bark_onnx_serve.wyoming.server.MOST_CONNECTIONS", 0)
    with connected(fresh.wyoming_port) as connection, suppress(ConnectionResetError):
        assert read_all(connection) == b""
    until(lambda: fresh.is_idle)


def error_of_many(server: Running) -> dict[str, str]:
    async def work(client: AsyncTcpClient) -> Event:
        await send(client, *[Synthesize(LONG[:500])] * 12)
        return (await until_type(client, "error"))[-1]

    return talk(server, work).data


def test_a_full_queue_is_an_error(bundle: Path) -> None:
    with running(bundle, slots=1, max_queue=1) as server:
        slowed(server, 0.02)
        event = {"type": "synthesize", "data": {"text": "hello"}}
        waiting = json.dumps(event).encode() + b"\n"
        with connected(server.wyoming_port) as first, connected(server.wyoming_port) as second:
            first.sendall(waiting)
            until(lambda: server.service.worker.active_rows["semantic"] == 1)
            second.sendall(waiting)
            until(lambda: server.service.worker.waiting == 1)
            for request in ([Synthesize("hello")], [SynthesizeStart()]):
                error = error_of(server, *request)
                assert error["code"] == "server_busy"
                assert "ask again in" in error["text"]
        until(lambda: server.is_idle)
        assert server.outcomes() == {"rejected": 2, "cancelled": 2}


def test_a_text_that_does_not_come_to_its_end_is_an_error(bundle: Path) -> None:
    with running(bundle, request_seconds=0.3) as server:
        assert error_of(server, SynthesizeStart())["code"] == "deadline_exceeded"
        until(lambda: server.is_idle)
        assert server.outcomes() == {"late": 1}


def test_a_port_in_use_names_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listening = listening_sockets("127.0.0.1", taken.getsockname()[1], "--wyoming")
        with pytest.raises(BarkError, match=r"take another --wyoming$"), listening:
            pass


def test_a_port_that_others_reach_is_warned_about(
    fresh: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also with a key, which the protocol cannot have."""
    settings = Settings(host="0.0.0.0", wyoming=0, api_keys=("key",))
    monkeypatch.setattr(fresh.service, "settings", settings)
    with listening_sockets("127.0.0.1", 0) as http, listening_sockets("127.0.0.1", 0) as wyoming:
        _tell(fresh.service, http, wyoming)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.endswith("Wyoming has no keys")


def test_the_end_of_the_server_waits_for_what_is_spoken(bundle: Path) -> None:
    with running(bundle) as server:
        slowed(server, 0.001)

        async def work(client: AsyncTcpClient) -> list[Event]:
            async with client_of(server) as idle:
                await send(client, Synthesize(LONG[:300]))
                begun = await until_type(client, "audio-start")
                server.stop()
                assert await idle.read_event() is None
                rest = await until_type(client, "audio-stop")
                assert await client.read_event() is None
                return begun + rest

        assert audio_of(talk(server, work))


def test_the_death_of_the_engine_is_an_error(bundle: Path) -> None:
    with running(bundle) as server:
        slowed(server, 0.003)

        def die() -> bool:
            raise AssertionError("killed by a test")

        async def work(client: AsyncTcpClient) -> Event:
            await send(client, Synthesize(LONG))
            await until_type(client, "audio-chunk")
            server.service.worker._engine.step = die
            return (await until_type(client, "error"))[-1]

        assert talk(server, work).data == {"text": "the engine has stopped", "code": "engine_stopped"}
