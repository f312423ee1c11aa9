"""Following a run live, with a deadline: an event stream that falls silent is a failed proof, not
a harness that hangs."""

import queue
import threading
import time
from collections.abc import Iterator

from ..client import Client
from ..errors import FederationError, OperatorError
from .transcript import Json

__all__ = ["Silent", "follow"]


class Silent(FederationError):
    """The event stream did not tell the run's end in time."""

    code = "silent"


def follow(client: Client, run_id: str, seconds: float) -> Iterator[Json]:
    """The run's log entries as the server tells them, until it has ended. Raises `Silent` after
    `seconds`, and what `Client.events` raises."""
    told: queue.SimpleQueue[Json | FederationError | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(client, run_id, told), daemon=True).start()
    deadline = time.monotonic() + seconds
    while True:
        try:
            entry = told.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise Silent(
                f"Run {run_id} has not ended {seconds:g} seconds after it was created."
            ) from None
        if entry is None:
            return
        if isinstance(entry, FederationError):
            raise entry
        yield entry


def _read(
    client: Client, run_id: str, told: "queue.SimpleQueue[Json | FederationError | None]"
) -> None:
    try:
        for entry in client.events(run_id):
            told.put(entry)
        told.put(None)
    except FederationError as e:
        told.put(e)
    except Exception as e:  # a thread of its own has nobody else to tell
        broken = OperatorError(f"The event stream broke: {type(e).__name__}: {e}.")
        broken.__cause__ = e
        told.put(broken)
