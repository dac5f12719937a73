"""Many requests of all kinds at once on a server process: every answer is its own, and nothing is left."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bark_onnx_bench.soak.asks import Ask, Variety
from bark_onnx_bench.soak.client import Reply, digest_of, speak
from bark_onnx_bench.soak.server import Footprint, SoakedServer, serving
from bark_onnx_bench.soak.sizing import measure
from bark_onnx_bench.soak.soak import Reading, Report, disagreements, soak
from full import FULL
from serving import LONG, Running

POOL = min(32, (os.cpu_count() or 1) + 4)  # threads of asyncio's pool, which encodes; it grows when all of them work
TINY = Variety(
    utterances=(("hello", 2), ("hello", 3), ("good morning to you", 5), ("one, two, three", 2)),
    long_texts=((LONG[:350], 5),),
    longest_patience=0.3,
)


@pytest.fixture(scope="module")
def process(bundle: Path) -> Iterator[SoakedServer]:
    with serving(["--bundle", str(bundle), "--threads", "1", "--max-queue", "12"]) as server:
        yield server


def test_every_answer_is_its_own_and_nothing_is_left(process: SoakedServer) -> None:
    """Requests from 16 clients; a quarter is given up, and some are more than the queue takes."""
    requests = 200 if FULL else 100
    report = soak(process, TINY.asks(requests, seed=1), clients=16)
    assert report.problems == []
    assert report.fates["complete"] > requests // 2
    assert report.fates["left"] > requests // 10
    first, *_, last = (reading.footprint for reading in report.readings)
    assert last.files <= first.files + 1  # one connection of /metrics may not have ended
    assert last.temporary == 0
    again = soak(process, TINY.asks(requests // 4, seed=2), clients=16)
    assert again.problems == []
    end = again.readings[-1].footprint
    assert end.threads <= first.threads + POOL
    assert end.memory_mib < 1.05 * last.memory_mib


def test_a_wrong_answer_and_a_miscount_would_be_seen(server: Running) -> None:
    ask = Ask("hello", 2, "pcm", "audio")
    assert speak(server.port, ask).fate == "complete"
    assert speak(server.port, ask) == speak(server.port, ask)
    assert speak(server.port, replace(ask, seed=3)) != speak(server.port, ask)
    assert speak(server.port, replace(ask, text="...")).fate == "broken"
    assert speak(server.port, replace(ask, patience=0.0)) == Reply("left")
    for audio_format, content in (("opus", b"OggS" + bytes(22) + b"\1\5abc"), ("pcm", b"")):
        with pytest.raises(ValueError, match=r"audio|Ogg"):
            digest_of(Ask("hello", 2, audio_format, "audio"), content)
    with pytest.raises(ValueError, match="last event"):
        digest_of(Ask("hello", 2, "pcm", "sse"), b'data: {"type": "speech.audio.delta", "audio": ""}\n\n')


def test_counts_that_differ_are_problems() -> None:
    fates = Counter(complete=5, left=2, rejected=1)
    right = {"completed": 6, "cancelled": 1, "rejected": 1, "failed": 0, "late": 0, "refused": 0}
    assert disagreements(fates, right) == []
    for wrong in ({"completed": 4, "cancelled": 3}, {"cancelled": 2}, {"completed": 5, "failed": 1}, {"rejected": 0}):
        assert disagreements(fates, right | wrong)


def test_the_growth_is_that_after_the_first_requests() -> None:
    sizes = {0: 50.0, 100: 100.0, 200: 103.0}
    readings = [Reading(count, Footprint(memory, memory, 1, 1, 0)) for count, memory in sizes.items()]
    assert Report(readings=readings).growth(100) == pytest.approx(0.03)


def test_the_memory_of_a_server_is_read_at_rest_and_at_its_peak(bundle: Path) -> None:
    size = measure(2, ["--bundle", str(bundle), "--threads", "1"])
    assert size.slots == 2
    assert 20 < size.rest < size.peak < 2000
