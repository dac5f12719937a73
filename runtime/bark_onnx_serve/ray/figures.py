"""The server's figures in Ray's own metrics, which each node of a cluster exports for Prometheus.

A replica's /metrics is behind Ray's proxy, which asks any replica: nobody can scrape one after another there.
"""

import logging
import threading
from collections.abc import Mapping

from prometheus_client.core import Metric
from ray.serve.metrics import Counter, Gauge, Histogram

from ..metrics import FACTORS, FIRST_AUDIO, Metrics, Observer

log = logging.getLogger(__name__)

EXPORT_SECONDS = 2.0


class Export:
    """Copies the figures of a replica to Ray's metrics, until it is closed.

    Counters and gauges are copied every two seconds. What histograms observe is also observed by one of Ray's.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._registry = metrics.registry
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._counted: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        metrics.first_audio = _Both(metrics.first_audio, "bark_onnx_time_to_first_audio_seconds", FIRST_AUDIO)
        metrics.real_time_factor = _Both(metrics.real_time_factor, "bark_onnx_real_time_factor", FACTORS)
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="bark-onnx figures", daemon=True).start()

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(EXPORT_SECONDS):
            try:
                for family in self._registry.collect():
                    if family.name.startswith("bark_onnx_"):
                        self._copy(family)
            except Exception:  # the next time may be better
                log.exception("the figures could not be given to Ray")

    def _copy(self, family: Metric) -> None:
        for sample in family.samples:
            if family.type == "gauge":
                self._set(sample.name, family.documentation, sample.labels, sample.value)
            elif family.type in ("counter", "summary"):
                # Ray adds _total to the name of every counter.
                name = sample.name.removesuffix("_total").removesuffix("_sum")
                self._count(name, family.documentation, sample.labels, sample.value)

    def _set(self, name: str, description: str, labels: Mapping[str, str], value: float) -> None:
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, description, _keys(labels))
        self._gauges[name].set(value, dict(labels))

    def _count(self, name: str, description: str, labels: Mapping[str, str], value: float) -> None:
        """Ray's counters take what has been added."""
        key = name, frozenset(labels.items())
        added = value - self._counted.get(key, 0.0)
        if added > 0:
            if name not in self._counters:
                self._counters[name] = Counter(name, description, _keys(labels))
            self._counters[name].inc(added, dict(labels))
            self._counted[key] = value


def _keys(labels: Mapping[str, str]) -> tuple[str] | None:
    """The names of labels: our figures have one at most."""
    return next(((label,) for label in labels), None)


class _Both:
    """A histogram of the server's registry, and one of Ray's."""

    def __init__(self, ours: Observer, name: str, buckets: tuple[float, ...]) -> None:
        self._ours = ours
        self._rays = Histogram(name, "", [*buckets])

    def observe(self, amount: float) -> None:
        self._ours.observe(amount)
        self._rays.observe(amount)
