"""The evidence pack: the verifier accepts it, and it tells what was seen."""

from base64 import b64decode
from collections.abc import Iterator

import msgspec

from ..fresh import installed_verifier
from ..hashing import canonical, leaf_hash
from ..packing import Pack
from ..transcript import Expected, Transcript, event_bytes
from .base import Check
from .receipts import workflow_receipt

__all__ = ["PACK"]


def _pack(t: Transcript) -> Pack:
    if t.pack is None:
        raise LookupError("there is no pack")
    return t.pack


def _valid(t: Transcript, _: Expected) -> Iterator[str]:
    pack = _pack(t)
    said, verdict = pack.said, pack.verdict or {}
    if said is None or said.status != 0 or said.output.split("\n")[0] != "VALID":
        yield f"the verifier says {' '.join(said.output.split()) if said else 'nothing'}"
    if verdict.get("verdict") != "VALID" or verdict.get("run_ids") != [t.run_id]:
        yield f"the verdict is {verdict.get('verdict')} on {verdict.get('run_ids')}"
    origin, size, root = pack.checkpoint
    point = {"size": size, "root": root}
    if (verdict.get("log"), verdict.get("checkpoint")) != (origin, point):
        yield "the verdict is on another checkpoint than the pack's"


def _verifier(t: Transcript, _: Expected) -> Iterator[str]:
    if _pack(t).files.get("verify.py") != installed_verifier():
        yield "the pack's verify.py is another than the one that is installed here"


def _named(t: Transcript, _: Expected) -> Iterator[str]:
    pack = _pack(t)
    if pack.told != pack.digest:
        yield f"the server told the pack hash {pack.told}, its manifest has {pack.digest}"


def _tells_the_same(t: Transcript, _: Expected) -> Iterator[str]:
    pack = _pack(t)
    lines = pack.events
    if t.bodies is not None and lines != t.bodies:
        yield "the pack has other bytes than the ledger stores"
    if len(lines) != len(t.logs):
        yield f"the pack has {len(lines)} events, the audit trail {len(t.logs)}"
    for line, entry in zip(lines, t.logs, strict=False):
        rebuilt = event_bytes(entry, tenant=str(t.run["tenant_id"]), log=t.log or "")
        if line != rebuilt or leaf_hash(line) != entry["hash"]:
            yield f"entry {entry['seq']} ({entry['event_type']}) is another in the pack"
    if not t.of_type("FC-RUN-003"):
        yield "the audit trail has no end that a receipt could be about"
        return
    payload = b64decode(msgspec.json.decode(pack.files["receipt.dsse.json"])["payload"])
    if payload != canonical(workflow_receipt(t)):
        yield "the signed receipt is another than the one made anew from the audit trail"


def _no_pack(t: Transcript) -> str | None:
    return "there is no evidence pack" if t.pack is None else None


PACK = (
    Check(
        "pack-valid",
        "The evidence pack is VALID, by the verifier out of it, with nothing else installed",
        _valid,
        _no_pack,
    ),
    Check(
        "pack-verifier",
        "That verifier is, byte for byte, the one that is installed here",
        _verifier,
        _no_pack,
    ),
    Check("pack-hash", "The pack has the hash that the server told", _named, _no_pack),
    Check(
        "pack-is-trail",
        "Its events and signed receipt are those of the audit trail",
        _tells_the_same,
        _no_pack,
    ),
)
