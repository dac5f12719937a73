"""The server on Ray Serve: two replicas behind Ray's proxy."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import pytest
import ray
from ray import serve

from bark_onnx import Bark
from bark_onnx.arrays import Waveform
from bark_onnx.audio.encoder import StreamEncoder
from bark_onnx_serve.ray import app
from bark_onnx_serve.ray.arguments import Arguments
from full import FULL
from ray_serving import Replicas, SlowReplica, figures, free_port, rays_environment, start_ray
from serving import LONG, SPEECH, Answer, connected, raw_request, request, speech, until
from tiny import VOICE

SEEDS = range(2, 8)
SLOTS, QUEUE = 2, 4
PREFIX = "/below"


class Cluster(NamedTuple):
    port: int
    replicas: Replicas

    def get(self, path: str) -> Answer:
        return request(self.port, "GET", PREFIX + path)

    def speak(self, text: str = "hello", **fields: object) -> Answer:
        body = json.dumps(speech(text, **fields)).encode()
        return request(self.port, "POST", PREFIX + SPEECH, body, {"Content-Type": "application/json"})

    def figures(self) -> list[dict[str, float]]:
        """Those of each replica. The proxy asks the one that has fewer requests, or any of them if none has."""
        found: dict[float, dict[str, float]] = {}
        end = time.monotonic() + 20
        while len(found) < 2:
            assert time.monotonic() < end
            page = figures(self.get("/metrics").body.decode())
            found[page["process_start_time_seconds"]] = page
        return [*found.values()]

    def rows(self) -> float:
        """Utterances that are generated, in all replicas."""
        names = ('bark_onnx_active_rows{stage="semantic"}', 'bark_onnx_active_rows{stage="coarse"}')
        return sum(page[name] for page in self.figures() for name in names)

    def in_progress(self) -> float:
        return sum(page["bark_onnx_requests_in_progress"] for page in self.figures())


@pytest.fixture(scope="module")
def cluster(bundle_with_voice: Path) -> Iterator[Cluster]:
    with rays_environment() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr("bark_onnx_serve.ray.replica.Replica", SlowReplica)
        port = free_port()
        start_ray(directory, num_cpus=2)
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            aliases = {"alloy": VOICE}
            arguments = Arguments(
                bundle=str(bundle_with_voice), replicas=2, slots=SLOTS, max_queue=QUEUE, voice_aliases=aliases
            )
            serve.run(app(arguments), route_prefix=PREFIX)
            yield Cluster(port, Replicas(directory))
        finally:
            serve.shutdown()
            ray.shutdown()


class Alone(NamedTuple):
    """What a seed says without a server."""

    streamed: bytes
    whole: bytes


@pytest.fixture(scope="module")
def alone(bundle_with_voice: Path) -> dict[int, Alone]:
    def encoded(waveforms: Iterable[Waveform]) -> bytes:
        encoder = StreamEncoder("pcm", 24_000)
        return b"".join(map(encoder.push, waveforms)) + encoder.finish()

    with Bark.load(bundle_with_voice, device="cpu", threads=1) as bark:
        return {
            seed: Alone(
                encoded(chunk.waveform for chunk in bark.stream("hello", voice=VOICE, seed=seed)),
                encoded([bark.generate("hello", voice=VOICE, seed=seed).waveform]),
            )
            for seed in SEEDS
        }


def test_it_is_the_same_server(cluster: Cluster, alone: dict[int, Alone]) -> None:
    answer = cluster.speak(seed=2)
    assert (answer.status, answer.headers["content-type"]) == (200, "audio/pcm")
    assert answer.headers["x-bark-onnx-seed"] == "2"
    assert answer.body == alone[2].streamed
    assert len(answer.headers.get_all("x-request-id", [])) == 1
    assert cluster.speak(seed=2, stream=False).body == alone[2].whole
    assert b"speech.audio.done" in cluster.speak(stream_format="sse").body
    wrong = cluster.speak(voice="nobody")
    assert (wrong.status, wrong.error["param"]) == (400, "voice")
    assert cluster.get("/nothing").error["code"] == "unknown_url"
    assert (cluster.get("").status, cluster.get("").headers["location"]) == (307, f"{PREFIX}/")
    for path in ("/", "/docs", "/page/main.js", "/ready", "/v1/models", "/v1/audio/voices"):
        assert cluster.get(path).status == 200


def test_a_client_that_disconnects_frees_its_row(cluster: Cluster) -> None:
    """While nothing has been sent yet, in the middle of a stream, and also if it asks Ray to go on without it."""
    for first_bytes, header in ((0, b""), (1000, b""), (1000, b"x-request-disconnect-disabled: ?1\r\n")):
        with connected(cluster.port) as connection:
            content = raw_request(speech(LONG)).replace(SPEECH.encode(), (PREFIX + SPEECH).encode(), 1)
            connection.sendall(content.replace(b"Host:", header + b"Host:", 1))
            if first_bytes:
                assert connection.recv(first_bytes)
            until(lambda: cluster.replicas.work)
        until(lambda: not cluster.replicas.work, 5)
        assert cluster.rows() == cluster.in_progress() == 0
    assert sum(page['bark_onnx_requests_total{outcome="cancelled"}'] for page in cluster.figures()) == 3


def test_a_full_queue_is_refused_in_openais_form(cluster: Cluster) -> None:
    """By the replicas, and not by Ray, which cannot say when to come back."""
    count = 40 if FULL else 24
    with ThreadPoolExecutor(count) as clients:
        answers = [*clients.map(lambda _: cluster.speak("hello " * 15, seed=2, stream=False), range(count))]
    accepted = {answer.body for answer in answers if answer.status == 200}
    refused = [answer for answer in answers if answer.status != 200]
    assert len(accepted) == 1
    assert count - len(refused) <= 2 * (SLOTS + QUEUE) + 2  # a place is free again when the first have ended
    assert {answer.error["code"] for answer in refused} == {"server_busy"}
    assert {answer.status for answer in refused} == {429}
    assert all(1 <= int(answer.headers["retry-after"]) <= 120 for answer in refused)


def test_rays_metrics_have_the_figures(cluster: Cluster) -> None:
    (node,) = ray.nodes()

    def page() -> str:
        return request(node["MetricsExportPort"], "GET", "/metrics").body.decode()

    until(lambda: 'outcome="cancelled"' in page(), 30)
    exported = {line.partition("{")[0] for line in page().splitlines() if line.startswith("ray_bark_onnx_")}
    ours = {name.partition("{")[0] for name in figures(cluster.get("/metrics").body.decode())}
    expected = {
        f"ray_{name}".replace("_wait_seconds_count", "_wait_seconds_count_total").replace("_sum", "_total")
        for name in ours
        if name.startswith("bark_onnx_") and not name.endswith("_created")
    }
    histograms = {name for name in expected if "first_audio" in name or "factor" in name}
    assert exported >= (expected - histograms)
    assert "ray_bark_onnx_time_to_first_audio_seconds_bucket" in exported


class Load:
    """Clients that ask again and again, each with the next seed, until they are told to stop."""

    def __init__(self, cluster: Cluster, alone: dict[int, Alone], clients: int) -> None:
        self._cluster = cluster
        self._alone = alone
        self._stopped = False
        self._clients = ThreadPoolExecutor(clients)
        self._running = [self._clients.submit(self._run, number) for number in range(clients)]
        self.good: list[float] = []  # when they ended
        self.failed: list[tuple[float, float]] = []  # when they began and ended
        self.wrong = 0

    def _run(self, number: int) -> None:
        while not self._stopped:
            number += 1
            seed, began = SEEDS[number % len(SEEDS)], time.monotonic()
            try:
                answer = self._cluster.speak(seed=seed)
            except (HTTPException, OSError):
                answer = None
            if answer is None or answer.status >= 500:
                self.failed.append((began, time.monotonic()))
            elif answer.status == 200 and answer.body == self._alone[seed].streamed:
                self.good.append(time.monotonic())
            else:
                self.wrong += 1

    def stop(self) -> None:
        """Let every request end."""
        self._stopped = True
        for client in self._running:
            client.result()
        self._clients.shutdown()


@pytest.mark.parametrize("part", ["replica", "engine"])
def test_what_dies_is_replaced_and_fails_only_what_it_had(
    cluster: Cluster, alone: dict[int, Alone], part: str, record_property: Callable[[str, object], None]
) -> None:
    until(lambda: len(cluster.replicas.processes) == 2)
    clients, more = (8, 100) if FULL else (4, 4)
    load = Load(cluster, alone, clients)
    until(lambda: len(load.good) >= more, 60)
    began = time.monotonic()
    dead = cluster.replicas.kill() if part == "replica" else cluster.replicas.kill_engine()
    until(lambda: dead not in cluster.replicas.processes)
    until(lambda: len(cluster.replicas.processes) == 2, 30)
    seconds = time.monotonic() - began
    good = len(load.good)
    until(lambda: len(load.good) >= good + more, 60)
    load.stop()
    assert load.wrong == 0
    print(f"{part}: {len(load.failed)} failed, {len(load.good)} good, two replicas again after {seconds:.1f} s")
    record_property(f"{part}_recovery_seconds", round(seconds, 2))
    # A process fails the requests that it has. An engine that dies fails them too, and its process fails the next ones.
    assert 1 <= len(load.failed) <= (clients if part == "replica" else 2 * clients)
    assert all(start < began + 1 for start, _ in load.failed)


def test_a_replica_that_is_stopped_ends_what_it_has_begun(cluster: Cluster) -> None:
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(cluster.speak, LONG[:400], seed=5)
        until(lambda: cluster.replicas.work)
        serve.delete("default")
        assert answer.result().status == 200
    assert len(answer.result().body) > 48_000 * 2
