"""What the server measures, as Prometheus reads it. The rooms below count in plain values; this is
the only module that knows the library."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..telemetry.families import Family, Histogram, Labels, counter, histogram

__all__ = ["CONTENT_TYPE_LATEST", "Metrics", "Source"]

_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
"""Those that are counted by name: a label that callers can make up would grow without end."""

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 60)

Source = Callable[[], Iterable[Family]]


class Metrics:
    """What is measured here; at each reading `own` and the reader bring more."""

    def __init__(self, own: Source) -> None:
        self._own = own
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._requests: defaultdict[Labels, int] = defaultdict(int)
        self._seconds: defaultdict[Labels, Histogram] = defaultdict(lambda: Histogram(_BOUNDS))

    def answered(self, operation: str, method: str, status: int, seconds: float) -> None:
        shown = method if method in _METHODS else "other"
        self._requests[operation, shown, str(status)] += 1
        self._seconds[(operation,)].observe(seconds)

    def text(self, families: Sequence[Family] = ()) -> bytes:
        """The exposition format, as `CONTENT_TYPE_LATEST` names it: its own, and `families`."""
        registry = CollectorRegistry()
        registry.register(_Given([*self._own(), *self._of_requests(), *families]))
        return generate_latest(self._process) + generate_latest(registry)

    def _of_requests(self) -> Iterator[Family]:
        labels = ("operation", "method", "status")
        yield counter("fedcore_http_requests", "Requests answered.", self._requests, *labels)
        told = "From the request to the first byte of its answer."
        yield histogram("fedcore_http_request_seconds", told, self._seconds, "operation")


class _Given(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return map(_metric, self._families)


def _metric(family: Family) -> Metric:
    if family.kind == "histogram":
        return _histogram(family)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    shown: CounterMetricFamily | GaugeMetricFamily
    shown = kind(family.name, family.told, labels=family.labels)
    for values, sample in family.samples:
        assert not isinstance(sample, Histogram)
        shown.add_metric(values, sample)
    return shown


def _histogram(family: Family) -> Metric:
    shown = HistogramMetricFamily(family.name, family.told, labels=family.labels)
    for values, sample in family.samples:
        assert isinstance(sample, Histogram)
        buckets = [(_bound(bound), float(count)) for bound, count in sample.cumulated()]
        shown.add_metric(values, buckets, sample.total)
    return shown


def _bound(value: float) -> str:
    return "+Inf" if value == inf else str(float(value))
