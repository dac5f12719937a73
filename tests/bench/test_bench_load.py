"""`bark-onnx bench --serve`: against a server of known timing, and against the real one with nano."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bark_onnx.command.cli import main
from bark_onnx.model.place import EMBEDDED
from bark_onnx_bench.load import arrivals, command
from bark_onnx_bench.load.client import Answer, SpeechClient
from bark_onnx_bench.load.level import Level
from bark_onnx_bench.load.loops import Extent, closed_loop, open_loop
from bark_onnx_bench.load.target import Target
from serving import Running, running
from timed_speech import Served, Timed, timed_speech

MACHINE = {"processor": "a processor", "cores": 2, "read_bandwidth_gb_s": 1.0}


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bandwidth is not measured here."""
    monkeypatch.setattr(command, "machine", lambda: MACHINE)


@pytest.fixture(scope="module")
def nano() -> Iterator[Running]:
    with running(EMBEDDED, api_keys=("secret",)) as server:
        yield server


def bench(url: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["bench", "--serve", url, *options])


def ask(served: Served) -> Answer:
    async def speak() -> Answer:
        async with SpeechClient(Target(served.url, "tts-1", "alloy", "a-key")) as client:
            return await client.speak("Hello.", time.perf_counter())

    return asyncio.run(speak())


def at_rate(served: Served, rate: float, requests: int) -> Level:
    found: list[Level] = []

    async def measure() -> None:
        async with SpeechClient(Target(served.url, "tts-1", "alloy")) as client:
            await open_loop(client, rate, Extent(requests, 60.0, 0), found.append)

    asyncio.run(measure())
    (level,) = found
    return level


# One request


def test_the_first_audio_is_the_first_byte_of_the_body_and_gaps_are_counted() -> None:
    """0.2 s of audio after 0.2 s, and 0.3 s of audio 0.6 s later: a gap of 0.4 s, and 1.1 s until all is played."""
    with timed_speech(lambda number: Timed([(0.2, 0.2), (0.6, 0.3)])) as served:
        answer = ask(served)
    assert (answer.outcome, answer.status, answer.error, answer.underruns) == ("completed", 200, None, 1)
    assert answer.audio == pytest.approx(0.5)
    assert answer.first_audio == pytest.approx(0.2, abs=0.1)
    assert answer.silence == pytest.approx(0.4, abs=0.1)
    assert answer.ended == pytest.approx(0.8, abs=0.1)
    assert answer.played == pytest.approx(1.1, abs=0.1)
    assert served.keys == ["Bearer a-key"]
    body = {"model": "tts-1", "voice": "alloy", "response_format": "pcm", "input": "Hello."}
    assert served.bodies == [{"path": "/v1/audio/speech", **body}]


BUSY = json.dumps({"error": {"message": "the server is busy", "type": "x", "param": None, "code": None}}).encode()


@pytest.mark.parametrize(
    ("timed", "outcome", "error"),
    [
        (Timed(status=429, content=BUSY), "refused", "status 429: the server is busy"),
        (Timed(status=500, content=b"oh\nno"), "failed", "status 500: oh no"),
        (Timed(status=302, content=b"elsewhere"), "failed", "status 302: elsewhere"),
        (Timed(complete=False), "cut", "the stream ended before its end"),
        (Timed([(0, 0.1), (0.05, 0.1)], complete=False), "cut", "the stream ended before its end"),
        (Timed([]), "failed", "the answer has no audio"),
        (Timed(media_type="text/html"), "failed", "the answer is text/html, not audio"),
        (Timed(content=b"RIFF....WAVE"), "failed", "the server sends WAV although response_format is pcm"),
    ],
)
def test_what_becomes_of_a_request(timed: Timed, outcome: str, error: str) -> None:
    with timed_speech(lambda number: timed) as served:
        answer = ask(served)
    assert (answer.outcome, answer.error) == (outcome, error)
    assert (answer.first_audio is not None) == (outcome == "cut")


