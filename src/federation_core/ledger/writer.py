"""Group commit: one thread, one transaction for everything that waits.

A commit begins as soon as the last one ended, with all that has gathered meanwhile; under load many
runs share one disk flush, and alone a run waits for its own only. The event loop never waits for
the disk: it hands over an append and gets a future.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from sqlalchemy import Connection

from ..errors import Conflict, FederationError, LedgerUnavailable, StaleAppend
from ..spine.envelope import Head
from .append import Append
from .bulk import (
    announce,
    erase,
    find_heads,
    is_answered,
    is_stored,
    newest_checkpoint,
    next_position,
    write_rows,
)
from .database import ROW_REFUSED, Database, translated
from .node import Node
from .stats import WriterStats
from .tree import LogTree, load_tree

__all__ = ["OUTCOME_UNKNOWN", "Writer"]

MAX_BATCH = 512
"""Appends in one transaction: more would make the first of them wait for the last."""

OUTCOME_UNKNOWN = "outcome_unknown"
"""The code of the `LedgerUnavailable` after which an append may be stored."""

_TRIES = 3
"""How often a transaction is begun that was cut off, or gave way to another."""


_NO_EVENTS = Head()


class _Job:
    __slots__ = ("append", "error", "future")

    def __init__(self, append: Append, future: "asyncio.Future[None]") -> None:
        self.append = append
        self.future = future
        self.error: FederationError | None = None


class Writer:
    """Start it on a running event loop; `on_commit` is called there with every durable batch."""

    def __init__(
        self,
        database: Database,
        on_commit: Callable[[list[Append]], None],
        on_fenced: Callable[[list[str]], None],
        lease_s: float,
    ) -> None:
        """`on_fenced` is told the nodes that were found dead."""
        self._database = database
        self._on_commit = on_commit
        self._on_fenced = on_fenced
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._closed = False
        self.commits = 0
        self.stats = WriterStats()
        self.node = Node(lease_s) if database.is_shared else None
        """Under which name this process writes; None where it is alone."""
        self._checked_in: tuple[Node | None, list[str]] = (None, [])
        self.tree: LogTree | None = None
        """The tree over all that is durable, and never changed: a commit puts another there. None
        until the first commit, and where it is not known how one ended."""
        self._thread.start()

    def submit(self, append: Append) -> "asyncio.Future[None]":
        """Resolves when `append` is durable. Fails with `StaleAppend` where the stream has moved
        on, `Conflict` where the idempotency key was taken meanwhile, `LedgerUnavailable` where
        nothing can be written; in each case nothing of `append` was stored."""
        if self._closed:
            raise LedgerUnavailable("The ledger is closed; nothing was written.")
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Job(append, future))
        return future

    @property
    def waiting(self) -> int:
        """Appends that no transaction has taken yet."""
        return self._queue.qsize()

    def close(self) -> None:
        """Commit what waits, then end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        while True:
            jobs, last = self._gather()
            if jobs:
                began = time.perf_counter()
                self._commit(jobs)
                self.stats.took(time.perf_counter() - began, (j.error for j in jobs), self.tree)
                self._loop.call_soon_threadsafe(self._tell, jobs)
            if last:
                return

    def _gather(self) -> tuple[list[_Job], bool]:
        job = self._queue.get()
        jobs: list[_Job] = []
        while job is not None:
            jobs.append(job)
            if len(jobs) >= MAX_BATCH or self._queue.empty():
                return jobs, False
            job = self._queue.get()
        return jobs, True

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            self._store_surely(jobs)
        except FederationError as e:
            if e.error_code == ROW_REFUSED and len(jobs) > 1:
                for job in jobs:  # one of them is at fault, the others are not
                    self._commit([job])
                return
            _fail(jobs, e)
        except Exception as e:  # a bug must not end the thread that everybody waits for
            failure = LedgerUnavailable(f"The ledger could not write: {type(e).__name__}: {e}.")
            failure.__cause__ = e
            _fail(jobs, failure)

    def _store_surely(self, jobs: list[_Job]) -> None:
        """Store, and where the database went away during it find out whether it did."""
        for tried in range(1, _TRIES + 1):
            try:
                self._store(jobs)
            except LedgerUnavailable as e:
                if self._was_stored(jobs, e):
                    self._settle()
                    return
                if not e.facts.get("again") or tried == _TRIES:
                    raise
            else:
                return

    def _was_stored(self, jobs: list[_Job], failure: LedgerUnavailable) -> bool:
        appends = [j.append for j in jobs if j.error is None and j.append.events]
        if not appends or failure.error_code != LedgerUnavailable.code:
            return False
        try:
            with translated(), self._database.writer.begin() as connection:
                self._database.lock(connection)  # or the transaction may be about to commit still
                return is_stored(connection, appends[-1])
        except LedgerUnavailable as e:
            if not self._database.is_shared:
                return False
            raise LedgerUnavailable(
                "The database went away while something was written, and whether it was is not "
                "known yet; look again, or repeat the request with its idempotency key.",
                code=OUTCOME_UNKNOWN,
            ) from e

    def _store(self, jobs: list[_Job]) -> None:
        known, self.tree = self.tree, None
        for job in jobs:
            job.error = None
        node, fenced = self._checked_in = self.node, list[str]()
        with translated(), self._database.writer.begin() as connection:
            self._database.lock(connection)
            if node is not None:
                fenced += node.check_in(connection)
            tree = _grown(connection, known)
            first = tree.size
            _refuse_stale(connection, jobs)
            appends = [j.append for j in jobs if j.error is None]
            _write(connection, appends, tree)
            if node is not None and tree.size > first:
                announce(connection, f"{node.id} {first} {tree.size}")
        self.tree = tree
        self._settle()
        if any(a.erasures for a in appends):
            self._database.forget()

    def _settle(self) -> None:
        """The last transaction is durable."""
        node, fenced = self._checked_in
        self.commits += 1
        if node is not None:
            node.committed()
        if fenced:
            self._loop.call_soon_threadsafe(self._on_fenced, fenced)

    def leave(self) -> None:
        """Before `close`: tell the other nodes that this one goes."""
        if self.node is not None:
            with translated(), self._database.writer.begin() as connection:
                self._database.lock(connection)
                self.node.leave(connection)
                announce(connection, f"{self.node.id} 0 0")

    def _tell(self, jobs: list[_Job]) -> None:
        self._on_commit([j.append for j in jobs if j.error is None])
        for job in jobs:
            if job.future.done():
                continue
            if job.error is None:
                job.future.set_result(None)
            else:
                job.future.set_exception(job.error)


