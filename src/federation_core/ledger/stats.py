"""What the writer measures of itself. Its thread alone counts here, so nobody waits for a lock."""

from collections.abc import Iterable, Iterator

from ..errors import Conflict, FederationError, LedgerUnavailable, StaleAppend
from ..telemetry.families import Family, Histogram, Labels, counter, histogram
from .tree import LogTree

__all__ = ["WriterStats"]

_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_OUTCOMES = ("stored", "stale", "conflict", "unavailable", "refused")


class WriterStats:
    """Since the ledger was opened."""

    def __init__(self) -> None:
        self.size: int | None = None
        """Events in the log after the last transaction of which that is known."""
        self._commit_s = Histogram()
        self._batch = Histogram(_BATCH)
        self._appends: dict[Labels, int] = {(outcome,): 0 for outcome in _OUTCOMES}

    def took(
        self, seconds: float, errors: Iterable[FederationError | None], tree: LogTree | None
    ) -> None:
        """One transaction, what became of each append in it, and the tree afterwards."""
        if tree is not None:
            self.size = tree.size
        count = 0
        for error in errors:
            self._appends[(_outcome(error),)] += 1
            count += 1
        self._commit_s.observe(seconds)
        self._batch.observe(count)

    def families(self) -> Iterator[Family]:
        yield histogram("fedcore_ledger_commit_seconds", "One transaction.", self._commit_s)
        yield histogram("fedcore_ledger_batch_appends", "Appends in one.", self._batch)
        yield counter("fedcore_ledger_appends", "Appends by outcome.", self._appends, "outcome")


def _outcome(error: FederationError | None) -> str:
    match error:
        case None:
            return "stored"
        case StaleAppend():
            return "stale"
        case Conflict():
            return "conflict"
        case LedgerUnavailable():
            return "unavailable"
        case _:
            return "refused"
