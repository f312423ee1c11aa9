"""Asks witnesses to cosign what was signed: beside the work, never on its way."""

import asyncio
from collections.abc import Iterator

import msgspec
import structlog

from ..errors import FederationError
from ..ledger import Ledger
from ..telemetry.families import Family, counter, gauge
from ..transparency import NoteSignature, VerifierKey, parse_note, verify_cosignature
from ..witness.client import StaleSize, WitnessError, submit
from . import log_queries
from .log_queries import SignedCheckpoint
from .signer import Signer

__all__ = ["Collector", "WitnessSetting"]

_RETRY_S = 5.0


class WitnessSetting(msgspec.Struct, frozen=True):
    """Where a witness listens, and its verifier key (algorithm 0x04)."""

    url: str
    key: VerifierKey


class Collector:
    """Each witness is asked on a task of its own, always about the newest checkpoint: one that is
    slow or gone holds nobody up, and misses those in between."""

    def __init__(
        self, ledger: Ledger, signer: Signer, witnesses: tuple[WitnessSetting, ...]
    ) -> None:
        self._ledger, self._signer, self._witnesses = ledger, signer, witnesses
        self._tasks: list[asyncio.Task[None]] = []
        self._store = asyncio.Lock()
        self._seen = {(w.key.name,): 0 for w in witnesses}
        self._failures = {(w.key.name,): 0 for w in witnesses}

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._follow(w), name=f"witness-{w.key.name}")
            for w in self._witnesses
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def families(self) -> Iterator[Family]:
        """What it measures of itself. A witness's lag is the whole log until it first answers."""
        newest = self._signer.newest
        size = newest.size if newest else 0
        lag = {name: max(0, size - seen) for name, seen in self._seen.items()}
        told = "Signed events that this witness has not cosigned."
        yield gauge("fedcore_witness_lag_events", told, lag, "witness")
        told = "Attempts at a cosignature that failed."
        yield counter("fedcore_witness_failures", told, self._failures, "witness")

    async def _follow(self, witness: WitnessSetting) -> None:
        """`seen` is what this witness cosigned last, as far as is known."""
        seen, complained = 0, False
        while True:
            await self._signer.wait_newer(seen)
            newest = self._signer.newest
            assert newest is not None
            try:
                await self._ask(witness, seen, newest)
                seen, complained = newest.size, False
                self._seen[(witness.key.name,)] = seen
            except FederationError as e:
                self._failures[(witness.key.name,)] += 1
                if not complained:
                    structlog.get_logger().warning(
                        "witness_failed", witness=witness.key.name, why=e.detail
                    )
                complained = True
                await asyncio.sleep(_RETRY_S)

    async def _ask(self, witness: WitnessSetting, seen: int, newest: SignedCheckpoint) -> None:
        try:
            lines = await self._submit(witness, seen, newest)
        except StaleSize as e:
            if e.size > newest.size:
                raise FederationError(
                    f"It has cosigned {e.size} events of this log, which has {newest.size}: the "
                    "log was rolled back, or another one grows under its key.",
                    code="witness_ahead",
                ) from e
            lines = await self._submit(witness, e.size, newest)
        own = (witness.key.name, witness.key.key_hash)
        line = next((s for s in lines if (s.name, s.key_hash) == own), None)
        if line is None:
            raise WitnessError(f"It answered without a line of {witness.key.name}.")
        verify_cosignature(parse_note(newest.note.encode()).text, line, witness.key)
        await self._add(newest.size, line)

    async def _submit(
        self, witness: WitnessSetting, seen: int, newest: SignedCheckpoint
    ) -> tuple[NoteSignature, ...]:
        proof: list[bytes] = []
        if 0 < seen < newest.size:
            proof = await self._ledger.read(log_queries.consistency, seen, newest.size)
        return await submit(witness.url, seen, proof, newest.note.encode())

    async def _add(self, size: int, signature: NoteSignature) -> None:
        async with self._store:
            row = await self._ledger.read(log_queries.checkpoint_at, size)
            if row is None or f"— {signature.name} " in row.cosignatures:
                return
            await self._signer.cosigned(
                msgspec.structs.replace(
                    row,
                    cosignatures=f"{row.cosignatures}{signature.line}\n",
                    witnesses=row.witnesses + 1,
                )
            )
