"""What a client gets that is not OpenAI's: lists, errors, limits, headers, events."""

import asyncio
import base64
import io
import json
import logging
from pathlib import Path
from typing import get_args

import pytest
import soundfile
from fastapi.routing import APIRoute

from bark_onnx import Bark, BarkError, VoiceError
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.normalizing.language import LANGUAGES
from bark_onnx_serve.lists import BARKS_MARKS, known_marks, list_routes
from bark_onnx_serve.logs import LogFormat, configure_logs, with_fields
from bark_onnx_serve.settings import Settings
from bark_onnx_serve.speech.request import Normalize, SpeechRequest
from bark_onnx_serve.voices import OPENAI_VOICES, VoiceBook, assigned
from serving import LONG, SPEECH, Running, connected, raw_request, request, running, speech, until

# Lists


def test_the_voices_are_the_bundles_openais_and_the_aliases(server: Running) -> None:
    voices = {voice["id"]: voice["name"] for voice in server.get("/v1/audio/voices").json["voices"]}
    assert [*voices] == ["v2/en_speaker_6", *OPENAI_VOICES, "narrator"]
    assert voices["v2/en_speaker_6"] == "v2/en_speaker_6"
    assert voices["narrator"] == "narrator (v2/en_speaker_6)"


def test_every_listed_voice_speaks(server: Running) -> None:
    alone = server.speak(voice="v2/en_speaker_6", seed=2).body
    for voice in ("alloy", "narrator", {"id": "marin"}):
        assert server.speak(voice=voice, seed=2).body == alone


def test_openais_names_keep_their_voice() -> None:
    names = tuple(f"v2/{language}_speaker_{number}" for language in ("de", "en") for number in range(10))
    assert assigned(names)["alloy"] == "v2/en_speaker_0"
    assert assigned(names)["shimmer"] == "v2/en_speaker_0"
    assert {*assigned(names).values()} == {*names[10:]}
    assert assigned(("en_female", "en_male"))["nova"] == "en_female"
    assert assigned(("en_female", "en_male"))["onyx"] == "en_male"
    assert {*assigned(("one", "two")).values()} == {"one", "two"}
    assert {*assigned(()).values()} == {None}


def test_an_alias_may_replace_one_of_openais_names_but_must_mean_something(bundle_with_voice: Path) -> None:
    bark = Bark.load(bundle_with_voice, device="cpu", threads=1)
    assert VoiceBook(bark, {"alloy": "v2/en_speaker_6"}).preset("alloy") is not None
    with pytest.raises(VoiceError, match=r"--voice-alias bob=v2/en_speaker_7: .*did you mean v2/en_speaker_6"):
        VoiceBook(bark, {"bob": "v2/en_speaker_7"})


def test_the_lists_for_open_webui(server: Running) -> None:
    assert server.get("/v1/audio/models").json["models"][0] == {"id": "bark-test"}
    assert server.get("/v1/models/tts-1").json["object"] == "model"


def test_a_model_has_barks_marks_if_it_has_barks_semantic_tokens(server: Running) -> None:
    assert known_marks(Vocabulary()) == BARKS_MARKS
    assert known_marks(Bundle.open(None).manifest.vocabulary) == ()
    assert server.get("/v1/models").json["data"][0]["marks"] == []


