"""Attacks on evidence packs: what somebody would change, and by which error it must be found out.

Each takes the true packs and gives a changed one. Whoever changes something makes anew what can be
made without the log's key; where they have a key, it is the `Forger`'s, which stands for a stolen
one where the auditor is made to trust it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from .checks.receipts import workflow_receipt
from .forger import Forger, Tree, note_text
from .forging import (
    approved_by_starter,
    decision_removed,
    denied_to_allowed,
    resealed,
    started_by,
)
from .hashing import canonical
from .packing import Files, Pack, packed, sealed
from .packs import Fetched
from .people import STRANGER
from .transcript import Transcript, event_bytes

__all__ = ["PACK_FORGERIES", "Forged", "PackForgery", "Scene"]


class Scene(msgspec.Struct, frozen=True):
    """What a forger has to work with: letter → transcript with its pack, and what the auditor
    fetched."""

    transcripts: dict[str, Transcript]
    fetched: Fetched
    forger: Forger

    def files(self, letter: str) -> Files:
        return dict(self.pack(letter).files)

    def pack(self, letter: str) -> Pack:
        """Raises `LookupError` where there is none."""
        pack = self.transcripts[letter].pack
        if pack is None:
            raise LookupError(f"there is no pack of test {letter}")
        return pack


class Forged(msgspec.Struct, frozen=True):
    """A zip, whom its auditor trusts, the run it is said to be of, and a checkpoint seen before."""

    data: bytes
    trust: str | None
    run_id: str | None = None
    seen: str | None = None
    consistency: str | None = None


class PackForgery(msgspec.Struct, frozen=True):
    """`test` is the letter of the run whose pack is changed; `wanted` the verdict and the error,
    which is None for the controls."""

    test: str
    what: str
    wanted: tuple[str, str | None]
    make: Callable[[Scene, str], Forged]


Edit = Callable[[Scene, str], Mapping[str, bytes]]


def _with(edit: Edit) -> Callable[[Scene, str], Forged]:
    """Judged with the trust file that the auditor fetched."""
    return lambda scene, test: Forged(packed(edit(scene, test)), scene.fetched.trust)


# without making anything anew


def _nothing(scene: Scene, test: str) -> Files:
    return scene.files(test)


def _one_byte(scene: Scene, test: str) -> Files:
    files, path = scene.files(test), scene.pack(test).event_file
    return files | {path: b"\n".join(_flipped(scene.pack(test).events)) + b"\n"}


def _path_out(scene: Scene, test: str) -> Files:
    return scene.files(test) | {"../verify.py": b"print('VALID')\n"}


# lines of the events, and the manifest and index made to fit


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Edit:
    return lambda scene, test: _relisted(scene.pack(test), change(scene.pack(test).events))


def _relisted(pack: Pack, lines: Sequence[bytes]) -> Files:
    """Index and proofs go with the lines that are left of the old ones."""
    files = dict(pack.files)
    index: dict[str, list[int]] = msgspec.json.decode(files["index.json"])
    [(stream, leaves)] = ((s, leaves) for s, leaves in index.items() if s.startswith("run:"))
    old = dict(zip(pack.events, leaves, strict=True))
    if len(lines) < len(leaves):
        index[stream] = sorted(old[line] for line in lines)
        if "log/proofs.json" in files:
            proofs: dict[str, Any] = msgspec.json.decode(files["log/proofs.json"])
            gone = {str(leaf) for leaf in set(leaves) - set(index[stream])}
            kept = {leaf: path for leaf, path in proofs.items() if leaf not in gone}
            files["log/proofs.json"] = canonical(kept)
    files["index.json"] = canonical(index)
    files[pack.event_file] = b"".join(line + b"\n" for line in lines)
    return sealed(files)


_AT = 5
"""The event that is changed: the first step's start."""
_HASH = b'"input_hash":"'


def _flipped(lines: list[bytes]) -> list[bytes]:
    """One hex digit of a hash in an event is another."""
    line = lines[_AT]
    at = line.index(_HASH) + len(_HASH)
    digit = b"1" if line[at : at + 1] == b"0" else b"0"
    return [*lines[:_AT], line[:at] + digit + line[at + 1 :], *lines[_AT + 1 :]]


def _dropped(lines: list[bytes]) -> list[bytes]:
    return lines[:_AT] + lines[_AT + 1 :]


def _repeated(lines: list[bytes]) -> list[bytes]:
    return lines[: _AT + 1] + lines[_AT:]


def _exchanged(lines: list[bytes]) -> list[bytes]:
    return [*lines[:_AT], lines[_AT + 1], lines[_AT], *lines[_AT + 2 :]]


def _cut(scene: Scene, test: str) -> Files:
    """The run's end is gone; its receipt is left."""
    return _relisted(scene.pack(test), scene.pack(test).events[:-1])


def _cut_clean(scene: Scene, test: str) -> Files:
    """… and so is its receipt, and what only the end refers to."""
    files = _cut(scene, test)
    del files["receipt.dsse.json"]
    told = files[scene.pack(test).event_file].decode()
    for path in [p for p in files if p.startswith("payloads/")]:
        if path.removeprefix("payloads/").removesuffix(".json") not in told:
            del files[path]
    return sealed(files)


# other files


