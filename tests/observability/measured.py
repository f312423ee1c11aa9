"""Reading measures in tests: name and labels → value."""

from collections.abc import Iterable

from federation_core.service import FederationCore
from federation_core.telemetry import Family, Histogram

__all__ = ["measured", "values"]

Values = dict[tuple[str, ...], float]


def values(families: Iterable[Family]) -> Values:
    """(name, *labels) → value; of a histogram how many were observed."""
    return {
        (family.name, *labels): sample.cumulated()[-1][1]
        if isinstance(sample, Histogram)
        else sample
        for family in families
        for labels, sample in family.samples
    }


async def measured(fc: FederationCore) -> Values:
    return values(await fc.families())