@pytest.mark.parametrize("missing", [(), ("babel",)])
def test_a_model_lists_the_languages_in_which_numbers_are_read(
    server: Running, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    monkeypatch.setattr("bark_onnx_serve.lists.missing", lambda: missing)
    routes = {route.path: route.endpoint for route in list_routes(server.service).routes if isinstance(route, APIRoute)}
    (listed, *_) = asyncio.run(routes["/v1/models"]())["data"]
    assert listed["normalize_languages"] == (() if missing else LANGUAGES)
    assert {"auto", "off", *LANGUAGES} == {*get_args(Normalize)}


def test_no_figure_says_when_it_was_created(server: Running) -> None:
    """These would be as many series as the counters and histograms together, and no dashboard uses them."""
    server.speak()
    assert "_created" not in server.get("/metrics").body.decode()


def test_health_and_readiness(server: Running) -> None:
    for path in ("/health", "/ready"):
        assert server.get(path).status == 200
        head = request(server.port, "HEAD", path)
        assert (head.status, head.body) == (200, b"")


def test_the_page_of_the_api_has_every_route_and_field_and_no_script(server: Running) -> None:
    answer = server.get("/docs")
    text = answer.body.decode()
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in text
    assert "http" not in text  # nothing from elsewhere
    for path in server.get("/openapi.json").json["paths"]:
        assert path in text
    for field in SpeechRequest.model_fields:
        assert f"<code>{field}</code>" in text
    assert "<td>number, from 0.25 to 4</td><td>1</td>" in text
    assert "<td>integer, from 0 under 2^64</td>" in text
    assert "<td></td></tr>" not in text.partition("/v1/models")[0]  # every field of a request says what it means


def test_the_description_for_programs_has_our_errors(server: Running) -> None:
    described = json.dumps(server.get("/openapi.json").json)
    assert "ErrorBody" in described
    assert "HTTPValidationError" not in described


# Errors


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"", 400, None, "invalid_json"),
        (b"{", 400, None, "invalid_json"),
        (b"[]", 400, None, "invalid_json"),
        (b"[" * 50_000, 400, None, None),
        (b'{"model": "tts-1", "voice": "alloy", "input": "\xff"}', 400, None, None),
        (b'{"model": "tts-1", "voice": "alloy", "input": "\\ud800"}', 400, "input", "invalid_value"),
        (b'{"model": "tts-1", "voice": "alloy", "input": "hello", "speed": NaN}', 400, "speed", "invalid_value"),
        (b'{"model": "tts-1", "voice": "alloy", "input": "hello", "seed": 1' + b"0" * 5000 + b"}", 400, None, None),
        ({"model": "tts-1", "voice": "alloy"}, 400, "input", "missing_required_parameter"),
        (speech(sed=1), 400, "sed", "unknown_parameter"),
        (speech(**{"a\n" * 999: 1}), 400, "a " * 49 + "a ", "unknown_parameter"),
        (speech(seed=-1), 400, "seed", "invalid_value"),
        (speech(seed=2**64), 400, "seed", "invalid_value"),
        (speech(seed=True), 400, "seed", "invalid_value"),
        (speech(top_p=0), 400, "top_p", "invalid_value"),
        (speech(input=7), 400, "input", "invalid_value"),
        (speech(voice=["alloy"]), 400, "voice", "invalid_value"),
        (speech(voice="../../etc/passwd"), 400, "voice", "invalid_voice"),
        (speech(voice="voices/v2/en_speaker_6.npz"), 400, "voice", "invalid_voice"),
        (speech("..."), 400, "input", "invalid_value"),
        (speech("a" * 4097), 400, "input", "string_above_max_length"),
        (speech(instructions="a" * 4097), 400, "instructions", "invalid_value"),
        (speech(speed=4.5), 400, "speed", "invalid_value"),
        (speech(response_format="m4a"), 400, "response_format", "invalid_value"),
        (speech(stream=False, stream_format="sse"), 400, "stream", "unsupported_value"),
        (speech(model="suno/bark"), 404, "model", "model_not_found"),
        (b" " * 200_000, 413, None, "request_too_large"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, bytes | dict) else "",
)
def test_errors_have_openais_form(
    server: Running, body: object, status: int, param: str | None, code: str | None
) -> None:
    answer = server.post(SPEECH, body)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (status, param, code)
    assert answer.error["type"] == "invalid_request_error"
    assert "\n" not in answer.error["message"]
    until(lambda: server.is_idle)


def test_what_is_not_there_and_what_is_not_allowed_are_errors_of_the_same_form(server: Running) -> None:
    assert server.get("/v1/audio/nothing").error["code"] == "unknown_url"
    assert server.get(SPEECH).error["code"] == "method_not_allowed"
    assert server.get(SPEECH).headers["allow"] == "POST"


def test_a_body_without_its_type_is_refused(server: Running) -> None:
    """So a web page cannot send one without the browser's asking first (CORS)."""
    answer = server.post(SPEECH, speech(), **{"Content-Type": "text/plain"})
    assert "Content-Type: application/json" in answer.error["message"]


