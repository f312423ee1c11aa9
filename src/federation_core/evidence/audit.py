"""The whole ledger, in place, held against itself by the checks of the offline verifier.

One walk in log order: each event as `verify.py` reads it, each stream an unbroken chain, each run a
lawful life, the tree over all of them the one that every checkpoint was signed over. Then what
stands beside the events: heads, tiles, payloads, objects. Rows that only queries read are left to
`rebuild`.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from ..errors import FederationError, IntegrityError
from ..ledger import queries, schema
from ..ledger.database import Target, open_database, read_any_text, translated
from ..ledger.tree import LogTree
from ..spine.canonical import ZERO_HASH, canonical, salted_hash, sha256
from ..spine.schedule import Schedule, follow
from ..transparency import TransparencyError, open_checkpoint
from .keys import Epoch, epoch_at, epochs_of
from .log_queries import SignedCheckpoint, rotations
from .verify import (
    Chain,
    Kinship,
    Life,
    Refusal,
    compare_restart,
    leaf_hash,
    parse_event,
    read_definition,
)

__all__ = ["AuditReport", "Progress", "audit", "audit_in"]

Json = dict[str, Any]
Progress = Callable[[int, int], None]
"""Called with (events done, of how many)."""

_PAGE = 2_000
_AFTER_THE_END = frozenset({"FC-POLICY-001", "FC-AUTH-001"})


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is None where everything held; else what is wrong, `code` its kind as in
    `docs/evidence.md`, and `position`, `stream` and `seq` name the first event that is.

    `root` (hex) is the tree's over all `events`; `checkpoints` says how many were held against it,
    `signed` over how many events the newest is, `witnesses` how many stand behind that.
    """

    events: int
    streams: int
    payloads: int
    checkpoints: int
    signed: int
    witnesses: int
    root: str
    error: str | None = None
    code: str | None = None
    position: int | None = None
    stream: str | None = None
    seq: int | None = None


def _nothing(_done: int, _of: int) -> None:
    pass


def audit(
    target: Target, progress: Progress = _nothing, *, seen: bytes | None = None
) -> AuditReport:
    """Check the ledger, also against a checkpoint (a signed note) that was `seen` before.

    Reads only, so it can run beside the server. Raises `LedgerUnavailable` where it cannot be read
    as a ledger at all.
    """
    database = open_database(target)
    try:
        if not database.exists():
            raise FederationError(f"There is no ledger at {database.name}.", code="no_ledger")
        with translated(), database.reader.begin() as connection:
            return audit_in(connection, progress, seen=seen)
    finally:
        database.close()


def audit_in(
    connection: Connection, progress: Progress = _nothing, *, seen: bytes | None = None
) -> AuditReport:
    """The same, of what `connection` sees in its transaction."""
    read_any_text(connection)
    return _Audit(connection, progress).run(seen)


