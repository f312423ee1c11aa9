"""Where worlds stand, and what may happen there."""

from tests.faults import harm
from tests.faults.world import Place

__all__ = ["place_of"]

_ALONE = Place("sqlite", "local", 1, 0, (harm.killed,) * 3 + (harm.clock_steps, harm.disk_full))
_SHARED = Place(
    "postgresql",
    "local",
    2,
    0,
    (
        *(harm.killed, harm.killed, harm.clock_steps, harm.frozen, harm.network_cut),
        *(harm.postgresql_restarted, harm.connections_cut, harm.transactions_refused),
        harm.disk_full,
    ),
)
_RESTATE_ALONE = Place(
    "sqlite", "restate", 1, 1, (harm.killed, harm.restate_away, harm.clock_steps)
)
_RESTATE = Place(
    "postgresql",
    "restate",
    2,
    1,
    (
        *(harm.killed, harm.killed, harm.restate_away, harm.frozen, harm.clock_steps),
        *(harm.network_cut, harm.postgresql_restarted),
    ),
)
_CLUSTER = Place(
    "postgresql", "restate", 2, 3, (harm.restate_node_killed, harm.restate_node_killed, harm.killed)
)

_PLACES = (
    *(_ALONE, _SHARED, _RESTATE, _RESTATE_ALONE, _SHARED),
    *(_ALONE, _SHARED, _RESTATE, _CLUSTER, _ALONE),
)


def place_of(seed: int) -> Place:
    """Ten seeds that follow each other come to every place."""
    return _PLACES[seed % len(_PLACES)]
