"""Figures for Prometheus, in a registry of the server's own."""

from collections.abc import Iterator
from typing import Literal, Protocol, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from .service import Service

Outcome = Literal["completed", "cancelled", "failed", "late", "refused", "rejected"]
"""What becomes of a request for speech: its client may have gone (cancelled), its time may have been over (late), it
may have been wrong or without a key (refused), and the queue may have been full (rejected)."""

IN_PROGRESS = "bark_onnx_requests_in_progress"
FIRST_AUDIO = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60, 120)
FACTORS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)


class Observer(Protocol):
    """Takes the values of which a histogram is made."""

    def observe(self, amount: float) -> None: ...


class Metrics:
    """Everything that /metrics shows. The requests are counted where they happen; the rest is read when asked for."""

    def __init__(self, service: Service) -> None:
        disable_created_metrics()  # else each counter and histogram has a second series, the time of its creation
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bark_onnx_requests", "Requests for speech that have ended", ["outcome"], registry=self.registry
        )
        for outcome in get_args(Outcome):
            self.requests.labels(outcome)  # so that a figure is there before the first one
        self.in_progress = Gauge(IN_PROGRESS, "Requests for speech that have not ended", registry=self.registry)
        self.first_audio: Observer = Histogram(
            "bark_onnx_time_to_first_audio_seconds",
            "From the arrival of a request to the first bytes of audio",
            buckets=FIRST_AUDIO,
            registry=self.registry,
        )
        self.real_time_factor: Observer = Histogram(
            "bark_onnx_real_time_factor",
            "Seconds that a request waited for its audio, for each second of audio",
            buckets=FACTORS,
            registry=self.registry,
        )
        self.registry.register(_EngineCollector(service))
        ProcessCollector(registry=self.registry)


class _EngineCollector(Collector):
    """What the engine and the queue know."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service, worker, counts = self._service, self._service.worker, self._service.worker.counts
        yield GaugeMetricFamily("bark_onnx_ready", "Whether the engine works", int(service.ready))
        yield GaugeMetricFamily("bark_onnx_queue_length", "Utterances that wait for a slot", worker.waiting)
        yield GaugeMetricFamily(
            "bark_onnx_backlog_seconds", "Speech that accepted requests still wait for", service.backlog.seconds
        )
        yield SummaryMetricFamily(
            "bark_onnx_queue_wait_seconds",
            "How long utterances waited for a slot",
            count_value=counts.begun,
            sum_value=counts.waited_seconds,
        )
        rows = GaugeMetricFamily("bark_onnx_active_rows", "Utterances in a stage", labels=["stage"])
        for stage, count in worker.active_rows.items():
            rows.add_metric([stage], count)
        yield rows
        tokens = CounterMetricFamily("bark_onnx_tokens", "Tokens that have been sampled", labels=["stage"])
        tokens.add_metric(["semantic"], counts.semantic_tokens)
        tokens.add_metric(["coarse"], counts.coarse_codes)
        yield tokens
        yield CounterMetricFamily(
            "bark_onnx_audio_seconds", "Audio that has been made", counts.samples / service.bark.sample_rate
        )