def test_a_body_without_a_length_is_limited_too(server: Running) -> None:
    head = (
        f"POST {SPEECH} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with connected(server.port) as connection:
        connection.sendall(head.encode() + b"1e848\r\n" + b" " * 125_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_a_long_body_first_gets_the_answer(server: Running) -> None:
    """The kernel's buffers do not hold this much, so the server must read it."""
    assert server.post(SPEECH, b" " * (12 << 20)).error["code"] == "request_too_large"
    assert server.post(SPEECH, speech()).status == 200


def test_null_counts_as_left_out(server: Running) -> None:
    assert server.speak(seed=2, speed=None, instructions=None, top_k=None).body == server.speak(seed=2).body


def test_longer_texts_are_an_option(bundle: Path) -> None:
    with running(bundle, max_characters=5) as server:
        assert server.speak("hello").status == 200
        assert server.speak("hello!").error["code"] == "string_above_max_length"


# Headers


def test_requests_have_ids(server: Running) -> None:
    assert server.get("/health").headers["x-request-id"].startswith("req_")
    assert server.get("/health", **{"x-request-id": "from-the-proxy.1"}).headers["x-request-id"] == "from-the-proxy.1"
    assert server.get("/health", **{"x-request-id": "a b"}).headers["x-request-id"].startswith("req_")


def test_the_headers_of_a_stream(server: Running) -> None:
    headers = server.speak(instructions="Whisper.").headers
    assert headers["x-accel-buffering"] == "no"
    assert headers["transfer-encoding"] == "chunked"
    assert headers["x-bark-onnx-ignored"] == "instructions"
    seed = headers["x-bark-onnx-seed"]
    assert server.speak(seed=int(seed)).headers["x-bark-onnx-seed"] == seed


def test_web_pages_of_other_origins_may_not_use_it_unless_allowed(server: Running, bundle: Path) -> None:
    asking = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    assert request(server.port, "OPTIONS", SPEECH, headers=asking).status == 405
    with running(bundle, cors=("https://example.org",), api_keys=("key",)) as allowing:
        answer = request(allowing.port, "OPTIONS", SPEECH, headers=asking)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        assert answer.headers["access-control-allow-credentials"] is None
        refused = allowing.get("/v1/models", Origin="https://example.org")  # a page can read why
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "https://example.org")
        asking["Origin"] = "https://example.com"
        assert request(allowing.port, "OPTIONS", SPEECH, headers=asking).status == 400


def test_a_proxy_may_show_it_below_a_path_that_it_removes_or_not(bundle: Path) -> None:
    with running(bundle, root_path="/voice", api_keys=("key",)) as server:
        for root in ("", "/voice"):
            assert server.get(f"{root}/health").status == 200
            assert server.get(f"{root}/v1/models").status == 401
            assert server.get(f"{root}/v1/models", Authorization="Bearer key").status == 200


@pytest.mark.parametrize(
    ("wrong", "option"),
    [({"cors": ("*", "example.org")}, "--cors"), ({"root_path": "speech"}, "--root-path"),
     ({"root_path": "/speech/"}, "--root-path"), ({"api_keys": ("",)}, "--api-key"),
     ({"api_keys": ("a b",)}, "--api-key")],
    ids=str,
)  # fmt: skip
def test_an_impossible_setting_is_refused_by_the_name_of_its_option(wrong: dict[str, object], option: str) -> None:
    with pytest.raises(BarkError, match=f"^{option} must"):
        Settings(**wrong)


# Speech


def test_a_complete_file_has_its_length(server: Running) -> None:
    for audio_format in ("wav", "flac", "mp3", "opus"):
        answer = server.speak(response_format=audio_format, stream=False, seed=2)
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert soundfile.info(io.BytesIO(answer.body)).duration == pytest.approx(1.36, abs=0.01)


def test_a_long_text_is_spoken_in_passages(server: Running) -> None:
    text = LONG[:700]
    streamed, whole = server.speak(text, seed=5), server.speak(text, seed=5, stream=False)
    assert len(streamed.body) > 48_000 * 5
    assert len(whole.body) > 48_000 * 5  # not the same: there was time to repeat passages with faults
    assert server.speak(text, seed=5, stream=False).body == whole.body


def test_a_temperature_changes_the_speech(server: Running) -> None:
    assert server.speak(seed=2, coarse_temperature=0.1).body != server.speak(seed=2).body


def test_events_have_the_audio_and_then_the_usage(server: Running) -> None:
    answer = server.speak(stream_format="sse", seed=2)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    lines = answer.body.decode().splitlines()
    assert [line for line in lines if line][:-1] == [line for line in lines if line.startswith("data: ")][:-1]
    assert lines[1::2] == [""] * (len(lines) // 2)  # an empty line ends each event
    *deltas, done = [json.loads(line.removeprefix("data: ")) for line in lines[::2]]
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert len(deltas) > 1
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == server.speak(seed=2).body
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 1, "output_tokens": 102, "total_tokens": 103},
    }


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [getattr(record, "fields", {}) for record in caplog.records]


def test_the_log_has_ids_and_lengths_but_no_texts(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        answers = [
            server.speak("a secret about hippopotamuses"),
            server.speak("hippopotamuses", voice="nobody"),
            server.post(SPEECH, speech("hippopotamuses", hippopotamus=1)),
        ]
        ids = [answer.headers["x-request-id"] for answer in answers]
        # The lines come after the answers. Those of requests of the tests before may come here, too.
        until(lambda: {line.get("id") for line in logged(caplog) if "outcome" in line} >= {*ids})
    fields = logged(caplog)
    (line,) = [line for line in fields if line.get("id") == ids[0]]
    assert (line["characters"], line["outcome"], line["status"]) == (29, "completed", 200)
    everything = f"{fields} {[record.getMessage() for record in caplog.records]}"
    assert "hippo" not in everything


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_line_of_the_log_is_one_line(log_format: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.root.handlers[:], logging.root.level
    try:
        configure_logs(log_format)
        logging.getLogger("bark_onnx_serve").info("request", extra={"fields": {"path": "/a\nINFO forged"}})
    finally:
        logging.root.handlers[:], level = before
        logging.root.setLevel(level)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "request" in line


def test_a_field_of_the_log_cannot_look_like_two() -> None:
    record = logging.makeLogRecord({"msg": "request", "fields": {"path": '/a outcome="completed"', "status": 404}})
    assert with_fields(record) == r'request path="/a outcome=\"completed\"" status=404'


def test_a_connection_serves_several_requests(server: Running) -> None:
    wanted = raw_request(speech(seed=2, stream=False))
    with connected(server.port) as connection:
        for _ in range(2):
            connection.sendall(wanted)
            came = b""
            while len(came) < 65280:
                came += connection.recv(100_000)
            assert came.startswith(b"HTTP/1.1 200 OK")