def _receipt_of(other: str) -> Edit:
    name = "receipt.dsse.json"
    return lambda scene, test: sealed(scene.files(test) | {name: scene.files(other)[name]})


def _payloads_exchanged(scene: Scene, test: str) -> Files:
    files = scene.files(test)
    first, second = sorted(p for p in files if p.startswith("payloads/"))[:2]
    return sealed(files | {first: files[second], second: files[first]})


def _payload_gone(scene: Scene, test: str) -> Files:
    files = scene.files(test)
    del files[min(p for p in files if p.startswith("payloads/"))]
    return sealed(files)


def _laxer_policy(scene: Scene, test: str) -> Files:
    """The forbidding rules permit."""
    files = scene.files(test)
    [path] = [p for p in files if p.startswith("policies/") and p.endswith("/rollout.cedar")]
    return sealed(files | {path: files[path].replace(b"forbid", b"permit")})


def _laxer_workflow(scene: Scene, test: str) -> Files:
    files = scene.files(test)
    [path] = [p for p in files if p.startswith("workflow/")]
    return sealed(files | {path: files[path].replace(b"<= 10", b"<= 1000000")})


# the whole story told anew

Lie = Callable[[Transcript], Transcript]


def _retold(scene: Scene, test: str, lie: Lie) -> tuple[Transcript, list[bytes]]:
    """Chain, links and receipts fit the lie; the lines are the bytes of its events."""
    told = resealed(lie(scene.transcripts[test]))
    tenant, log = str(told.run["tenant_id"]), told.log or ""
    return told, [event_bytes(entry, tenant=tenant, log=log) for entry in told.logs]


def _anew(lie: Lie) -> Edit:
    return lambda scene, test: _relisted(scene.pack(test), _retold(scene, test, lie)[1])


def _rerooted(scene: Scene, test: str, lines: Sequence[bytes]) -> tuple[Files, Tree]:
    """A tree that has the lines where the old ones were, as large as what was seen before."""
    pack = scene.pack(test)
    files = _relisted(pack, lines)
    index: dict[str, list[int]] = msgspec.json.decode(files["index.json"])
    [stream] = [name for name in index if name.startswith("run:")]
    leaves = index[stream][: len(lines)]
    known = {
        leaf: bytes.fromhex(_leaf(line)) for leaf, line in zip(leaves, lines, strict=True)
    }
    tree = Tree(known, max(pack.checkpoint[1], scene.fetched.seen_size))
    files = {p: data for p, data in files.items() if not p.startswith(("log/", "events/log"))}
    files["index.json"] = canonical({stream: leaves})
    files["log/proofs.json"] = canonical({str(leaf): tree.path(leaf) for leaf in leaves})
    return files, tree


def _old_signature(lie: Lie) -> Edit:
    def edit(scene: Scene, test: str) -> Files:
        files, tree = _rerooted(scene, test, _retold(scene, test, lie)[1])
        _, _, lines = scene.files(test)["log/checkpoint"].partition(b"\n\n")
        note = note_text(scene.pack(test).log, tree).encode() + b"\n" + lines
        return sealed(files | {"log/checkpoint": note})

    return edit


def _signed(lie: Lie) -> Edit:
    """Every signature is the forger's."""

    def edit(scene: Scene, test: str) -> Files:
        told, lines = _retold(scene, test, lie)
        files, tree = _rerooted(scene, test, lines)
        forger = scene.forger
        files |= {
            "log/checkpoint": forger.checkpoint(tree),
            "keys/history.jsonl": forger.history,
            "receipt.dsse.json": forger.envelope(canonical(workflow_receipt(told))),
        }
        return sealed(files)

    return edit


def _believed(lie: Lie) -> Callable[[Scene, str], Forged]:
    """Judged by somebody who trusts the forger's key."""
    edit = _signed(lie)
    return lambda scene, test: Forged(packed(edit(scene, test)), scene.forger.trust)


def _believed_and_seen(lie: Lie) -> Callable[[Scene, str], Forged]:
    """… and saw a checkpoint of the true log."""
    edit = _signed(lie)

    def make(scene: Scene, test: str) -> Forged:
        pack, fetched = scene.pack(test), scene.fetched
        proof = pack.consistency if pack.checkpoint[1] > fetched.seen_size else None
        trust = scene.forger.trust + fetched.trust
        data = packed(edit(scene, test))
        return Forged(data, trust, seen=fetched.seen, consistency=proof)

    return make


def _other_starter(t: Transcript) -> Transcript:
    return started_by(t, STRANGER)


# whom to trust


def _no_trust(scene: Scene, test: str) -> Forged:
    return Forged(scene.pack(test).data, None)


def _trust_in(name: str | None) -> Callable[[Scene, str], Forged]:
    """In a key of the log `name`, None for one of the same name."""

    def make(scene: Scene, test: str) -> Forged:
        pack = scene.pack(test)
        return Forged(pack.data, Forger(name or pack.log).trust)

    return make


def _other_run(scene: Scene, test: str) -> Forged:
    return Forged(scene.pack("A").data, scene.fetched.trust, scene.transcripts[test].run_id)


def _control(scene: Scene, test: str) -> Forged:
    run_id = scene.transcripts[test].run_id
    return Forged(packed(scene.files(test)), scene.fetched.trust, run_id)
