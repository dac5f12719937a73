"""The requests of programs that people point at the server, byte for byte as their code sends them.

Open WebUI: backend/open_webui/routers/audio.py, which uses aiohttp for speech and `requests` for lists. SillyTavern:
public/scripts/extensions/tts/openai-compatible.js and src/endpoints/openai.js, which uses node-fetch. Home Assistant:
homeassistant/components/openai_conversation/tts.py, which uses the package openai. And curl, as the documentation has
it.
"""

import asyncio
import io
import json
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path

import openai
import pytest
import soundfile

from serving import Answer, Running, connected, running

DOCS = Path(__file__).parents[2] / "docs" / "serving.md"

OPEN_WEBUI_LIST = """\
GET /v1/audio/{what} HTTP/1.1
Host: 127.0.0.1:{port}
User-Agent: python-requests/2.32.3
Accept-Encoding: gzip, deflate, br, zstd
Accept: */*
Connection: keep-alive

"""

OPEN_WEBUI_SPEECH = """\
POST /v1/audio/speech HTTP/1.1
Host: 127.0.0.1:{port}
Authorization: Bearer {key}
X-OpenWebUI-User-Name: J%C3%BCrgen
X-OpenWebUI-User-Id: 3f0c2a4e
X-OpenWebUI-User-Email: someone@example.org
X-OpenWebUI-User-Role: admin
Accept: */*
Accept-Encoding: gzip, deflate, br
User-Agent: Python/3.11 aiohttp/3.11.11
Content-Length: {length}
Content-Type: application/json

"""

SILLYTAVERN_SPEECH = """\
POST /v1/audio/speech HTTP/1.1
Content-Type: application/json
Authorization: Bearer {key}
Content-Length: {length}
User-Agent: node-fetch
Accept-Encoding: gzip, deflate, br
Accept: */*
Host: 127.0.0.1:{port}
Connection: close

"""


def replay(server: Running, head: str, body: dict[str, object] | None = None, **fields: object) -> Answer:
    """Send a request as its program does, and read the answer."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = head.format(port=server.port, length=len(content), **fields)
    with connected(server.port) as connection:
        connection.sendall(lines.replace("\n", "\r\n").encode() + content)
        response = HTTPResponse(connection)
        response.begin()
        return Answer(response.status, response.headers, response.read())


def open_webui(server: Running, text: str, key: str = "any", **params: object) -> Answer:
    """Its page sends the text and the voice; the operator's model and parameters are added."""
    return replay(server, OPEN_WEBUI_SPEECH, {"input": text, "voice": "alloy", "model": "tts-1", **params}, key=key)


def sillytavern(server: Running, text: str, key: str = "") -> Answer:
    body = {"input": text, "response_format": "mp3", "voice": "alloy", "speed": 1, "model": "tts-1"}
    return replay(server, SILLYTAVERN_SPEECH, body, key=key)


def is_speech(answer: Answer) -> bool:
    """Whether an answer is MP3 that a program can play."""
    assert (answer.status, answer.headers["content-type"]) == (200, "audio/mpeg")
    return soundfile.info(io.BytesIO(answer.body)).duration > 0.5


def test_open_webui_shows_the_voices_and_models_and_needs_no_key_for_that(bundle_with_voice: Path) -> None:
    with running(bundle_with_voice, api_keys=("secret",)) as server:
        voices = replay(server, OPEN_WEBUI_LIST, what="voices").json["voices"]
        assert {"v2/en_speaker_6", "alloy"} <= {voice["id"]: voice["name"] for voice in voices}.keys()
        models = replay(server, OPEN_WEBUI_LIST, what="models").json["models"]
        assert {"bark-test", "tts-1"} <= {model["id"] for model in models}
        assert is_speech(open_webui(server, "hello", key="secret"))
        assert is_speech(sillytavern(server, "hello", key="secret"))
        # A person sees `External: ` and this message.
        assert "Incorrect API key" in open_webui(server, "hello", key="None").error["message"]
        assert sillytavern(server, "hello").status == 401


def test_open_webui_speaks_an_answer_sentence_by_sentence_at_once(server: Running) -> None:
    sentences = [f"This is sentence {number}." for number in range(12)]
    with ThreadPoolExecutor(12) as clients:
        assert all(map(is_speech, clients.map(lambda text: open_webui(server, text), sentences)))


def test_open_webui_may_add_parameters(server: Running) -> None:
    """An operator can set them for all requests; ours are possible too."""
    answer = open_webui(server, "hello", response_format="opus", seed=2, instructions="Speak slowly.")
    assert answer.headers["content-type"] == "audio/ogg; codecs=opus"
    assert answer.headers["x-bark-onnx-ignored"] == "instructions"


def test_open_webui_shows_why_a_text_cannot_be_spoken(server: Running) -> None:
    answer = open_webui(server, "...")
    assert answer.status == 400
    assert "there is nothing to say" in answer.error["message"]


def test_sillytavern_gets_its_speech_and_the_connection_ends(server: Running) -> None:
    """Without a key it sends `Bearer` and a space."""
    answer = sillytavern(server, '*She waves.* "Hello there," she said...')
    assert is_speech(answer)
    assert answer.headers["connection"] == "close"


def test_home_assistant_gets_every_format_that_it_asks_for(server: Running) -> None:
    async def ask(audio_format: str) -> bytes:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
            content = bytearray()
            async with client.audio.speech.with_streaming_response.create(
                model="gpt-4o-mini-tts",
                voice="marin",
                input="The front door is open.",
                instructions=str(None),
                speed=1.0,
                response_format=audio_format,
            ) as response:
                async for chunk in response.iter_bytes():
                    content.extend(chunk)
            return bytes(content)

    for audio_format in ("mp3", "opus", "flac", "wav", "pcm"):
        assert len(asyncio.run(ask(audio_format))) > 5000


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_documentation_that_speak_with_curl_work(server: Running, tmp_path: Path) -> None:
    commands = re.findall(r"^\$ (curl \S+/v1/audio/speech .+)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert commands
    for command in commands:
        words = shlex.split(command.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}"))
        subprocess.run([*words, "--fail", "--silent", "--show-error"], cwd=tmp_path, check=True, timeout=60)
    assert soundfile.info(tmp_path / "hello.mp3").duration > 0.5
