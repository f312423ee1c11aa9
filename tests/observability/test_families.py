"""Measures as plain values, and as Prometheus reads them."""

import math
import threading

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from federation_core.api.metrics import Metrics
from federation_core.telemetry.families import Histogram, counter, gauge, histogram


@given(
    st.lists(st.floats(0, 100), max_size=50),
    st.lists(st.floats(0.01, 90), min_size=1, max_size=8, unique=True).map(sorted),
)
def test_a_histogram_counts_each_value_under_every_bound_that_it_keeps(
    values: list[float], bounds: list[float]
) -> None:
    seen = Histogram(bounds)
    for value in values:
        seen.observe(value)
    assert seen.cumulated() == [
        (bound, sum(v <= bound for v in values)) for bound in [*bounds, math.inf]
    ]
    assert math.isclose(seen.total, math.fsum(values), abs_tol=1e-9)


def test_a_value_at_a_bound_is_under_it() -> None:
    seen = Histogram((1, 2))
    seen.observe(1)
    assert seen.cumulated() == [(1, 1), (2, 1), (math.inf, 1)]


def test_readings_while_another_thread_observes_are_whole() -> None:
    """Every reading's counts grow with the bounds: nothing is torn."""
    seen, stop = Histogram((1, 2, 3)), threading.Event()

    def observe() -> None:
        while not stop.is_set():
            for value in range(5):
                seen.observe(value)

    writer = threading.Thread(target=observe)
    writer.start()
    try:
        last = 0
        while last < 2_000:
            counts = [count for _, count in seen.cumulated()]
            assert counts == sorted(counts)
            assert counts[-1] >= last
            last = counts[-1]
    finally:
        stop.set()
        writer.join()


def test_families_are_exposed_as_prometheus_reads_them() -> None:
    took = Histogram((0.5, 1))
    for value in (0.1, 0.7, 3):
        took.observe(value)
    page = Metrics(lambda: [gauge("fedcore_x", 'Told "so".', 2.5)]).text(
        [
            counter("fedcore_done", "Done.", {("a", "b"): 3, ('q"\\\n', ""): 1}, "kind", "end"),
            histogram("fedcore_took_seconds", "Took.", {("k",): took}, "kind"),
        ]
    )
    found = {f.name: f for f in text_string_to_metric_families(page.decode())}
    assert (found["fedcore_x"].type, found["fedcore_x"].documentation) == ("gauge", 'Told "so".')
    assert [(s.name, s.labels, s.value) for s in found["fedcore_done"].samples] == [
        ("fedcore_done_total", {"kind": "a", "end": "b"}, 3),
        ("fedcore_done_total", {"kind": 'q"\\\n', "end": ""}, 1),
    ]
    assert [
        (s.name, s.labels.get("le"), s.value) for s in found["fedcore_took_seconds"].samples
    ] == [
        ("fedcore_took_seconds_bucket", "0.5", 1),
        ("fedcore_took_seconds_bucket", "1.0", 2),
        ("fedcore_took_seconds_bucket", "+Inf", 3),
        ("fedcore_took_seconds_count", None, 3),
        ("fedcore_took_seconds_sum", None, 3.8),
    ]
