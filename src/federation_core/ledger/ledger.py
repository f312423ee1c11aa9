"""The ledger as the rooms above see it: append, read, and wait for what is new."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from ..errors import InvalidInput
from ..telemetry.families import Family, counter, gauge
from . import queries
from .append import Append
from .database import Database, translated
from .schema import meta
from .tree import LogTree, load_tree
from .writer import Writer

__all__ = ["Ledger", "Watch"]

P = ParamSpec("P")
T = TypeVar("T")


class Watch:
    """What became of a stream since `next` was last called."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._last: Append | None = None

    def tell(self, append: Append) -> None:
        self._last = append
        self._changed.set()

    async def next(self) -> Append:
        """The newest append that was not seen yet, once there is one; older ones are left out."""
        await self._changed.wait()
        self._changed.clear()
        assert self._last is not None
        return self._last


class Ledger:
    """An append-only store of event streams.

    Durability: an append whose call has returned is on the disk. Atomicity: events, payloads and
    projections of one append are stored together or not at all. Concurrency: appends of different
    streams share commits; two appends of one stream cannot both follow the same event. Use it on
    the event loop that opened it.
    """

    def __init__(self, database: Database, log: str) -> None:
        self._database = database
        self.log = log
        self._writer = Writer(database, self._committed)
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="ledger-reader")
        self._reading = 0
        self._watchers: dict[str, set[Watch]] = {}
        self._listeners: list[Callable[[list[Append]], None]] = []

    @classmethod
    async def open(cls, path: Path) -> "Ledger":
        """Open or create the database at `path`, and bring its schema up to date. Raises
        `LedgerUnavailable` where it cannot be used, `IntegrityError` where it must not be."""
        database = await asyncio.to_thread(_prepare, path)
        with database.reader.connect() as connection:
            log = queries.setting(connection, "log") or ""
        return cls(database, log)

    async def append(self, append: Append) -> None:
        """Store `append`. Returns when it is durable. Raises `StaleAppend`, `Conflict` (its
        idempotency key is taken), `InvalidInput` or `LedgerUnavailable`; then nothing of it was
        stored."""
        for text in append.objects.values():
            if "\0" in text:  # a database's text ends there, and its hash would be another's
                raise InvalidInput("A text to be stored must not hold the character U+0000.")
        await self._writer.submit(append)

    async def read(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run one of `queries` in a transaction of its own, off the event loop."""
        loop = asyncio.get_running_loop()
        self._reading += 1
        try:
            return await loop.run_in_executor(
                self._readers, lambda: self._read(query, args, kwargs)
            )
        finally:
            self._reading -= 1

    def _read(
        self, query: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> T:
        with translated(), self._database.reader.begin() as connection:
            return query(connection, *args, **kwargs)

    @asynccontextmanager
    async def watch(self, stream: str) -> AsyncIterator["Watch"]:
        """Be told of every append to `stream` from now on."""
        watch = Watch()
        self._watchers.setdefault(stream, set()).add(watch)
        try:
            yield watch
        finally:
            watchers = self._watchers[stream]
            watchers.discard(watch)
            if not watchers:
                del self._watchers[stream]

    def listen(self, listener: Callable[[list[Append]], None]) -> None:
        """Call `listener` on the event loop with every batch that became durable."""
        self._listeners.append(listener)

    async def tree(self) -> LogTree:
        """The Merkle tree over all that is durable now; not to be changed."""
        known = self._writer.tree
        return await self.read(load_tree) if known is None else known

    def _committed(self, appends: list[Append]) -> None:
        for listener in self._listeners:
            listener(appends)
        for append in appends:
            for watch in self._watchers.get(append.stream, ()):
                watch.tell(append)

    @property
    def commits(self) -> int:
        """Transactions committed since it was opened."""
        return self._writer.commits

    @property
    def size(self) -> int | None:
        """How many events were durable after the last commit of this process; None before it."""
        return self._writer.stats.size

    def families(self) -> Iterator[Family]:
        """What it measures of itself."""
        writer = self._writer
        yield counter("fedcore_ledger_commits", "Ledger transactions.", writer.commits)
        yield from writer.stats.families()
        yield gauge("fedcore_ledger_queue", "Appends that wait for a transaction.", writer.waiting)
        yield gauge("fedcore_ledger_reads", "Reads that wait or are under way.", self._reading)
        size, watchers = self.size, sum(map(len, self._watchers.values()))
        if size is not None:
            yield gauge("fedcore_ledger_size", "Events in the log.", size)
        yield gauge("fedcore_ledger_watchers", "Who waits for news of a stream.", watchers)

    async def close(self) -> None:
        """Commit what waits, and let go of the database."""
        await asyncio.to_thread(self._writer.close)
        self._readers.shutdown()
        self._database.close()


def _prepare(path: Path) -> Database:
    database = Database(path)
    try:
        database.migrate()
        with translated(), database.writer.begin() as connection:
            if queries.setting(connection, "log") is None:
                name = f"federation-core/{secrets.token_hex(8)}"
                connection.execute(meta.insert().values(key="log", value=name))
    except BaseException:
        database.close()
        raise
    return database