# Loops


def test_the_percentiles_of_a_level_are_those_of_the_server() -> None:
    """Five of ten requests have their first audio after 0.1 s, four after 0.3 s, and one after 0.5 s."""
    waits = [0.1] * 5 + [0.3] * 4 + [0.5]
    with timed_speech(lambda number: Timed([(waits[number], 0.1)])) as served:
        level = at_rate(served, 30.0, 10)
    assert (level.requests, level.completed, level.underruns) == (10, 10, 0)
    assert level.first_audio is not None
    assert level.first_audio["p50"] == pytest.approx(0.2, abs=0.08)
    assert level.first_audio["p95"] == pytest.approx(0.41, abs=0.08)
    assert level.first_audio["p99"] == pytest.approx(0.482, abs=0.08)
    assert level.audio_seconds == pytest.approx(1.0)
    assert 0 < level.generator_cpu < 1


def test_an_open_loop_does_not_wait_for_the_server() -> None:
    """The server makes ten answers a second. Forty requests a second wait for it, longer and longer."""
    one_at_a_time = threading.Lock()

    def slow(number: int) -> Timed:
        with one_at_a_time:
            time.sleep(0.1)
        return Timed()

    with timed_speech(slow) as served:
        level = at_rate(served, 40.0, 12)
    assert served.most_at_once >= 6
    assert level.first_audio is not None
    assert level.first_audio["p99"] > 0.5
    assert level.seconds == pytest.approx(1.2, abs=0.3)


def test_a_request_that_is_sent_late_counts_from_when_it_was_due() -> None:
    async def late(served: Served) -> Answer:
        async with SpeechClient(Target(served.url, "tts-1", "alloy")) as client:
            return await client.speak("Hello.", time.perf_counter() - 0.5)

    with timed_speech(lambda number: Timed()) as served:
        answer = asyncio.run(late(served))
    assert 0.5 <= answer.late < 0.6
    assert answer.first_audio is not None
    assert answer.first_audio >= 0.5


def test_listeners_ask_again_when_they_have_heard_everything() -> None:
    """Two clients, and three answers of 0.3 s for each: about 0.9 s, of which nothing is sent in the last 0.3."""
    found: list[Level] = []

    async def measure(served: Served) -> None:
        async with SpeechClient(Target(served.url, "tts-1", "alloy")) as client:
            await closed_loop(client, 2, 0.0, Extent(6, 60.0, 0), found.append)

    start = time.perf_counter()
    with timed_speech(lambda number: Timed([(0, 0.3)])) as served:
        asyncio.run(measure(served))
    assert time.perf_counter() - start >= 0.9
    (level,) = found
    assert (level.clients, level.requests, level.completed) == (2, 6, 6)
    assert served.most_at_once <= 2
    assert 0.6 <= level.seconds < 0.9


# The command


