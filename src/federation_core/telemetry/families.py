"""Measures as plain values: rooms count in them, and only the API knows how they are exposed."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, TypeVar

import msgspec

__all__ = ["SECONDS", "Family", "Histogram", "Measured", "counter", "gauge", "histogram"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
"""Upper bounds of durations, from half a millisecond to a minute."""

Labels = tuple[str, ...]
L = TypeVar("L", bound=Labels)


class Histogram:
    """How many values were at most each of `bounds`, and their sum.

    One thread observes; another that reads meanwhile may miss the value that is being added.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Iterable[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[float, int]]:
        """(upper bound, how many values up to it); the last bound is infinite."""
        found, so_far = [], 0
        for bound, count in zip((*self.bounds, float("inf")), tuple(self.counts), strict=True):
            so_far += count
            found.append((bound, so_far))
        return found


class Family(msgspec.Struct, frozen=True):
    """Measures of one name. A counter's `name` has no `_total`. `samples` are by the values of
    `labels`; a label has few values, and none that a caller can make up."""

    name: str
    told: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: Labels
    samples: tuple[tuple[Labels, "float | Histogram"], ...]


class Measured(Protocol):
    """A part that measures itself."""

    def families(self) -> Iterable[Family]: ...


def counter(name: str, told: str, value: float | Mapping[L, float], *labels: str) -> Family:
    return Family(name, told, "counter", labels, _samples(value))


def gauge(name: str, told: str, value: float | Mapping[L, float], *labels: str) -> Family:
    return Family(name, told, "gauge", labels, _samples(value))


def histogram(
    name: str, told: str, value: Histogram | Mapping[L, Histogram], *labels: str
) -> Family:
    samples = (((), value),) if isinstance(value, Histogram) else tuple(value.items())
    return Family(name, told, "histogram", labels, samples)


def _samples(value: float | Mapping[L, float]) -> tuple[tuple[Labels, float], ...]:
    return tuple(value.items()) if isinstance(value, Mapping) else (((), value),)