def _bytes(value: object) -> bytes:
    """What is stored in a column of text; nothing, where it is no text."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else b""


def _plain(value: object) -> str:
    """For people: text that can be written anywhere."""
    return str(value).encode("utf-8", "backslashreplace").decode()


_TRIGGERS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal "
    "UNION SELECT rulename FROM pg_rules WHERE schemaname = current_schema()",
}


class _Audit:
    def __init__(self, c: Connection, progress: Progress) -> None:
        self._c = c
        self._progress = progress
        self._log = queries.setting(c, "log")
        self._tree = LogTree()
        self._tiles: dict[tuple[int, int], str] = {}
        self._chains: dict[str, Chain] = {}
        self._kinship = Kinship()
        self._lives: dict[str, Life | None] = {}
        self._schedules: dict[str, Schedule | None] = {}
        self._definitions: dict[str, Json] = {}
        self._objects: dict[str, str] = {}
        self._missing: dict[str, set[str]] = {}
        self._erased: dict[str, set[str]] = {}
        self._marks: dict[int, SignedCheckpoint] = {}
        self._held = self._payloads = 0
        self._lists: dict[tuple[str, str], int] = {}
        self._newest: SignedCheckpoint | None = None
        self._unlike: IntegrityError | None = None
        """The first checkpoint that is not over these events: told unless a stream says more
        exactly what is wrong."""

    def run(self, seen: bytes | None) -> AuditReport:
        try:
            self._check_schema()
            total = self._c.execute(select(func.count()).select_from(schema.events)).scalar_one()
            wanted = self._expect(seen)
            for row in self._rows():
                self._take(row)
                if self._tree.size in wanted:
                    self._compare(wanted[self._tree.size])
                if self._tree.size % _PAGE == 0:
                    self._progress(self._tree.size, total)
            self._finish(wanted)
            self._progress(total, total)
        except IntegrityError as e:
            return self._report(e)
        return self._report(None)

    def _report(self, e: IntegrityError | None) -> AuditReport:
        facts = e.facts if e else {}
        return AuditReport(
            events=self._tree.size,
            streams=len(self._chains),
            payloads=self._payloads,
            checkpoints=self._held,
            signed=self._newest.size if self._newest else 0,
            witnesses=self._newest.witnesses if self._newest else 0,
            root=self._tree.root().hex(),
            error=e.detail if e else None,
            code=facts.get("kind") if e else None,
            position=facts.get("position"),
            stream=facts.get("stream"),
            seq=facts.get("seq"),
        )

    # what is expected before the walk

    def _check_schema(self) -> None:
        """Nobody changes rows behind the server's back."""
        found = self._c.exec_driver_sql(_TRIGGERS[self._c.dialect.name])
        for (name,) in found:
            raise _wrong(
                "ILLEGAL_TRANSITION", f"The database has a trigger, {name}; it needs none."
            )

    def _expect(self, seen: bytes | None) -> dict[int, list["_Mark"]]:
        """Size → what the tree of that size must be."""
        epochs = self._epochs()
        wanted: dict[int, list[_Mark]] = {}
        query = select(schema.checkpoints).order_by(schema.checkpoints.c.size)
        for row in self._c.execute(query):
            stored = SignedCheckpoint(*row)
            mark = _mark(stored.text.encode("utf-8", "surrogateescape"), epochs, "stored")
            if (mark.size, mark.root.hex()) != (stored.size, stored.root):
                raise _wrong("BAD_SIGNATURE", f"The checkpoint at {stored.size} is another's.")
            wanted.setdefault(mark.size, []).append(mark)
            self._newest = stored
        if seen is not None:
            mark = _mark(seen, epochs, "seen before")
            wanted.setdefault(mark.size, []).append(mark)
        return wanted

    def _epochs(self) -> list[Epoch]:
        first = queries.setting(self._c, "signing_key")
        if first is None:
            return []
        try:
            return epochs_of(first, rotations(self._c))
        except (FederationError, msgspec.MsgspecError, KeyError, UnicodeError) as e:
            told = e.detail if isinstance(e, FederationError) else "A rotation cannot be read."
            raise _wrong("KEY_EPOCH", told, stream="log") from e

    # the walk

    def _rows(self) -> Iterator[Any]:
        first = -(1 << 63)
        while True:
            query = (
                select(schema.events)
                .where(schema.events.c.position >= first)
                .order_by(schema.events.c.position)
                .limit(_PAGE)
            )
            rows = self._c.execute(query).all()
            yield from rows
            if len(rows) < _PAGE:
                return
            first = rows[-1].position + 1

    def _take(self, row: Any) -> None:
        position, stream, seq, kind, stored, written = row
        if position != self._tree.size:
            text = f"The log has a hole: position {self._tree.size} is missing."
            raise _wrong_row("INDEX_RANGE", row, text)
        body = _bytes(written)
        try:
            event = parse_event(body)
        except Refusal as e:
            raise _wrong_row(e.code, row, e.message) from e
        leaf = leaf_hash(body)
        digest = leaf.hex()
        if digest != stored:
            text = f"The event's bytes have the hash {digest}, stored is {stored}."
            raise _wrong_row("CHAIN_BROKEN", row, text)
        if (stream, seq, kind) != (event["stream"], event["seq"], event["type"]):
            raise _wrong_row("CHAIN_BROKEN", row, "The event's row does not name the event.")
        try:
            self._follow(event, digest)
        except Refusal as e:
            raise _wrong_row(e.code, row, e.message) from e
        for level, number, root in self._tree.append(leaf):
            self._tiles[level, number] = root.hex()

    def _follow(self, event: Json, digest: str) -> None:
        stream = event["stream"]
        chain = self._chains.get(stream)
        if chain is None:
            chain = self._chains[stream] = Chain(stream, self._log, _tenant_of(stream))
        chain.see(event, digest)
        if stream.startswith("run:"):
            self._live(stream, event, digest)
        elif stream.startswith("schedule:"):
            self._schedule(stream, event)
        else:
            self._note(stream, event)

    def _live(self, stream: str, event: Json, digest: str) -> None:
        if stream not in self._lives:
            self._lives[stream] = Life(self._definition(event["data"]))
        life = self._lives[stream]
        if life is None:
            if event["type"] not in _AFTER_THE_END:
                text = f"Event {event['seq']} cannot be: the run has ended."
                raise Refusal("ILLEGAL_TRANSITION", text)
            return
        life.see(event, digest)
        if life.ended:
            self._close(stream, life)

    def _schedule(self, stream: str, event: Json) -> None:
        """Ticks follow one another, and the runs that they name are there, and the tenant's."""
        try:
            self._schedules[stream] = follow(
                self._schedules.get(stream),
                event["type"],
                event["data"],
                stream=stream,
                tenant=event["tenant"],
                actor=event["actor"],
                via=event["via"],
                at=event["at"],
            )
        except IntegrityError as e:
            raise Refusal("ILLEGAL_TRANSITION", e.detail) from e
        data = event["data"]
        if event["type"] == "FC-SCHED-001":
            named = {data["input_hash"], data["metadata_hash"]}
            self._erased.setdefault(stream, set()).difference_update(named)  # given anew
            if lost := named - set(queries.payload_hashes(self._c, stream)):
                self._missing.setdefault(stream, set()).update(lost)
        elif (run_id := data.get("run_id")) is not None:
            run = self._chains.get(f"run:{run_id}")
            if run is None or run.tenant != event["tenant"]:
                raise Refusal("ILLEGAL_TRANSITION", f"There is no run {run_id} that it made.")

    def _close(self, stream: str, life: Life) -> None:
        """What a run has named must be there; of one that has ended nothing else is kept."""
        self._lives[stream] = None
        stored = set(queries.payload_hashes(self._c, stream))
        if lost := set(life.references) - stored:
            self._missing[stream] = lost
        for digest, items in life.lists.items():
            self._lists[stream, digest] = items
        for policy in life.policies:
            if policy != ZERO_HASH:
                self._objects.setdefault(policy, stream)
        self._relate(life)

    def _relate(self, life: Life) -> None:
        """Hold a run against those that it names, also where they are over and forgotten."""
        kin = life.kin()
        self._kinship.take(kin)
        before = kin.born.get("restarted_from")
        if before is None:
            return
        old: Life | None = None
        for body in queries.bodies(self._c, f"run:{before}"):
            event = parse_event(body)
            old = old or Life(self._definition(event["data"]))
            old.see(event, leaf_hash(body).hex())
        if old is None:
            raise Refusal("ILLEGAL_TRANSITION", f"There is no run {before[:80]} to restart.")
        compare_restart(life, old)

    def _definition(self, data: Json) -> Json | None:
        digest = data.get("definition_hash")
        if data.get("execution") != "managed" or not isinstance(digest, str):
            return None
        if digest not in self._definitions:
            text = self._object(digest)
            what = "is missing" if text is None else "was changed"
            if text is None or sha256(text) != digest:
                raise Refusal("FILE_MISSING", f"The definition {digest} {what}.")
            self._definitions[digest] = read_definition(text) or {}
        return self._definitions[digest]

    def _object(self, digest: str) -> bytes | None:
        query = select(schema.objects.c.body).where(schema.objects.c.hash == digest)
        found = self._c.execute(query).scalar()
        return None if found is None else _bytes(found)

    def _note(self, stream: str, event: Json) -> None:
        """What other streams say that has to be there, or gone."""
        data = event["data"]
        match event["type"]:
            case "FC-DATA-001" if stream.startswith("log:"):
                owner = self._chains.get(str(data.get("stream")))
                if owner is None or owner.tenant != event["tenant"]:
                    raise Refusal("ILLEGAL_TRANSITION", "It erases what is not the tenant's.")
                self._erased.setdefault(owner.stream, set()).update(data["payload_hashes"])
            case "FC-WF-001":
                for artifact in data["artifacts"]:
                    self._objects.setdefault(artifact["sha256"], stream)
            case "FC-POLICY-002":
                self._objects.setdefault(data["bundle_hash"], stream)

    def _compare(self, marks: list["_Mark"]) -> None:
        root = self._tree.root()
        for mark in marks:
            if mark.root != root:
                self._unlike = self._unlike or _wrong(
                    "INCONSISTENT" if mark.what == "seen before" else "ROOT_MISMATCH",
                    f"The first {mark.size} events are not those that the checkpoint {mark.what} "
                    "was signed over: something among them was changed, or history was written "
                    "anew.",
                    position=mark.size - 1,
                )
            self._held += mark.what == "stored" and mark.root == root

    # what stands beside the events

    def _finish(self, wanted: dict[int, list["_Mark"]]) -> None:
        self._check_heads()
        if self._unlike is not None:
            raise self._unlike
        for size, marks in sorted(wanted.items()):
            if size > self._tree.size:
                raise _wrong(
                    "INCONSISTENT",
                    f"The log has {self._tree.size} events; the checkpoint {marks[0].what} is over "
                    f"{size}: the end of the log was cut off, or it was rolled back.",
                    position=self._tree.size,
                )
        self._check_tiles()
        for stream, life in self._lives.items():
            if life is not None:
                try:
                    self._close(stream, life)
                except Refusal as e:
                    raise _wrong(e.code, e.message, stream=stream) from e
        for parent, children in self._kinship.waiting.items():
            text = f"Run {children[0].run_id} executes a step of run {parent}, and there is none."
            raise _wrong("ILLEGAL_TRANSITION", text, stream=f"run:{children[0].run_id}")
        self._check_payloads()
        self._check_objects()

    def _check_heads(self) -> None:
        """A stream whose last events were removed is shorter than its recorded head."""
        recorded = {row.stream: row for row in self._c.execute(select(schema.streams))}
        for stream in [*recorded, *(s for s in self._chains if s not in recorded)]:
            chain, row = self._chains.get(stream), recorded.get(stream)
            found = (chain.seq, chain.hash) if chain else (0, ZERO_HASH)
            if row is None or found != (row.next_seq, row.head):
                was = "is not recorded" if row is None else f"was at {row.next_seq}"
                text = f"Stream {stream} ends at {found[0]}, and {was}."
                raise _wrong("CHAIN_GAP", text, stream=stream, seq=found[0])

    def _check_tiles(self) -> None:
        stored = {(r.level, r.number): r.root for r in self._c.execute(select(schema.tiles))}
        if stored != self._tiles:
            level, number = min(
                key
                for key in stored.keys() | self._tiles.keys()
                if stored.get(key) != self._tiles.get(key)
            )
            raise _wrong("ROOT_MISMATCH", f"Tile {level}/{number} is not that of the events.")

    def _check_payloads(self) -> None:
        for row in self._c.execute(select(schema.payloads)):
            self._payloads += 1
            if _payload_hash(row) != row.hash:
                text = f"The payload {row.hash} was changed."
                raise _wrong("PAYLOAD_MISMATCH", text, stream=row.stream)
            items = self._lists.get((row.stream, row.hash))
            if items is not None and _length(row) != items:
                text = f"The payload {row.hash} is no list of {items} items, which a step has."
                raise _wrong("PAYLOAD_MISMATCH", text, stream=row.stream)
            if row.hash in self._erased.get(row.stream, ()):
                text = f"The payload {row.hash} is there; the log says that it was erased."
                raise _wrong("PAYLOAD_MISMATCH", text, stream=row.stream)
        for stream, hashes in self._missing.items():
            for digest in sorted(hashes - self._erased.get(stream, set())):
                text = f"The payload {digest} is missing, and the log does not say why."
                raise _wrong("PAYLOAD_MISSING", text, stream=stream)

    def _check_objects(self) -> None:
        there = set()
        for row in self._c.execute(select(schema.objects)):
            if sha256(_bytes(row.body)) != row.hash:
                raise _wrong("FILE_DIGEST", f"The object {row.hash} was changed.")
            there.add(row.hash)
        for digest, stream in self._objects.items():
            for needed in (digest, *self._bundle(digest)):
                if needed not in there:
                    text = f"The object {needed} is missing, which events name."
                    raise _wrong("FILE_MISSING", text, stream=stream)

    def _bundle(self, digest: str) -> list[str]:
        """The texts of a bundle, where this is the list of them."""
        try:
            listed = json.loads(self._object(digest) or b"{}")
        except ValueError:
            return []
        files = listed.get("files") if isinstance(listed, dict) else None
        is_list = isinstance(files, dict) and canonical(listed) == self._object(digest)
        return [str(value) for value in files.values()] if is_list and files else []


