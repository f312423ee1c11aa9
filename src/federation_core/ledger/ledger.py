"""The ledger as the rooms above see it: append, read, and wait for what is new."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Concatenate, ParamSpec, TypeVar

import structlog
from sqlalchemy import Connection

from ..errors import FederationError, InvalidInput, LedgerUnavailable, StaleAppend
from ..spine.envelope import Head
from ..telemetry.families import Family, counter, gauge
from . import queries
from .append import Append
from .database import Database, Target, open_database, translated
from .node import LEASE_S, Node, NodeFenced
from .schema import meta
from .tail import Tail
from .tree import LogTree, load_tree
from .writer import OUTCOME_UNKNOWN, Writer

__all__ = ["Ledger", "Watch"]

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 3
"""After so many leases without an answer the database is taken for one that stands still."""


class Watch:
    """What became of a stream since `next` was last called."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._last: Append | None = None

    def tell(self, append: Append | None) -> None:
        self._last = append
        self._changed.set()

    async def next(self) -> Append | None:
        """The newest append that was not seen yet, once there is one; older ones are left out.
        None where another node made it."""
        await self._changed.wait()
        self._changed.clear()
        return self._last


class Ledger:
    """An append-only store of event streams.

    Durability: an append whose call has returned is on the disk. Atomicity: events, payloads and
    projections of one append are stored together or not at all. Concurrency: appends of different
    streams share commits; two appends of one stream cannot both follow the same event. Use it on
    the event loop that opened it.
    """

    def __init__(self, database: Database, log: str, lease_s: float = LEASE_S) -> None:
        self._database = database
        self._lease_s = lease_s
        self.log = log
        self._writer = Writer(database, self._committed, self._found_dead, lease_s)
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="ledger-reader")
        self._reading = 0
        self._watchers: dict[str, set[Watch]] = {}
        self._listeners: list[Callable[[list[Append]], None]] = []
        self._foreign: list[Callable[[list[str]], None]] = []
        self._fenced: list[Callable[[], None]] = []
        self._orphaned: list[Callable[[], None]] = []
        self.guard: Callable[[str], dict[str, Head]] | None = None
        """What every append of a tenant rests on, where other nodes may change it."""
        self._heart: asyncio.Task[None] | None = None
        self._tail: Tail | None = None

    @classmethod
    async def open(cls, target: Target, *, lease_s: float = LEASE_S) -> "Ledger":
        """Open or create the database, and bring its schema up to date; where it is shared, the
        other nodes take this one for dead when it is not heard of for `lease_s` seconds. Raises
        `LedgerUnavailable` where it cannot be used, `IntegrityError` where it must not be,
        `SettingsError` for a URL that names none."""
        database = await asyncio.to_thread(_prepare, target)
        log = await asyncio.to_thread(_log_of, database)
        ledger = cls(database, log, lease_s)
        if database.is_shared:
            try:
                await ledger._join()
            except BaseException:
                await ledger.close()
                raise
        return ledger

    async def _join(self) -> None:
        """Be one of the nodes, and hear what the others commit."""
        from .postgresql import PostgresDatabase

        await self._beat()
        loop = asyncio.get_running_loop()
        database = self._database
        assert isinstance(database, PostgresDatabase)

        def soon(do: Callable[..., None], *args: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(do, *args)

        self._tail = await asyncio.to_thread(
            Tail,
            database,
            lambda streams: soon(self._appended_elsewhere, streams),
            lambda: soon(self._orphans_left),
            lambda: self.node or "",
        )
        self._heart = asyncio.create_task(self._keep_lease(), name="ledger-lease")

    async def _beat(self) -> None:
        await self._writer.submit(Append("", "", Head(), []))

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 4)
            try:
                async with asyncio.timeout(_PATIENCE * self._lease_s):
                    await self._beat()
            except TimeoutError:
                self._hang_up()
            except NodeFenced as e:
                self._was_fenced(e)
            except FederationError as e:  # of a damaged database too: it goes on, or is fenced
                structlog.get_logger().warning("lease_not_renewed", why=e.detail)

    def _hang_up(self) -> None:
        """Wait no longer for a database that has stored nothing for a lease."""
        if not self.may_execute:
            structlog.get_logger().error("database_stands_still", name=self._database.name)
            self._database.hang_up()

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may write to it meanwhile."""
        return self._database.is_shared

    @property
    def node(self) -> str | None:
        """The name under which this process writes; None where it is alone."""
        return self._writer.node.id if self._writer.node else None

    @property
    def may_execute(self) -> bool:
        """Whether no other node can have taken this one for dead."""
        return self._writer.node is None or self._writer.node.is_leased

    def basis(self, tenant: str) -> dict[str, Head]:
        """What a decision that is made now rests on: for `Append.expects`, where anything is waited
        for between the decision and its append."""
        return {} if self.guard is None else self.guard(tenant)

    async def append(self, append: Append) -> None:
        """Store `append`. Returns when it is durable. Raises `StaleAppend`, `Conflict` (its
        idempotency key is taken), `InvalidInput` or `LedgerUnavailable`; then nothing of it was
        stored."""
        for text in append.objects.values():
            if "\0" in text:  # a database's text ends there, and its hash would be another's
                raise InvalidInput("A text to be stored must not hold the character U+0000.")
        if append.events:
            append.expects = self.basis(append.tenant) | append.expects
        try:
            await self._writer.submit(append)
        except NodeFenced as e:
            self._was_fenced(e)
            raise
        except LedgerUnavailable as e:
            if e.error_code == OUTCOME_UNKNOWN:
                self._appended_elsewhere([append.stream])  # whoever rests on it looks
            raise
        except StaleAppend as e:
            moved = e.facts.get("stream")
            if moved in append.expects:  # its announcement is late, or lost
                self._appended_elsewhere([str(moved)])
            raise

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

    def listen_elsewhere(self, listener: Callable[[list[str]], None]) -> None:
        """Call `listener` on the event loop with the streams that other nodes appended to."""
        self._foreign.append(listener)

    def on_fenced(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the other nodes took this one for dead: nothing that it executes
        is its own any more. It goes on as another node."""
        self._fenced.append(listener)

    def on_orphans(self, listener: Callable[[], None]) -> None:
        """Call `listener` when another node has gone, or was found dead, and its runs may be taken
        up."""
        self._orphaned.append(listener)

    async def tree(self) -> LogTree:
        """The Merkle tree over all that is durable now; not to be changed."""
        known = None if self.is_shared else self._writer.tree
        return await self.read(load_tree) if known is None else known

    def _appended_elsewhere(self, streams: list[str]) -> None:
        for listener in self._foreign:
            listener(streams)
        for stream in self._watchers.keys() & set(streams):
            for watch in self._watchers[stream]:
                watch.tell(None)

    def _found_dead(self, nodes: list[str]) -> None:
        structlog.get_logger().warning("nodes_fenced", nodes=nodes)
        self._orphans_left()

    def _orphans_left(self) -> None:
        for listener in self._orphaned:
            listener()

    def _was_fenced(self, error: NodeFenced) -> None:
        """Let go of everything, and go on under another name."""
        fenced = error.facts["node"]
        if fenced != self.node:
            return  # another append of the same node was here before
        structlog.get_logger().error("node_fenced", node=fenced)
        self._writer.node = Node(self._lease_s)
        for listener in self._fenced:
            listener()

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
        if self._heart is not None:
            self._heart.cancel()
            with suppress(asyncio.CancelledError):
                await self._heart
        closing = asyncio.create_task(asyncio.to_thread(self._writer.close))
        while not (await asyncio.wait([closing], timeout=self._lease_s))[0]:
            self._hang_up()
        await closing
        if self._tail is not None:
            self._tail.stop()
        with suppress(FederationError):  # its lease will tell the others
            await asyncio.to_thread(self._writer.leave)
        if self._tail is not None:
            await asyncio.to_thread(self._tail.join)
        self._readers.shutdown()
        self._database.close()


def _log_of(database: Database) -> str:
    with translated(), database.reader.connect() as connection:
        return queries.setting(connection, "log") or ""


def _prepare(target: Target) -> Database:
    database = open_database(target)
    try:
        database.migrate()
        with translated(), database.writer.begin() as connection:
            database.lock(connection)
            if queries.setting(connection, "log") is None:
                name = f"federation-core/{secrets.token_hex(8)}"
                connection.execute(meta.insert().values(key="log", value=name))
    except BaseException:
        database.close()
        raise
    return database