def _fail(jobs: list[_Job], error: FederationError) -> None:
    for job in jobs:
        job.error = job.error or error


def _refuse_stale(connection: Connection, jobs: list[_Job]) -> None:
    """Mark the jobs whose stream is not where they think, or another that they rest on, and those
    whose key is taken."""
    names = list({j.append.stream for j in jobs if j.append.events})
    names += {s for j in jobs for s in j.append.expects}
    heads = {stream: Head(seq, hash_) for stream, seq, hash_ in find_heads(connection, names)}
    taken: set[tuple[str, str]] = set()
    for job in jobs:
        append = job.append
        if append.after_checkpoint is not None:
            newest = newest_checkpoint(connection)
            if newest != append.after_checkpoint:
                job.error = StaleAppend(f"The newest checkpoint has the size {newest}.")
        moved = [s for s, h in append.expects.items() if heads.get(s, _NO_EVENTS) != h]
        if moved:
            job.error = StaleAppend(f"{moved[0]} has moved on.", stream=moved[0])
            continue
        if not append.events:
            continue
        head = heads.get(append.stream, _NO_EVENTS)
        if head != append.base:
            job.error = StaleAppend(
                f"{append.stream} is at {head.seq}, not at {append.base.seq}.",
                stream=append.stream,
            )
        elif (answer := append.answer) and (
            (answer.tenant, answer.key) in taken or is_answered(connection, answer)
        ):
            job.error = Conflict("This idempotency key was used meanwhile.", code="key_taken")
        else:
            heads[append.stream] = append.head
            if answer:
                taken.add((answer.tenant, answer.key))


def _grown(connection: Connection, known: LogTree | None) -> LogTree:
    """The tree to append to, where it is the one that is stored."""
    if known is not None and known.size == next_position(connection):
        return known.copy()
    return load_tree(connection)


def _write(connection: Connection, appends: list[Append], tree: LogTree) -> None:
    tables: dict[str, list[tuple[object, ...]]] = {"events": [], "payloads": [], "objects": []}
    told_of_erasures: list[tuple[object, ...]] = []
    heads: dict[str, tuple[object, ...]] = {}
    for append in appends:
        first = tree.size
        for event in append.events:
            stored = (event.stream, event.seq, event.type, event.hash, event.body.decode())
            tables["events"].append((tree.size, *stored))
            for level, number, root in tree.append(bytes.fromhex(event.hash)):
                tables.setdefault("tiles", []).append((level, number, root.hex()))
        if append.events:
            head = append.head
            heads[append.stream] = (append.stream, head.seq, head.hash, append.tenant)
        tables["payloads"].extend(
            (append.stream, p.hash, p.salt, p.value.decode()) for p in append.payloads
        )
        tables["objects"].extend(append.objects.items())
        for name, rows in append.rows.items():
            tables.setdefault(name, []).extend(rows)
        if append.answer is not None:
            a = append.answer
            body = append.answer_at(first) if append.answer_at else a.body
            row = (a.tenant, a.key, a.request_hash, a.status, body.decode(), a.answered_at)
            answers = told_of_erasures if append.erasures else tables.setdefault("answers", [])
            answers.append(row)
    tables["streams"] = list(heads.values())
    for name, rows in tables.items():
        write_rows(connection, name, rows)
    for append in appends:
        for erasure in append.erasures:
            erase(connection, erasure)
    # They name the runs whose answers were just erased, and hold no value themselves.
    write_rows(connection, "answers", told_of_erasures)
