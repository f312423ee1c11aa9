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
from .hashing import canonical, leaf_hash
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
    """Where there are fewer lines than before, index and proofs are those of what is left."""
    files = dict(pack.files)
    index: dict[str, list[int]] = msgspec.json.decode(files["index.json"])
    [stream] = [name for name in index if name.startswith("run:")]
    leaves = index[stream]
    if len(lines) < len(leaves):
        old = dict(zip(pack.events, leaves, strict=True))
        kept = [old[line] for line in lines if line in old]
        index[stream] = kept if len(kept) == len(lines) else leaves[: len(lines)]
        proofs: dict[str, Any] = msgspec.json.decode(files["log/proofs.json"])
        for leaf in set(leaves) - set(index[stream]):
            del proofs[str(leaf)]
        files["log/proofs.json"] = canonical(proofs)
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
    hashes = [bytes.fromhex(leaf_hash(line)) for line in lines]
    known = dict(zip(leaves, hashes, strict=True))
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


_INVALID, _UNTRUSTED, _INCOMPLETE = "INVALID", "UNTRUSTED", "INCOMPLETE"

PACK_FORGERIES = (
    *(
        PackForgery(test, "nothing: unpacked, and packed again", ("VALID", None), _control)
        for test in "ABC"
    ),
    PackForgery("B", "one byte of an event", (_INVALID, "FILE_DIGEST"), _with(_one_byte)),
    PackForgery(
        "B",
        "one byte of an event; manifest made anew",
        (_INVALID, "CHAIN_BROKEN"),
        _with(_lines(_flipped)),
    ),
    PackForgery(
        "B",
        "an event dropped; index, proofs and manifest made anew",
        (_INVALID, "CHAIN_GAP"),
        _with(_lines(_dropped)),
    ),
    PackForgery(
        "B",
        "an event repeated; manifest made anew",
        (_INVALID, "CHAIN_FORK"),
        _with(_lines(_repeated)),
    ),
    PackForgery(
        "B",
        "two events exchanged; manifest made anew",
        (_INVALID, "CHAIN_GAP"),
        _with(_lines(_exchanged)),
    ),
    PackForgery(
        "C",
        "the deny of ACT told as allow; chain, receipts, index and manifest made anew",
        (_INVALID, "ROOT_MISMATCH"),
        _with(_anew(denied_to_allowed)),
    ),
    PackForgery(
        "C",
        "the same, and the tree made anew under the old signature",
        (_INVALID, "BAD_SIGNATURE"),
        _with(_old_signature(denied_to_allowed)),
    ),
    PackForgery(
        "C",
        "the same, and all signed with another key in the log's name",
        (_INVALID, "UNKNOWN_KEY"),
        _with(_signed(denied_to_allowed)),
    ),
    PackForgery(
        "B",
        "the approval put into the name of the run's starter; chain, receipts and manifest anew",
        (_INVALID, "ROOT_MISMATCH"),
        _with(_anew(approved_by_starter)),
    ),
    PackForgery(
        "A", "the receipt is that of B", (_INVALID, "RECEIPT_MISMATCH"), _with(_receipt_of("B"))
    ),
    PackForgery(
        "B", "the receipt is that of A", (_INVALID, "RECEIPT_MISMATCH"), _with(_receipt_of("A"))
    ),
    PackForgery(
        "A",
        "two payloads exchanged; manifest made anew",
        (_INVALID, "PAYLOAD_MISMATCH"),
        _with(_payloads_exchanged),
    ),
    PackForgery(
        "A",
        "a payload taken out; manifest made anew",
        (_INCOMPLETE, "PAYLOAD_MISSING"),
        _with(_payload_gone),
    ),
    PackForgery(
        "C",
        "the policy's text permits what it forbids; manifest made anew",
        (_INVALID, "FILE_DIGEST"),
        _with(_laxer_policy),
    ),
    PackForgery(
        "C",
        "the workflow has a laxer limit; manifest made anew",
        (_INVALID, "FILE_DIGEST"),
        _with(_laxer_workflow),
    ),
    PackForgery(
        "A",
        "the end of the run cut off, its receipt left; index, proofs and manifest made anew",
        (_INVALID, "RECEIPT_MISMATCH"),
        _with(_cut),
    ),
    PackForgery(
        "A",
        "the end of the run cut off with its receipt, as if the run had not ended",
        (_INCOMPLETE, "FILE_MISSING"),
        _with(_cut_clean),
    ),
    PackForgery(
        "A", "a file added with the path ../verify.py", (_INVALID, "UNSAFE_PATH"), _with(_path_out)
    ),
    PackForgery("B", "the pack of A, given as that of B", (_INVALID, "ORIGIN"), _other_run),
    PackForgery("A", "no trust file", (_UNTRUSTED, "NO_TRUST"), _no_trust),
    PackForgery(
        "A", "the trust file of another log", (_INVALID, "ORIGIN"), _trust_in("another.example/log")
    ),
    PackForgery(
        "A", "a trust file with another key of this log", (_INVALID, "UNKNOWN_KEY"), _trust_in(None)
    ),
    PackForgery(
        "A",
        "key stolen: another starter, all made anew and signed with a trusted key",
        ("VALID", None),
        _believed(_other_starter),
    ),
    PackForgery(
        "A",
        "key stolen: the same, by an auditor who saw a checkpoint before",
        (_INVALID, "INCONSISTENT"),
        _believed_and_seen(_other_starter),
    ),
    PackForgery(
        "A",
        "key stolen: the decision about ACT removed, all made anew and signed",
        (_INVALID, "STEP_WITHOUT_ALLOW"),
        _believed(decision_removed),
    ),
    PackForgery(
        "B",
        "key stolen: approved by the run's starter, all made anew and signed",
        (_INVALID, "MISSING_APPROVAL"),
        _believed(approved_by_starter),
    ),
    PackForgery(
        "C",
        "key stolen: the deny of ACT told as allow, all made anew and signed",
        (_INVALID, "ILLEGAL_TRANSITION"),
        _believed(denied_to_allowed),
    ),
)
"""In the order in which the report lists them."""