class _Mark(msgspec.Struct, frozen=True):
    """What a signed checkpoint says, and which one it is."""

    size: int
    root: bytes
    what: str


def _mark(note: bytes, epochs: list[Epoch], what: str) -> _Mark:
    error: TransparencyError | None = None
    for epoch in reversed(epochs):
        try:
            checkpoint = open_checkpoint(note, epoch.key)
        except TransparencyError as e:
            error = error or e
            continue
        if epoch_at(epochs, checkpoint.size) != epoch:
            text = (
                f"The checkpoint {what}, at {checkpoint.size}, is signed by a key of other sizes."
            )
            raise _wrong("KEY_EPOCH", text)
        return _Mark(checkpoint.size, checkpoint.root, what)
    told = error.detail if error else "The log has no key."
    raise _wrong("BAD_SIGNATURE", f"The checkpoint {what} is not one of this log's: {told}")


def _tenant_of(stream: str) -> str | None:
    """The tenant that a stream's name tells."""
    kind, _, rest = stream.partition(":")
    if kind in ("policy", "log") and rest:
        return rest
    return rest.rpartition("/")[0] if kind in ("workflow", "schedule") else None


def _payload_hash(row: Any) -> str | None:
    value = _bytes(row.value)
    try:
        return sha256(value) if row.salt is None else salted_hash(value, bytes.fromhex(row.salt))
    except (ValueError, TypeError):  # a salt that is none
        return None


def _length(row: Any) -> int | None:
    try:
        value = json.loads(_bytes(row.value))
    except (ValueError, RecursionError):
        return None
    return len(value) if isinstance(value, list) else None


def _wrong(kind: str, why: str, **place: Any) -> IntegrityError:
    shown: dict[str, Any] = {k: _plain(v) if isinstance(v, str) else v for k, v in place.items()}
    return IntegrityError(_plain(why), kind=kind, **shown)


def _wrong_row(kind: str, row: Any, why: str) -> IntegrityError:
    return _wrong(kind, why, position=row.position, stream=str(row.stream), seq=row.seq)
