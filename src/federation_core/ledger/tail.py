"""The tail of a shared ledger: what other nodes committed, soon after they did.

PostgreSQL's NOTIFY announces each commit in order; a look at the log now and then finds what was
announced while nobody listened. Nothing rests on it but promptness.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Engine, func, select

from ..errors import FederationError
from .database import translated
from .schema import events
from .tree import tree_size

__all__ = ["Tail"]

_LOOK_S = 1.0
_PAUSE_S = 0.5


class Listenable(Protocol):
    """A database that announces its commits."""

    reader: Engine

    def listen(self) -> Any:
        """A connection with `notifies`."""
        ...


class Tail:
    """Calls, on a thread of its own, `tell` with the streams that others appended to, and `left`
    when one of them says that it goes."""

    def __init__(
        self,
        database: Listenable,
        tell: Callable[[list[str]], None],
        left: Callable[[], None],
        own: Callable[[], str],
    ) -> None:
        self._database, self._tell, self._left, self._own = database, tell, left, own
        self._closed = threading.Event()
        with translated(), database.reader.begin() as connection:
            self._seen = tree_size(connection)
        self._thread = threading.Thread(target=self._work, name="ledger-tail", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End at the next announcement, or soon."""
        self._closed.set()

    def join(self) -> None:
        """Return when it has ended."""
        self._closed.set()
        self._thread.join(_LOOK_S + 5)

    def _work(self) -> None:
        from psycopg import Error  # only where there is a server to listen to

        while not self._closed.is_set():
            try:
                with self._database.listen() as connection:
                    self._follow(connection)
            except (Error, FederationError, ValueError):
                # Whoever writes will say that the database is away; here it is only waited for. A
                # `ValueError` is an announcement that no node has made.
                self._closed.wait(_PAUSE_S)

    def _follow(self, connection: Any) -> None:
        self._look()
        while not self._closed.is_set():
            notes = list(connection.notifies(timeout=_LOOK_S, stop_after=1))
            if not notes or not all(self._is_own(note.payload) for note in notes):
                self._look()

    def _is_own(self, payload: str) -> bool:
        """Whether this node made it, and nothing was missed before it."""
        node, first, end = payload.split(" ")
        if first == end and node != self._own():
            self._left()
        if node != self._own() or int(first) > self._seen:
            return False
        self._seen = max(self._seen, int(end))
        return True

    def _look(self) -> None:
        query = (
            select(events.c.stream, func.max(events.c.position))
            .where(events.c.position >= self._seen)
            .group_by(events.c.stream)
        )
        with translated(), self._database.reader.begin() as connection:
            found = connection.execute(query).all()
        if found:
            self._seen = max(int(last) for _, last in found) + 1
            self._tell([stream for stream, _ in found])
