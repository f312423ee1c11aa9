"""Which policy bundle decides, now and before."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from ..errors import (
    FederationError,
    IntegrityError,
    InvalidInput,
    LedgerUnavailable,
    SettingsError,
    StaleAppend,
)
from ..ledger import Append, queries
from ..policy import Bundle, load_bundle, read_bundle_folder, shipped_bundle
from ..spine.actor import SYSTEM, Actor
from ..spine.canonical import canonical, sha256
from ..spine.envelope import Event, Head, decode
from ..spine.times import to_rfc3339
from .call import Call
from .parts import Parts
from .records import Record, allowed, append_record, policy_record

__all__ = ["Activation", "Policies"]

T = TypeVar("T")

_PAUSE_S = 0.5


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that a tenant activated; the last one decides."""

    bundle_id: str
    version: str
    bundle_hash: str
    mode: str
    source: str
    activated_by: str
    activated_at: str
    active: bool


class Policies:
    """`fc.policies`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._turn = asyncio.Lock()
        self._heads: dict[str, Head] = {}
        self._moved: set[str] = set()
        self._under_way: set[asyncio.Task[Any]] = set()
        if parts.ledger.is_shared:
            parts.ledger.guard = self._guard
            parts.ledger.listen_elsewhere(self._appended_elsewhere)

    def _guard(self, tenant: str) -> dict[str, Head]:
        """The activations that every decision of `tenant` was made under: an append that rests on
        an older one, because another node activated a bundle meanwhile, is refused and done
        again."""
        deciding = {tenant, self._parts.default_tenant}
        return {f"policy:{t}": self._heads.get(t, Head()) for t in deciding if t}

    def _appended_elsewhere(self, streams: list[str]) -> None:
        for stream in streams:
            if stream.startswith("policy:") and stream not in self._moved:
                self._moved.add(stream)
                self._begin(self._refresh(stream))

    def _begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _refresh(self, stream: str) -> None:
        """Take over what another node activated. Until then nothing that was decided under the
        bundle before it is stored (see `_guard`), so nobody need be denied for good because the
        database was away for a moment."""
        async with self._turn:
            while True:
                self._moved.discard(stream)  # what comes after this look is another one's
                try:
                    await self._take(stream)
                except LedgerUnavailable:
                    await asyncio.sleep(_PAUSE_S)
                else:
                    return

    async def _take(self, stream: str) -> None:
        """Load what a tenant has activated last. A stored bundle that is not what its hash says
        leaves its tenant without policy: everything is denied, and the log says why."""
        parts = self._parts
        head = await parts.ledger.read(queries.head, stream)
        history = await self._history(stream)
        if not history:  # only refusals: the tenant lives by the default one's bundle
            self._heads[stream.removeprefix("policy:")] = head
            return
        tenant = history[-1]["tenant"]  # as the event says, which is hashed; the row is not
        try:
            parts.governor.activate(tenant, await self._load(history[-1]["bundle_hash"]))
        except LedgerUnavailable:
            raise
        except FederationError as e:
            parts.governor.deactivate(tenant)
            structlog.get_logger().error("policy_unusable", tenant=tenant, why=e.detail)
        self._heads[tenant] = head

    async def restore(self, configured: Path | None, shipped: str) -> None:
        """At start: load what each tenant has activated, and for the default tenant activate what
        the settings name, where they name something new since the last time they did. See
        `_take`."""
        parts, ledger = self._parts, self._parts.ledger
        for stream, _ in await ledger.read(queries.policy_streams):
            await self._take(stream)
        await self._keep_strict()
        tenant = parts.default_tenant
        files = shipped_bundle(shipped) if configured is None else read_bundle_folder(configured)
        bundle = load_bundle(files)
        while True:
            told = [a for a in await self._history(f"policy:{tenant}") if a["source"] == "settings"]
            if told and told[-1]["bundle_hash"] == bundle.bundle_hash:
                return
            try:
                await self._activate(tenant, SYSTEM, bundle, "settings")
            except StaleAppend as e:
                await self._take(str(e.facts["stream"]))
            else:
                return

    async def _keep_strict(self) -> None:
        """What tightens decisions belongs into their evidence, though nobody activated it."""
        ledger, strict = self._parts.ledger, self._parts.governor.strict
        if await ledger.read(queries.object_text, strict.bundle_hash) is None:
            await ledger.append(Append("", "", Head(), [], objects=_objects(strict)))

    async def activate(self, call: Call, files: Mapping[str, str]) -> Activation:
        """Make a bundle the one that decides, from the next decision on. The bundle that decides
        now must allow it. Raises `InvalidInput` with everything that is wrong with the bundle."""
        call.caller.require("policy:write")
        try:
            bundle = load_bundle({name: text.encode() for name, text in files.items()})
        except SettingsError as e:
            raise InvalidInput(e.detail, code="bundle_invalid", errors=e.errors) from e
        # To its end, also where who waits is cut off: what is stored must be what decides.
        return await asyncio.shield(self._begin(self._surely_activate(call, bundle)))

    async def _surely_activate(self, call: Call, bundle: Bundle) -> Activation:
        async with self._turn:  # of two activations, the second is decided by the first's bundle
            while True:
                try:
                    return await self._decide_and_activate(call, bundle)
                except StaleAppend as e:  # the first was another node's
                    await self._take(str(e.facts["stream"]))

    async def _decide_and_activate(self, call: Call, bundle: Bundle) -> Activation:
        governor = self._parts.governor
        decision = governor.decide(
            call.actor,
            call.tenant,
            "policy.activate",
            mode=governor.mode(call.tenant, call.mode),
            workflow_id="policy",
            step_id=None,
            context={
                "input": {"bundle_id": bundle.bundle_id, "bundle_hash": bundle.bundle_hash},
                "now": self._parts.clock() // 1_000_000,
            },
        )
        record = policy_record(decision, "policy.activate")
        if decision.decision != "allow":
            refusal: dict[str, Any] = {
                "attempted": "policy.activate",
                "refusal_code": "policy_denied",
                "reason": decision.reason,
            }
            records = [record, ("FC-AUTH-001", refusal)]
            events = await self._append(call.tenant, call.actor, records, _append_of)
            self._heads[call.tenant] = events[-1].next_head
            allowed(decision)
        return await self._activate(
            call.tenant, call.actor, bundle, "api", decision=record, call=call
        )

    async def history(self, call: Call) -> list[Activation]:
        """Every activation of the tenant, the oldest first."""
        call.caller.require("workflow:read")
        tenant = call.tenant
        history = await self._history(f"policy:{tenant}")
        if not history:
            history = await self._history(f"policy:{self._parts.default_tenant}")
        bundle = self._parts.governor.bundle(tenant)
        usable = bundle is not None
        last = len(history) - 1
        return [
            msgspec.convert(a | {"active": usable and i == last}, Activation)
            for i, a in enumerate(history)
        ]

    async def _activate(
        self,
        tenant: str,
        actor: Actor,
        bundle: Bundle,
        source: str,
        *,
        decision: Record | None = None,
        call: Call | None = None,
    ) -> Activation:
        """`decision` is what allowed it, `call` whose idempotency key keeps the answer."""
        data = {
            "bundle_id": bundle.bundle_id,
            "version": bundle.version,
            "bundle_hash": bundle.bundle_hash,
            "mode": bundle.mode,
            "source": source,
        }

        def build(events: list[Event]) -> Append:
            append, event = _append_of(events), events[-1]
            append.objects = _objects(bundle)
            append.answer = call.answer(201, _activation(event), event.at) if call else None
            return append

        records: list[Record] = [*([decision] if decision else []), ("FC-POLICY-002", data)]
        events = await self._append(tenant, actor, records, build)
        self._parts.governor.activate(tenant, bundle)
        self._heads[tenant] = events[-1].next_head
        return _activation(events[-1])

    async def _append(
        self,
        tenant: str,
        actor: Actor,
        records: list[Record],
        build: Callable[[list[Event]], Append],
    ) -> list[Event]:
        return await append_record(
            self._parts,
            stream=f"policy:{tenant}",
            tenant=tenant,
            actor=actor,
            records=records,
            build=build,
        )

    async def _history(self, stream: str) -> list[dict[str, Any]]:
        bodies = await self._parts.ledger.read(queries.bodies, stream, type_="FC-POLICY-002")
        events = [decode(body, {}) for body in bodies]
        raw = [msgspec.json.decode(body) for body in bodies]
        return [
            event.data
            | {"activated_by": event.actor, "activated_at": wire["at"], "tenant": event.tenant}
            for event, wire in zip(events, raw, strict=True)
        ]

    async def _load(self, digest: str) -> Bundle:
        """The stored bundle of this hash. Raises `IntegrityError` where it is not."""
        ledger = self._parts.ledger
        manifest = await ledger.read(queries.object_text, digest)
        if manifest is None:
            raise SettingsError(f"The policy bundle {digest} is missing from the ledger.")
        if sha256(manifest.encode()) != digest:
            raise IntegrityError(f"The policy bundle {digest} was changed.")
        files: dict[str, bytes] = {}
        for name, file_hash in msgspec.json.decode(manifest)["files"].items():
            text = await ledger.read(queries.object_text, file_hash)
            if text is None:
                raise SettingsError(f"The file {name} of policy bundle {digest} is missing.")
            files[name] = text.encode()
        return load_bundle(files, expected_hash=digest)


def _append_of(events: list[Event]) -> Append:
    return Append("", "", Head(), events)


def _activation(event: Event) -> Activation:
    """The activation that `event` has just brought about."""
    facts = event.data | {"activated_by": event.actor, "activated_at": to_rfc3339(event.at)}
    return msgspec.convert(facts | {"active": True}, Activation)


def _objects(bundle: Bundle) -> dict[str, str]:
    """The texts of a bundle by their hash, and by its own the list of them."""
    texts = {sha256(data): data.decode() for data in bundle.files.values()}
    manifest = canonical({"files": {n: sha256(d) for n, d in bundle.files.items()}}).decode()
    return texts | {bundle.bundle_hash: manifest}
