"""Which runs have something to do besides those that were woken: both engines ask here."""

from collections.abc import Callable

from ..ledger import Append, Ledger, queries
from ..ledger.kin import kin_to_wake

__all__ = ["missed", "wake_kin"]

_PAGE = 100_000


def wake_kin(ledger: Ledger, wake: Callable[[str], None]) -> None:
    """From now on call `wake` for every run that an append of this process gives something to do
    besides the one that it is of: the parent of a child run that ended, say."""

    def heed(appends: list[Append]) -> None:
        for append in appends:
            for run_id in append.wakes:
                wake(run_id)

    ledger.listen(heed)


async def missed(ledger: Ledger, horizon: int) -> list[tuple[str, int]]:
    """The runs that have something to do by `horizon`, and since when (both microseconds): as far
    as this process sees, nobody else takes them up. Kin that a crash kept from being woken are due
    since 0."""
    due = await ledger.read(queries.due_runs, horizon, limit=_PAGE, node=ledger.node)
    kin = await ledger.read(kin_to_wake, limit=_PAGE)
    return [*due, *((run_id, 0) for run_id in kin)]
