"""Subtitles: events beside those of the audio, read by OpenAI's client, and a document at the end."""

import base64
import json
from typing import Any

import openai
import pytest

from bark_onnx.subtitles.formats import Cue, to_json, to_srt, to_vtt
from serving import LONG, Running

TEXT = "The train leaves at seven in the morning. We wait at the bridge, where it is cold. Nobody else is there."
SHORT_LONG = " ".join([TEXT] * 4)  # three passages


def events(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(b"data: ")) for line in body.splitlines() if line]


def of(kind: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in found if event["type"] == f"speech.{kind}"]


def cues_of(found: list[dict[str, Any]]) -> list[Cue]:
    """The cues of events, as a client keeps them: by index, the last one counts."""
    by_index = {event["index"]: event for event in of("subtitles.cue", found)}
    assert [*by_index] == [*range(len(by_index))]
    return [Cue(event["start"], event["end"], event["text"]) for event in by_index.values()]


def test_a_short_text_has_its_phrases(server: Running) -> None:
    found = events(server.speak(TEXT, stream_format="sse", subtitles="vtt").body)
    cues, seconds = cues_of(found), seconds_of(found)
    assert " ".join(cue.text for cue in cues) == TEXT
    assert 0 <= cues[0].start < cues[0].end <= cues[1].start < cues[1].end <= seconds + 0.02
    assert [event["type"] for event in found[-2:]] == ["speech.subtitles.done", "speech.audio.done"]
    assert (found[-2]["format"], found[-2]["document"]) == ("vtt", to_vtt(cues))


def seconds_of(found: list[dict[str, Any]]) -> float:
    return sum(len(base64.b64decode(event["audio"])) for event in of("audio.delta", found)) / 48_000


@pytest.mark.parametrize(("kind", "write"), [("srt", to_srt), ("json", to_json)])
def test_a_long_text_has_them_while_it_is_made(server: Running, kind: str, write: Any) -> None:
    """Each cue comes no later than the audio in which it begins, and the document has all of them."""
    found = events(server.speak(SHORT_LONG, stream_format="sse", subtitles=kind).body)
    cues = cues_of(found)
    assert " ".join(cue.text for cue in cues) == SHORT_LONG
    assert found[-2]["document"] == write(cues)
    taken, seen = 0.0, set()
    for event in found:
        if event["type"] == "speech.audio.delta":
            due = {index for index, cue in enumerate(cues) if cue.start < taken - 1.5}
            assert due <= seen
            taken += len(base64.b64decode(event["audio"])) / 48_000
        elif event["type"] == "speech.subtitles.cue":
            seen.add(event["index"])
            assert event["start"] < taken + 0.05
    assert len(of("subtitles.cue", found)) > len(cues)  # some times were corrected


def test_the_audio_is_the_same_with_subtitles(server: Running) -> None:
    found = events(server.speak(TEXT, stream_format="sse", subtitles="vtt").body)
    assert of("audio.delta", found) + of("audio.done", found) == events(server.speak(TEXT, stream_format="sse").body)


def test_times_are_those_at_the_speed(server: Running) -> None:
    pytest.importorskip("av")
    usual = events(server.speak(TEXT, stream_format="sse", subtitles="json").body)
    slow = events(server.speak(TEXT, stream_format="sse", subtitles="json", speed=0.5).body)
    assert seconds_of(slow) == pytest.approx(2 * seconds_of(usual), abs=0.001)
    for one, other in zip(cues_of(usual), cues_of(slow), strict=True):
        assert (2 * one.start, 2 * one.end) == pytest.approx((other.start, other.end), abs=0.003)


def test_openais_client_reads_them_and_passes_over_what_it_does_not_know(server: Running) -> None:
    """Its own decoder of events, and its types of OpenAI's events."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="a-key", max_retries=0) as client:
        body = {
            "model": "tts-1",
            "voice": "alloy",
            "input": TEXT,
            "stream_format": "sse",
            "subtitles": "vtt",
            "seed": 2,
        }
        stream = client.post(
            "/audio/speech", body=body, cast_to=dict[str, Any], stream=True, stream_cls=openai.Stream[dict[str, Any]]
        )
        kinds = {event["type"] for event in stream}
        speech = client.audio.speech.with_streaming_response
        with speech.create(
            model="tts-1", voice="alloy", input=TEXT, stream_format="sse", extra_body={"subtitles": "vtt", "seed": 2}
        ) as answer:
            lines = [*answer.iter_lines()]
    ours = {"speech.subtitles.cue", "speech.subtitles.done"}
    assert kinds == {"speech.audio.delta", "speech.audio.done", *ours}
    assert {json.loads(line[6:])["type"] for line in lines if line} == kinds


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"subtitles": "vtt"}, "subtitles"),
        ({"subtitles": "vtt", "stream": False}, "subtitles"),
        ({"subtitles": "ass", "stream_format": "sse"}, "subtitles"),
        ({"subtitles": True, "stream_format": "sse"}, "subtitles"),
    ],
)
def test_where_they_cannot_be_an_error_says_so(server: Running, fields: dict[str, object], param: str) -> None:
    answer = server.speak(**fields)
    assert (answer.status, answer.error["param"]) == (400, param)
    if fields["subtitles"] == "vtt":
        assert '"stream_format": "sse"' in answer.error["message"]


def test_a_client_that_goes_leaves_nothing(server: Running) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="a-key", max_retries=0) as client:
        speech = client.audio.speech.with_streaming_response
        with speech.create(
            model="tts-1", voice="alloy", input=LONG, stream_format="sse", extra_body={"subtitles": "srt"}
        ) as answer:
            next(answer.iter_lines())