def test_it_measures_the_real_server(nano: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, figure = tmp_path / "load.json", tmp_path / "load.png"
    monkeypatch.setattr(command, "WARM_UP_TEXT", "Yes.")
    monkeypatch.setattr(arrivals, "TEXTS", ("Yes.", "No, no."))
    options = ["--rates", "20", "--requests", "3", "--seconds", "5", "--voice", "nova"]
    result = bench(nano.url, *options, "--api-key", "secret another", "--json", str(file), "--plot", str(figure))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"a processor, 2 cores, 1.0 GB/s; {nano.url}, tts-1, nova"
    assert lines[1].split()[:3] == ["per", "s", "sent"]
    assert lines[2].split()[:6] == ["20", "3", "3", "0", "0", "0"]
    assert lines[3].startswith("Highest load without underrun: ")
    figures = json.loads(file.read_text())
    said = f"--serve {nano.url} --voice nova --rates 20 --requests 3 --seconds 5 --model tts-1"
    assert figures["command"] == f"bark-onnx bench {said}"
    assert "secret" not in file.read_text()
    (level,) = figures["levels"]
    assert level["completed"] == 3
    assert level["audio_seconds"] > 1
    assert 0.01 < level["first_audio"]["p50"] <= level["first_audio"]["p99"] < 60
    assert figure.read_bytes().startswith(b"\x89PNG")
    metrics = nano.get("/metrics", Authorization="Bearer secret").body.decode()
    assert f'bark_onnx_requests_total{{outcome="completed"}} {3.0 + command.WARM_UPS}' in metrics


def test_what_the_server_refuses_is_one_line(nano: Running) -> None:
    for options, said in (
        (["--api-key", "wrong"], "give the key with --api-key"),
        (["--api-key", "secret", "--voice", "nobody"], "no voice 'nobody'"),
        (["--api-key", "secret", "--model", "gpt"], "does it have the model of --model?"),
    ):
        result = bench(nano.url, *options)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: {nano.url}/v1/audio/speech: status 4")
        assert said in result.stderr
        assert result.stderr.count("\n") == 1


def test_who_does_not_answer_is_named(nano: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url, said in (
        (f"http://127.0.0.1:{port}", "no connection: Connect call failed"),
        (nano.url.replace("http:", "https:"), "no connection: "),
        (f"{nano.url}/elsewhere", "is it a server with OpenAI's speech API"),
    ):
        result = bench(url, "--api-key", "secret")
        assert result.exit_code == 1
        assert said in result.stderr
        assert result.stderr.count("\n") == 1


def test_the_rates_are_found_if_none_are_given() -> None:
    """The server makes at most ten answers a second, and has gaps when it makes more than five at once."""
    with timed_speech(lambda number: Timed([(0.02, 0.05), (0.12 if served.at_once > 3 else 0.0, 0.05)])) as served:
        result = bench(served.url, "--requests", "8", "--seconds", "0.4")
    assert result.exit_code == 0, result.output
    rates = [float(line.split()[0]) for line in result.stdout.splitlines()[2:-1]]
    assert rates[1] == pytest.approx(2 * rates[0], rel=0.01)
    assert len(rates) >= 3


def test_ctrl_c_prints_what_was_measured(tmp_path: Path) -> None:
    def slow_later(number: int) -> Timed:
        return Timed([(0.0 if number < command.WARM_UPS + 4 else 30.0, 0.1)])

    with timed_speech(slow_later) as served:

        def interrupt() -> None:
            while len(served.bodies) < command.WARM_UPS + 6:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        try:
            result = bench(served.url, "--rates", "50,60", "--requests", "6", "--json", str(tmp_path / "load.json"))
        finally:
            signal.signal(signal.SIGINT, before)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[2].split()[:3] == ["50", "4", "4"]
    assert "interrupted: only the requests that had ended are counted" in result.stderr
    assert "Aborted!" in result.stderr
    (level,) = json.loads((tmp_path / "load.json").read_text())["levels"]
    assert level["interrupted"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--serve", "http://a", "--rates", "1", "--clients", "2"], "leave one out"),
        (["--serve", "http://a", "--rates", "1", "--pause", "2"], "--pause is for --clients"),
        (["--serve", "http://a", "--rates", "1,0"], "'--rates'"),
        (["--serve", "http://a", "--clients", "2,"], "'--clients'"),
        (["--serve", "http://a", "--quick", "--threads", "1"], "leave out --quick, --threads"),
        (["bundle", "--serve", "http://a"], "leave out BUNDLE"),
        (["--rates", "1", "--api-key", "x"], "measured with --serve URL: leave out --rates, --api-key"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["bench", *options])
    assert result.exit_code == 2
    assert said in result.output


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("bark_onnx_bench.load.c")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    result = bench("http://127.0.0.1:1")
    assert result.exit_code == 1
    advice = "in a checkout of bark-onnx, run pip install '.[load]' (with its wheel: 'WHEEL[load]')"
    assert result.stderr == f"Error: --serve needs aiohttp: {advice}\n"
