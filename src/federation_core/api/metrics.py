"""What the server counts, as Prometheus reads it."""

from collections.abc import Callable, Iterator

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE_LATEST", "Metrics", "Reading"]

_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
"""Those that are counted by name: a label that callers can make up would grow without end."""

Reading = Callable[[], float]


class Metrics:
    """`counters` and `gauges` are read when somebody asks: name → (help, reading)."""

    def __init__(
        self,
        counters: dict[str, tuple[str, Reading]],
        gauges: dict[str, tuple[str, Reading]],
    ) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Readings(counters, gauges))
        self._requests = Counter(
            "fedcore_http_requests",
            "Requests answered.",
            ["operation", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "fedcore_http_request_seconds",
            "From the request to the first byte of its answer.",
            ["operation"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 60),
            registry=self._registry,
        )

    def answered(self, operation: str, method: str, status: int, seconds: float) -> None:
        shown = method if method in _METHODS else "other"
        self._requests.labels(operation, shown, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def text(self) -> bytes:
        """The exposition format, as `CONTENT_TYPE_LATEST` names it."""
        return generate_latest(self._registry)


class _Readings(Collector):
    def __init__(
        self,
        counters: dict[str, tuple[str, Reading]],
        gauges: dict[str, tuple[str, Reading]],
    ) -> None:
        self._counters, self._gauges = counters, gauges

    def collect(self) -> Iterator[Metric]:
        for name, (told, read) in self._counters.items():
            yield CounterMetricFamily(name, told, value=read())
        for name, (told, read) in self._gauges.items():
            yield GaugeMetricFamily(name, told, value=read())
