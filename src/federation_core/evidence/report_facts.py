"""What a report is told besides the events that it reads itself."""

import msgspec

from .scan import RunScan
from .sources import Payloads

__all__ = ["ReportFacts"]


class ReportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`shown` says whether the pack has payloads at all, `sensitive` whether also those of
    sensitive steps; the checkpoint covers `checkpoint_size` events."""

    log: str
    runs: list[RunScan]
    payloads: Payloads
    shown: bool
    sensitive: bool
    checkpoint_size: int
    witnesses: int
