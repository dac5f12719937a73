"""The figures of load on a server, from made-up answers: gaps of a player, percentiles, the search for a rate."""

import asyncio
import re
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bark_onnx.errors import BarkError
from bark_onnx_bench.load.arrivals import TEXTS, arrivals, texts
from bark_onnx_bench.load.client import Answer
from bark_onnx_bench.load.level import Level, highest_smooth
from bark_onnx_bench.load.player import BYTES_PER_SECOND, Player
from bark_onnx_bench.load.plot import draw
from bark_onnx_bench.load.search import CLOSE, first_rate, next_rate
from bark_onnx_bench.load.tables import conclusion, header, notes, row
from bark_onnx_bench.load.target import Target
from bark_onnx_bench.load.watch import Watch

GOOD = Answer("completed", 0.0, 0.2, 1.0, 2.2, 2.0, 0, 0.0, None, 200)


def level(answers: list[Answer], rate: float = 1.0, seconds: float = 10.0) -> Level:
    return Level.of(answers, seconds, Watch(), rate=rate, clients=None, interrupted=False)


# A player


def test_a_player_has_a_gap_when_everything_has_been_played() -> None:
    """Half a second of audio comes at 10.0, 10.2, 11.5 and 12.5: it has been played at 11.0, 12.0 and 13.0."""
    player = Player()
    for now in (10.0, 10.2, 11.5, 12.5):
        player.receive(BYTES_PER_SECOND // 2, now)
    assert (player.underruns, player.audio) == (2, 2.0)
    assert player.silence == pytest.approx(0.5 + 0.5)
    assert player.ends == pytest.approx(13.0)


def test_a_player_that_waits_for_the_silence_first_has_no_gap() -> None:
    """So `silence` is the buffer that a stream needs."""
    arrivals_of_pieces = [0.0, 0.7, 0.9, 2.4, 2.5, 4.0]
    player = Player()
    for now in arrivals_of_pieces:
        player.receive(BYTES_PER_SECOND // 2, now)
    start = player.silence
    late = [now - (start + 0.5 * index) for index, now in enumerate(arrivals_of_pieces)]
    assert max(late) == pytest.approx(0.0)


def test_a_sound_card_covers_a_gap_of_a_few_milliseconds() -> None:
    player = Player()
    for now in (0.0, 0.109, 0.22):
        player.receive(BYTES_PER_SECOND // 10, now)
    assert (player.underruns, player.silence) == (1, pytest.approx(0.011))


# Arrivals


def test_arrivals_are_a_poisson_process_of_the_rate() -> None:
    times = np.array(list(islice(arrivals(4.0, 1), 20_000)))
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(0.25, rel=0.03)
    assert gaps.std() == pytest.approx(0.25, rel=0.03)  # of an exponential distribution it is the mean
    counts = np.bincount(times.astype(int))
    assert counts.var() / counts.mean() == pytest.approx(1.0, rel=0.1)


def test_a_seed_gives_the_same_requests_at_every_rate() -> None:
    slow, fast = (list(islice(arrivals(rate, 7), 50)) for rate in (1.0, 5.0))
    assert np.allclose(slow, np.multiply(fast, 5))
    assert list(islice(arrivals(1.0, 8), 50)) != slow
    assert list(islice(texts(7), 50)) == list(islice(texts(7), 50)) != list(islice(texts(8), 50))
    assert set(islice(texts(0), 200)) == set(TEXTS)


# A level


def test_a_level_counts_what_became_of_the_requests() -> None:
    refused = Answer("refused", 0.0, None, 0.01, None, 0.0, 0, 0.0, "status 429: busy", 429)
    failed = replace(refused, outcome="failed", error="status 500: broken", status=500)
    cut = replace(GOOD, outcome="cut", audio=0.5, first_audio=0.4, error="the stream ended before its end")
    gap = replace(GOOD, underruns=3, silence=1.5, first_audio=0.6, ended=3.0)
    found = level([GOOD, gap, cut, refused, refused, failed])
    assert (found.requests, found.completed, found.refused, found.failed, found.cut) == (6, 2, 2, 1, 1)
    assert (found.underruns, found.silence_seconds) == (1, 1.5)
    assert (found.audio_seconds, found.audio_per_second) == (4.5, 0.45)
    assert found.first_audio == {"p50": 0.4, "p95": pytest.approx(0.58), "p99": pytest.approx(0.596)}
    assert found.real_time_factor is not None
    assert found.real_time_factor["p50"] == pytest.approx((0.5 + 1.5) / 2)
    assert found.errors == {"status 429: busy": 2, "status 500: broken": 1, "the stream ended before its end": 1}
    assert not found.smooth
    assert found.overloaded
    assert "2 x status 429: busy" in list(notes(found))


def test_without_audio_there_are_no_percentiles() -> None:
    found = level([Answer("failed", 0.0, None, 0.01, None, 0.0, 0, 0.0, "no connection", None)])
    assert (found.first_audio, found.real_time_factor, found.buffer) == (None, None, None)
    assert row(found).split()[6:10] == ["-"] * 4


def test_the_highest_level_without_underrun_has_only_such_levels_below() -> None:
    gap = replace(GOOD, underruns=1, silence=0.1)
    levels = [level([GOOD], 1.0), level([GOOD], 2.0), level([gap], 4.0), level([GOOD], 5.0)]
    best = highest_smooth(levels)
    assert best is not None
    assert best.rate == 2.0
    assert conclusion(levels).startswith("Highest load without underrun: 2 requests per second.")
    above = [level([gap], 1.0), level([GOOD], 2.0)]
    assert highest_smooth(above) is None
    assert conclusion(above).startswith("Highest load without underrun: none.")
    assert highest_smooth([replace(level([GOOD], 1.0), interrupted=True)]) is None


def test_rows_are_as_wide_as_the_header_and_fit_on_a_terminal() -> None:
    assert len(header("per s")) == len(row(level([GOOD, GOOD], 0.125))) <= 100


# The search


@pytest.mark.parametrize("limit", [0.9, 3.3, 47.0])
def test_the_search_rises_past_the_limit_and_closes_in_on_the_highest_smooth_rate(limit: float) -> None:
    """A server without gaps up to its limit, and with gaps in most answers at 1.5 times the limit."""
    gap = replace(GOOD, underruns=1, silence=0.1)
    levels: list[Level] = []
    rate: float | None = first_rate(0.5)
    assert rate == 0.5
    while rate is not None:
        gaps = 0 if rate <= limit else 1 if rate < 1.5 * limit else 9
        levels.append(level([gap] * gaps + [GOOD] * (10 - gaps), rate))
        rate = next_rate(levels)
        assert len(levels) < 20
    assert max(one.load for one in levels) >= 1.5 * limit
    best = highest_smooth(levels)
    assert best is not None
    assert best.load <= limit < CLOSE * best.load
    assert len({one.load for one in levels}) == len(levels)


def test_the_search_ends_if_no_rate_is_smooth_or_no_limit_is_found() -> None:
    gap = replace(GOOD, underruns=1, silence=0.1)
    assert next_rate([level([gap], 0.1)]) is None
    levels = [level([GOOD], 2.0**power) for power in range(20)]
    assert next_rate(levels) is None


# The generator itself


def test_a_blocked_event_loop_is_measured_and_warned_about() -> None:
    async def blocked() -> Watch:
        watch = Watch()
        async with watch:
            await asyncio.sleep(0.03)
            end = time.perf_counter() + 0.2
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0.01)
        return watch

    watch = asyncio.run(blocked())
    assert watch.longest_lag > 0.15
    assert watch.cpu > 0.3
    found = Level.of([GOOD], 1.0, watch, rate=1.0, clients=None, interrupted=False)
    assert re.search(r"load generator itself was up to \d+ ms late", " ".join(notes(found)))
    assert not list(notes(level([GOOD])))


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    levels = [level([GOOD, GOOD], 1.0), level([replace(GOOD, underruns=1)], 2.0)]
    draw(levels, "a server", tmp_path / "load.png")
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")


# The address


@pytest.mark.parametrize(
    ("url", "speech_url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/audio/speech"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1/audio/speech"),
        ("https://example.org/speech/v1/", "https://example.org/speech/v1/audio/speech"),
    ],
)
def test_an_address_may_end_with_v1(url: str, speech_url: str) -> None:
    assert Target(url, "tts-1", "alloy").speech_url == speech_url


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://example.org", "http://", "http://[", "http://a:99999", "http://a b", ""]
)
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(BarkError, match="is not the address of a server"):
        Target(url, "tts-1", "alloy")


@pytest.mark.parametrize("url", ["http://me:secret@example.org", "http://example.org/?key=secret"])
def test_an_address_with_a_secret_is_refused_since_the_figures_have_it(url: str) -> None:
    with pytest.raises(BarkError, match="--api-key") as error:
        Target(url, "tts-1", "alloy")
    assert "secret" not in str(error.value)
