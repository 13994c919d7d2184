"""What is counted over all requests, for Prometheus. Counts only: nothing of what was asked or answered.

Fed from the same record that becomes the log line, once a request has ended; what is true only now (places, engines) is
looked up when somebody scrapes. Names follow Prometheus' own rules: base units, `_total` for counters. Labels are
bounded: paths are those of endpoints, models those of the catalog.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, Info
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from pensieve_core import EnginePhase, Usage
from pensieve_http.drain import Drain
from pensieve_http.gate import Gate
from pensieve_http.record import RequestRecord
from pensieve_inference import EngineProvider

__all__ = ["CONTENT_TYPE", "Metrics", "Present"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FIRST_BYTE_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ANSWER_S = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
"""A long prompt on a CPU takes minutes."""


class Metrics:
    """Counters and histograms of one application, in a registry of their own."""

    def __init__(self, *, version: str) -> None:
        self._registry = registry = CollectorRegistry()
        Info("pensieve_build", "Which version this is.", registry=registry).info({"version": version})
        self._requests = Counter(
            "pensieve_requests", "Requests answered.", ("endpoint", "method", "status", "ending"), registry=registry
        )
        self._first_byte = _histogram("time_to_first_byte", "To the head of the response.", _FIRST_BYTE_S, registry)
        self._first_token = _histogram("time_to_first_token", "To the first piece of an answer.", _ANSWER_S, registry)
        self._duration = _histogram("request_duration", "To the last byte.", _ANSWER_S, registry)
        self._queue = _histogram("engine_queue", "Waiting for a slot of the engine.", _ANSWER_S, registry)
        self._tokens = Counter(
            "pensieve_tokens", "Tokens, by what was done with them.", ("model", "work"), registry=registry
        )

    def observe(self, collector: Collector) -> None:
        """Let `collector` be asked at every scrape."""
        self._registry.register(collector)

    def note(self, record: RequestRecord, now: float) -> None:
        """Count a request that has ended at `now` on the monotonic clock."""
        endpoint = record.route or "none"
        self._requests.labels(endpoint, _method(record), str(record.status or "none"), record.ending.value).inc()
        self._duration.labels(endpoint).observe(now - record.started_at)
        if record.ttfb_s is not None:
            self._first_byte.labels(endpoint).observe(record.ttfb_s)
        if record.ttft_s is not None:
            self._first_token.labels(endpoint).observe(record.ttft_s)
        if record.finished is not None:
            self._queue.labels(endpoint).observe(record.finished.timings.queue_s)
            self._note_tokens(record.model or "none", record.finished.usage)

    def exposition(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def _note_tokens(self, model: str, usage: Usage) -> None:
        self._tokens.labels(model, "reused").inc(usage.cached_tokens)
        self._tokens.labels(model, "prefilled").inc(max(usage.prompt_tokens - usage.cached_tokens, 0))
        self._tokens.labels(model, "decoded").inc(usage.generated_tokens)


class Present(Collector):
    """What is true at the moment of a scrape.

    Args:
        gate: Of the requests for answers.
        drain: Counts the requests in flight.
        engines: Their phases.
    """

    def __init__(self, *, gate: Gate, drain: Drain, engines: EngineProvider) -> None:
        self._gate = gate
        self._drain = drain
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        yield GaugeMetricFamily("pensieve_requests_in_flight", "Requests under /v1.", self._drain.in_flight)
        yield GaugeMetricFamily("pensieve_requests_running", "Requests that are with an engine.", self._gate.running)
        yield GaugeMetricFamily("pensieve_requests_waiting", "Requests that wait for a place.", self._gate.waiting)
        yield self._phases()

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: no engine need be asked before somebody scrapes."""
        return iter(())

    def _phases(self) -> Metric:
        family = GaugeMetricFamily("pensieve_engine", "1 for the phase of each engine.", labels=("model", "phase"))
        for status in self._engines.statuses():
            for phase in EnginePhase:
                family.add_metric((status.model, phase.value), float(status.phase is phase))
        return family


def _histogram(name: str, what: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> Histogram:
    return Histogram(f"pensieve_{name}_seconds", what, ("endpoint",), buckets=buckets, registry=registry)


def _method(record: RequestRecord) -> str:
    """Return the method of a request that found an endpoint; clients may make up others."""
    return record.method if record.route is not None else "none"
