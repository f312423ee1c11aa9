"""Which runs go into a pack of many."""

import msgspec
from sqlalchemy import Connection, select

from ..ledger.schema import runs
from ..spine.run import FINAL
from ..spine.times import from_rfc3339, to_rfc3339

__all__ = ["runs_for"]


class _Facts(msgspec.Struct):
    run_id: str
    created_at: str
    tags: tuple[str, ...]


_facts = msgspec.json.Decoder(_Facts)


def runs_for(c: Connection, tenant: str, *, tag: str | None, since: str | None) -> list[str]:
    """Ids of a tenant's ended runs with `tag`, created at or after `since`, in order. Raises
    `InvalidInput` for what is no time."""
    after = to_rfc3339(from_rfc3339(since)) if since is not None else ""
    query = (
        select(runs.c.doc)
        .where(runs.c.tenant == tenant, runs.c.status.in_(sorted(FINAL)))
        .order_by(runs.c.run_id)
    )
    docs = map(_facts.decode, c.execute(query).scalars())
    return [d.run_id for d in docs if d.created_at >= after and (tag is None or tag in d.tags)]
