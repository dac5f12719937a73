"""Speeds other than 1, and AAC, over HTTP: what the server sends is what the encoder makes of the speech."""

import sys

import numpy as np
import pytest

from bark_onnx.audio.encoder import encode
from bark_onnx.engine.job import Job, Request
from serving import Running

pytest.importorskip("av", reason="PyAV is not installed")


@pytest.mark.parametrize(("audio_format", "speed"), [("pcm", 0.25), ("pcm", 1.5), ("aac", 1.0), ("aac", 4.0)])
def test_the_answer_is_the_speech_at_this_speed(server: Running, audio_format: str, speed: float) -> None:
    waveform = np.frombuffer(server.speak("hello there").body, "<i2") / np.float32(32768)
    expected = encode(waveform, 24_000, audio_format, speed=speed)
    for fields in ({}, {"stream": False}, {"voice": "alloy", "stream_format": "audio"}):
        answer = server.speak("hello there", response_format=audio_format, speed=speed, **fields)
        assert answer.headers["content-type"] == f"audio/{audio_format}"
        assert abs(len(answer.body) - len(expected)) <= 0.02 * len(expected)
        if audio_format == "pcm" and not fields:  # whole speech has other fine codes
            difference = np.frombuffer(answer.body, "<i2").astype(int) - np.frombuffer(expected, "<i2")
            assert np.abs(difference).max() <= 8  # since `waveform` was rounded before its speed changed


def test_metrics_are_of_the_audio_that_is_sent_and_usage_is_of_what_was_made(server: Running) -> None:
    usual = server.speak(stream_format="sse").body.splitlines()[-2]
    assert server.speak(stream_format="sse", speed=2).body.splitlines()[-2] == usual
    made = server.metric("bark_onnx_audio_seconds_total")
    body = server.speak(speed=2).body
    assert server.metric("bark_onnx_audio_seconds_total") - made == pytest.approx(len(body) / 24_000, rel=0.01)


def test_the_engine_is_told_how_fast_the_listener_plays(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the one who plays faster does not run out of audio while others have enough of it."""
    engine, told = server.service.worker._engine, list[float]()
    prepare = engine.prepare

    def prepared(request: Request, **options: bool) -> Job:
        assert request.streaming is not None
        told.append(request.streaming.playback_speed)
        return prepare(request, **options)

    monkeypatch.setattr(engine, "prepare", prepared)
    for fields in ({}, {"speed": 2}, {"speed": 0.5, "stream_format": "sse"}):
        assert server.speak(**fields).status == 200
    assert told == [1, 2, 0.5]


def test_the_list_of_models_says_what_is_installed(server: Running) -> None:
    model = server.get("/v1/models").json["data"][0]
    assert model["response_formats"] == ["mp3", "opus", "aac", "flac", "wav", "pcm"]
    assert model["speeds"] == [0.25, 4.0]


def test_without_pyav_an_error_says_what_to_install(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av.filter", None)
    for field, value in (("speed", 1.1), ("response_format", "aac")):
        answer = server.speak(**{field: value})
        assert (answer.status, answer.error["param"]) == (400, field)
        assert answer.error["message"].endswith("run pip install '.[av]' (with its wheel: 'WHEEL[av]')")
        assert "PyAV" in answer.error["message"]
    assert server.speak(speed=1.0).status == 200
