"""A maker of evidence packs for tests, written from `docs/evidence.md` alone.

It shares no code with the server's builder nor with the verifier, so that what the three agree on
is the page. Everything is deterministic.

    forge = Forge()                                  a log with its own key
    run = forge.run("r1")                            a `Script`: a client's run, event by event
    run.start(); run.step("a"); run.complete()       … lawful, with receipts
    pack, trust = forge.pack(), forge.trust()

A forger at work:

    repack(pack, {"REPORT.md": b"…"})                files changed, the manifest made anew
    bad = forge.tampered("run:r1", edit)             events changed, everything that follows remade
    bad.pack(keep=pack)                              … without the key: the signed parts are the old
    bad.pack()                                       … with the key: signed anew
    raw_zip([("../x", b"", {"external_attr": …})])   a zip that no honest tool makes
"""

import base64
import copy
import hashlib
import io
import json
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "BUNDLE",
    "BUNDLE_HASH",
    "FLAG",
    "PAYLOAD_TYPE",
    "ZERO",
    "Forge",
    "Json",
    "Key",
    "Script",
    "canonical",
    "consistency_proof",
    "digest",
    "dsse",
    "leaf",
    "manifest_of",
    "payload_file",
    "raw_zip",
    "repack",
    "sign_note",
    "tile_path",
    "unpack",
]

Json = dict[str, Any]
Edit = Callable[[list[Json]], list[Json]]

ZERO = "0" * 64
PAYLOAD_TYPE = "application/vnd.federation-core.workflow-receipt.v1+json"
BUNDLE = {"bundle.yaml": b"id: forge\nversion: 1.0.0\n", "policies.cedar": b"permit (p, a, r);\n"}
FLAG: Json = {"rule": "large", "approvers": ["role:fin"], "quorum": 1, "expires_s": None}
BY_ENGINE = frozenset(
    {"expression_failed", "invalid_input", "parent_ended", "run_timeout", "too_large"}
    | {"value_missing"}
)
"""Codes of ends that the server itself brings about."""
_START = datetime(2026, 11, 23, 12, tzinfo=UTC)


def canonical(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def leaf(body: bytes) -> str:
    return digest(b"\0" + body)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


BUNDLE_INDEX = canonical({"files": {name: digest(data) for name, data in BUNDLE.items()}})
BUNDLE_HASH = digest(BUNDLE_INDEX)


# keys and what they sign


class Key:
    """An Ed25519 key with a C2SP name; `algorithm` is 1 for a log, 4 for a witness."""

    def __init__(self, name: str, seed: bytes, algorithm: int = 1) -> None:
        self.name, self.algorithm = name, algorithm
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()
        material = bytes([algorithm]) + self.public
        self.key_hash = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
        self.keyid = f"{name}+{self.key_hash.hex()}"
        self.vkey = f"{self.keyid}+{b64(material)}"

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def line(self, text: str, at_seconds: int = 1_795_435_200) -> str:
        """The signature line under the text of a note."""
        if self.algorithm == 4:
            message = f"cosignature/v1\ntime {at_seconds}\n{text}".encode()
            signature = at_seconds.to_bytes(8, "big") + self.sign(message)
        else:
            signature = self.sign(text.encode())
        return f"— {self.name} {b64(self.key_hash + signature)}\n"


def sign_note(text: str, *keys: Key) -> bytes:
    return (text + "\n" + "".join(key.line(text) for key in keys)).encode()


def dsse(payload: bytes, *keys: Key, kind: str = PAYLOAD_TYPE) -> bytes:
    """A DSSE v1 envelope."""
    pae = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    signatures = [{"keyid": key.keyid, "sig": b64(key.sign(pae))} for key in keys]
    return canonical({"payload": b64(payload), "payloadType": kind, "signatures": signatures})


# the tree


class Tree:
    """The RFC 9162 tree over leaf hashes."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}

    def range(self, low: int, high: int) -> bytes:
        """MTH(D[low:high])."""
        if high - low == 1:
            return self.leaves[low]
        if high == low:
            return hashlib.sha256().digest()
        if (low, high) not in self._known:
            middle = low + (1 << (high - low - 1).bit_length() - 1)
            both = self.range(low, middle) + self.range(middle, high)
            self._known[low, high] = hashlib.sha256(b"\1" + both).digest()
        return self._known[low, high]

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """PATH(index, D[0:size])."""
        path, low, high = [], 0, size
        while high - low > 1:
            middle = low + (1 << (high - low - 1).bit_length() - 1)
            if index < middle:
                path.append(self.range(middle, high))
                high = middle
            else:
                path.append(self.range(low, middle))
                low = middle
        return path[::-1]

    def tile(self, level: int, number: int, size: int) -> bytes:
        first, width = number * 256, min(256, (size >> 8 * level) - number * 256)
        step = 1 << 8 * level
        return b"".join(self.range(i * step, (i + 1) * step) for i in range(first, first + width))


def consistency_proof(tree: Tree, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[0:new])."""
    path, low, high = [], 0, new
    while high != old:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if old <= middle:
            path.append(tree.range(middle, high))
            high = middle
        else:
            path.append(tree.range(low, middle))
            low = middle
    if low:
        path.append(tree.range(low, old))
    return path[::-1]


def tile_path(level: int, number: int, size: int) -> str:
    width = min(256, (size >> 8 * level) - number * 256)
    number, last = divmod(number, 1000)
    path = f"{last:03}"
    while number:
        number, part = divmod(number, 1000)
        path = f"x{part:03}/{path}"
    return f"log/tile/{level}/{path}" + ("" if width == 256 else f".p/{width}")


# zips


def raw_zip(
    entries: Iterable[tuple[str, bytes] | tuple[str, bytes, Mapping[str, Any]]],
) -> bytes:
    """A zip of these entries in this order. The attributes of the third member are put on the
    `ZipInfo` before its data is written, and again before the directory is (`flag_bits`,
    `file_size`, … of the directory alone can so be lies)."""
    out = io.BytesIO()
    tweaked: list[tuple[zipfile.ZipInfo, Mapping[str, Any]]] = []
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # that a name stands twice
        for name, data, *rest in entries:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.filename = name  # as it is, whatever the constructor made of it
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            tweaks: Mapping[str, Any] = rest[0] if rest else {}
            for attribute, value in tweaks.items():
                setattr(info, attribute, value)
            archive.writestr(info, data)
            tweaked.append((info, tweaks))
        for info, tweaks in tweaked:
            for attribute, value in tweaks.items():
                setattr(info, attribute, value)
    return out.getvalue()


def unpack(pack: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(pack)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def manifest_of(files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """`about` is what the manifest says besides its files: log, run_id, v, run_ids."""
    told = {p: {"sha256": digest(d), "size": len(d)} for p, d in files.items()}
    return canonical({**about, "files": told})


def repack(
    pack: bytes, changes: Mapping[str, bytes | None], *, about: Mapping[str, Any] | None = None
) -> bytes:
    """The pack with files put in, changed, or (None) taken out, and a manifest that fits them;
    one given in `changes` is taken as it is. `about` changes what the manifest says besides."""
    files = unpack(pack)
    old = json.loads(files.pop("manifest.json"))
    facts = {name: value for name, value in old.items() if name != "files"} | dict(about or {})
    for path, data in changes.items():
        files.pop(path, None)
        if data is not None:
            files[path] = data
    if "manifest.json" not in changes:
        files["manifest.json"] = manifest_of(files, facts)
    return raw_zip(sorted(files.items()))


def payload_file(value: bytes, salt: bytes | None = None) -> tuple[str, bytes]:
    """Hash and file of the payload with these RFC 8785 bytes."""
    if salt is None:
        return digest(value), b'{"value":%b}' % value
    named = digest(b"fc/payload/v1\0" + salt + value)
    return named, b'{"salt":"%b","value":%b}' % (salt.hex().encode(), value)


# a log


class Forge:
    """A log in the making. `leaves` are its events in commit order, as plain values; `tampered`
    changes them, and what follows from the change."""

    def __init__(
        self,
        *,
        log: str = "federation-core/forge",
        log_seed: bytes = b"\1" * 32,
        tenant: str = "acme",
    ) -> None:
        self.log, self.tenant = log, tenant
        self.key = Key(log, log_seed)
        self.epochs: list[Json] = [{"from": 0, "key": self.key.vkey, "to": None}]
        self.leaves: list[Json] = []
        self.payloads: dict[str, bytes] = {}
        self.definitions: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.now = _START
        self._heads: dict[str, tuple[int, str]] = {}

    # events

    def emit(
        self,
        stream: str,
        code: str,
        data: Mapping[str, Any],
        *,
        actor: str = "system",
        via: str | None = None,
        tenant: str | None = None,
        seconds: float = 1,
    ) -> str:
        """Append an event to `stream`, `seconds` after the last; returns its hash."""
        self.now += timedelta(seconds=seconds)
        seq, prev = self._heads.get(stream, (0, ZERO))
        event: Json = {
            "actor": actor,
            "at": self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "data": {name: value for name, value in data.items() if value is not None},
            "log": self.log,
            "prev": prev,
            "seq": seq,
            "stream": stream,
            "tenant": tenant or self.tenant,
            "type": code,
            "v": 1,
            "via": via,
        }
        self.leaves.append(event)
        named = leaf(canonical(event))
        self._heads[stream] = (seq + 1, named)
        return named

    def stream(self, stream: str) -> list[Json]:
        return [event for event in self.leaves if event["stream"] == stream]

    def fill(self, count: int) -> None:
        """Append events that stand in no pack."""
        for number in range(count):
            self.emit("policy:other", "FC-POLICY-002", {"n": number}, tenant="other", seconds=0)

    def keep(self, value: Any, *, salt: bytes | None = None) -> str:
        """Store a payload; returns its hash."""
        named, data = payload_file(canonical(value), salt)
        self.payloads[named] = data
        return named

    def erase(self, run_id: str, *hashes: str) -> None:
        """Delete payloads of a run, and say so."""
        for named in hashes:
            self.payloads.pop(named, None)
        told = {"payload_hashes": list(hashes), "reason": "asked for", "stream": f"run:{run_id}"}
        self.emit(f"log:{self.tenant}", "FC-DATA-001", told, actor="officer")

    def rotate(self, seed: bytes) -> None:
        """A new key signs from here on."""
        new, index = Key(self.log, seed), len(self.leaves)
        told = {"key": new.vkey, "log": self.log, "previous_key": self.key.vkey}
        statement = b"fc/key-rotation/v1\0" + canonical(told)
        data = {
            "key": new.vkey,
            "key_signature": b64(new.sign(statement)),
            "previous_key": self.key.vkey,
            "previous_signature": b64(self.key.sign(statement)),
            "reason": "it is time",
        }
        self.emit("log", "FC-KEY-001", data)
        self.epochs[-1]["to"] = index
        self.epochs.append({"from": index + 1, "key": new.vkey, "to": None})
        self.key = new

    def run(self, run_id: str = "r1", *, definition: Json | None = None, **facts: Any) -> "Script":
        """A run that was born and allowed: managed where there is a definition, else a client's.
        `facts` go into its FC-RUN-001, but for `via`, and `birth`: how its birth was decided
        about (None: not at all), as `Script.decide` takes it."""
        return Script(self, run_id, definition, facts)

    # tampering

    def copy(self) -> "Forge":
        return copy.deepcopy(self, {id(self.key): self.key})

    def tampered(self, stream: str, edit: Edit, *, relink: bool = True) -> "Forge":
        """A copy in which `edit` changed the events of one stream (a list of plain values, in
        order, which it may change, shorten or lengthen). With `relink` every `seq`, link, decision
        hash, receipt and receipt hash in the stream is made anew to fit."""
        other = self.copy()
        places = [i for i, event in enumerate(other.leaves) if event["stream"] == stream]
        old = [copy.deepcopy(other.leaves[i]) for i in places]
        new = edit([other.leaves[i] for i in places])
        if relink:
            _relink(old, new)
        # What was removed leaves no hole; what is added stands after the last of the stream.
        queue, leaves = list(new), []
        for index, event in enumerate(other.leaves):
            if index not in places:
                leaves.append(event)
            elif queue:
                leaves.append(queue.pop(0))
                if index == places[-1]:
                    leaves += queue
        other.leaves = leaves
        other._heads = {e["stream"]: (e["seq"] + 1, leaf(canonical(e))) for e in leaves}
        return other

    # packs

    def tree(self) -> Tree:
        return Tree([bytes.fromhex(leaf(canonical(event))) for event in self.leaves])

    def checkpoint(self, size: int | None = None, *keys: Key, signer: Key | None = None) -> bytes:
        """The signed checkpoint over the first `size` leaves, cosigned by `keys`."""
        size = len(self.leaves) if size is None else size
        text = f"{self.log}\n{size}\n{b64(self.tree().range(0, size))}\n"
        return sign_note(text, signer or self.key, *keys)

    def trust(self, *witnesses: Key, quorum: int | None = None) -> str:
        """What an auditor would have been given: every key of the log, and these witnesses."""
        keys = [epoch["key"] for epoch in self.epochs]
        lines = [f"log {key}" for key in keys] + [f"issuer {key}" for key in keys]
        lines += [f"witness {witness.vkey}" for witness in witnesses]
        lines += [] if quorum is None else [f"quorum {quorum}"]
        return "# the keys\n" + "\n".join(lines) + "\n"

    def pack(
        self,
        *,
        runs: Sequence[str] | None = None,
        witnesses: Sequence[Key] = (),
        tiles: bool | None = None,
        payloads: bool = True,
        size: int | None = None,
        signer: Key | None = None,
        keep: bytes | None = None,
        files_override: Mapping[str, bytes | None] | None = None,
    ) -> bytes:
        """The pack of `runs` (all of them, unless given), at tree size `size`.

        `tiles` is from 1,001 events on unless given. `keep` is a pack whose checkpoint and
        receipts stand in this one: what a forger has who has no key. `files_override` is applied
        before the manifest is made.
        """
        files = self.files(
            runs=runs,
            witnesses=witnesses,
            tiles=tiles,
            payloads=payloads,
            size=size,
            signer=signer,
        )
        if keep is not None:
            kept = unpack(keep)
            signed = [p for p in kept if p == "log/checkpoint" or p.endswith("dsse.json")]
            files |= {path: kept[path] for path in signed}
        for path, data in (files_override or {}).items():
            files.pop(path, None)
            if data is not None:
                files[path] = data
        if "manifest.json" not in files:
            files["manifest.json"] = manifest_of(files, self.about(runs))
        return raw_zip(sorted(files.items()))

    def about(self, runs: Sequence[str] | None = None) -> Json:
        """What the manifest says besides its files."""
        ids = sorted(runs or self.run_ids)
        one: Json = {"log": self.log, "run_id": ids[0], "v": 1}
        return one if len(ids) == 1 else {"log": self.log, "run_id": None, "run_ids": ids, "v": 1}

    @property
    def run_ids(self) -> list[str]:
        streams = {event["stream"] for event in self.leaves}
        return [stream[4:] for stream in sorted(streams) if stream.startswith("run:")]

    def files(
        self,
        *,
        runs: Sequence[str] | None = None,
        witnesses: Sequence[Key] = (),
        tiles: bool | None = None,
        payloads: bool = True,
        size: int | None = None,
        signer: Key | None = None,
    ) -> dict[str, bytes]:
        """Every file of the pack but its manifest."""
        ids = sorted(runs or self.run_ids)
        size = len(self.leaves) if size is None else size
        wanted = {f"run:{run_id}" for run_id in ids} | {"log", f"log:{self.tenant}"}
        indexes: dict[str, list[int]] = {}
        bodies: dict[str, list[bytes]] = {}
        for index, event in enumerate(self.leaves[:size]):
            if event["stream"] in wanted:
                indexes.setdefault(event["stream"], []).append(index)
                bodies.setdefault(event["stream"], []).append(canonical(event))
        files = {
            "REPORT.md": b"# What happened\n",
            "verify.py": b"# the verifier\n",
            "index.json": canonical(indexes),
            "keys/history.jsonl": b"".join(canonical(e) + b"\n" for e in self.epochs),
            "log/checkpoint": self.checkpoint(size, *witnesses, signer=signer),
        }
        for stream, lines in bodies.items():
            files[f"events/{stream.replace('/', '%2F')}.jsonl"] = b"".join(
                line + b"\n" for line in lines
            )
        files |= self._proofs(sorted(i for found in indexes.values() for i in found), size, tiles)
        for run_id in ids:
            events = [json.loads(line) for line in bodies[f"run:{run_id}"]]
            name = "receipt.dsse.json" if len(ids) == 1 else f"receipts/{run_id}.dsse.json"
            if any(event["type"] == "FC-RUN-003" for event in events):
                files[name] = dsse(canonical(workflow_receipt(events)), self.key)
            definition = events[0]["data"].get("definition_hash")
            if definition in self.definitions:
                path = f"workflow/{definition}/definition.json"
                files[path] = self.definitions[definition]
        files[f"policies/{BUNDLE_HASH}/files.json"] = BUNDLE_INDEX
        files |= {f"policies/{BUNDLE_HASH}/{name}": data for name, data in BUNDLE.items()}
        told = b"".join(line for lines in bodies.values() for line in lines)
        if payloads:
            kept = {n: data for n, data in self.payloads.items() if n.encode() in told}
            files |= {f"payloads/{named}.json": data for named, data in kept.items()}
        return files | {f"objects/{named}": data for named, data in self.objects.items()}

    def _proofs(self, indexes: list[int], size: int, tiles: bool | None) -> dict[str, bytes]:
        tree = Tree(self.tree().leaves[:size])
        if not (len(indexes) > 1000 if tiles is None else tiles):
            proofs = {str(i): [b64(node) for node in tree.inclusion(i, size)] for i in indexes}
            return {"log/proofs.json": canonical(proofs)}
        wanted = {(0, index >> 8) for index in indexes}
        level = 0
        while size >> 8 * level:
            if (size >> 8 * level) & 255:
                wanted.add((level, (size >> 8 * level) >> 8))
            wanted |= {(level, number >> 8) for was, number in wanted if was == level - 1}
            level += 1
        return {tile_path(*tile, size): tree.tile(*tile, size) for tile in sorted(wanted)}


def workflow_receipt(events: Sequence[Json]) -> Json:
    """The receipt over the events before the FC-RUN-003."""
    end = next(i for i, event in enumerate(events) if event["type"] == "FC-RUN-003")
    born, before = events[0]["data"], events[:end]
    own = [e["data"] for e in before if "receipt" in e["data"] and e["type"] != "FC-STEP-008"]
    policies: dict[str, None] = {}
    for event in before:
        if event["type"] == "FC-POLICY-001":
            policies[event["data"].get("policy_hash", "")] = None
            if "tightened" in event["data"]:
                policies[event["data"]["tightened"]["policy_hash"]] = None
    return {
        "definition_hash": born.get("definition_hash"),
        "event_count": end,
        "first_event_hash": leaf(canonical(events[0])),
        "last_event_hash": leaf(canonical(before[-1])),
        "outcome": events[end]["data"].get("new_status"),
        "policy_hashes": list(policies),
        "receipt_chain": [data["receipt_hash"] for data in own],
        "run_id": born.get("run_id"),
        "tenant": events[0]["tenant"],
        "v": 1,
        "workflow_id": born.get("workflow_id"),
        "workflow_version": born.get("workflow_version"),
    }


def _relink(old: list[Json], new: list[Json]) -> None:
    """Give the events of a changed stream the links that fit them. A hash that stood for an old
    event or receipt stands for what became of it."""
    was = {event["seq"]: leaf(canonical(event)) for event in old}
    became: dict[str, str] = {}
    previous = receipt = ZERO
    for seq, event in enumerate(new):
        old_seq = event["seq"]
        text = canonical(event).decode()
        for one, other in became.items():
            text = text.replace(one, other)
        event.clear()
        event.update(json.loads(text))
        data = event["data"]
        event["seq"], event["prev"] = seq, previous
        if event["type"] == "FC-STEP-008":  # the receipt is of another run's chain
            if "receipt" in data:
                data["receipt_hash"] = digest(canonical(data["receipt"]))
        elif "receipt" in data:
            data["receipt"]["prev_receipt_hash"] = receipt
            receipt = digest(canonical(data["receipt"]))
            became[data["receipt_hash"]] = data["receipt_hash"] = receipt
        if "workflow_receipt_hash" in data:
            told = digest(canonical(workflow_receipt(new)))
            data["workflow_receipt_hash"] = told
        previous = leaf(canonical(event))
        if old_seq in was:
            became[was[old_seq]] = previous


class Script:
    """The life of one run, told event by event. Each method appends what its name says and nothing
    else, so a script can be as unlawful as a test wants; in the order of the examples it is lawful.
    Receipts, links and hashes are always right."""

    def __init__(self, forge: Forge, run_id: str, definition: Json | None, facts: Json) -> None:
        self.forge, self.run_id, self.definition = forge, run_id, definition
        self.stream = f"run:{run_id}"
        self.status = "pending"
        self.receipts: list[str] = []
        self.steps: dict[str, Json] = {}
        self.gates: dict[str, Json] = {}
        named = None
        if definition is not None:
            data = canonical(definition)
            named = digest(data)
            forge.definitions[named] = data
            for index, spec in enumerate(definition["steps"]):
                self.steps[spec["id"]] = {"type": spec["type"], "index": index, "attempt": 1}
        self.input_hash = forge.keep({"order": 7})
        born = {
            "run_id": run_id,
            "workflow_id": definition["id"] if definition else "wf",
            "workflow_version": definition["version"] if definition else "1.0.0",
            "definition_hash": named,
            "execution": "managed" if definition else "external",
            "policy_mode": "strict",
            "input_hash": self.input_hash,
            "metadata_hash": forge.keep({}),
            "correlation_id": f"t:acme|c:{run_id}",
        }
        who: Json = {"actor": "starter", "via": facts.pop("via", None)}
        birth = facts.pop("birth", {"effect": "allow"})
        self.emit("FC-RUN-001", born | facts, **who)
        if birth is not None:
            self.decide("run.create", **{"subject": self.input_hash, **who, **birth})

    def emit(self, code: str, data: Mapping[str, Any], **who: Any) -> str:
        """Any event at all; members that are None are left out. `who`: actor, via, seconds; where
        no actor is given, it is the one whose event it is in a lawful life."""
        if "actor" not in who:
            who["actor"], via = self._author(code, data)
            who["via"] = who.get("via") or via
        return self.forge.emit(self.stream, code, data, **who)

    def _author(self, code: str, data: Mapping[str, Any]) -> tuple[str, str | None]:
        managed = self.definition is not None
        action, ends = data.get("action") or "", data.get("error_code") in BY_ENGINE
        asks = action.startswith("step.") or action in ("run.start", "run.complete")
        if managed and (asks or ends or (code.startswith("FC-STEP") and code != "FC-STEP-008")):
            return ("starter", "engine")
        if code in ("FC-RUN-002", "FC-RUN-003", "FC-GATE-001", "FC-STEP-008"):
            return (self.last["actor"], self.last["via"])
        return ("system", None)

    def keep(self, value: Any, step_id: str | None = None) -> str:
        """Store a value, with a salt where the step (or, for None, any step) is sensitive."""
        specs = self.definition["steps"] if self.definition else []
        named = None if step_id is None else step_id.partition("[")[0]
        secret = any(s.get("sensitive") and named in (None, s["id"]) for s in specs)
        return self.forge.keep(value, salt=b"\7" * 32 if secret else None)

    @property
    def last(self) -> Json:
        return self.forge.stream(self.stream)[-1]

    # policy

    def decide(
        self, action: str, effect: str = "allow", *, subject: str | None = None, **facts: Any
    ) -> str:
        """An FC-POLICY-001; returns its hash. `facts`: step_id, step_type, attempt, gate_id, flags,
        covered_by, tightened, and actor, via, seconds."""
        who = {name: facts.pop(name) for name in ("actor", "via", "seconds") if name in facts}
        data = {
            "action": action,
            "decision": effect,
            "subject_hash": subject,
            "reason": "base",
            "policy_id": "forge",
            "policy_hash": BUNDLE_HASH,
            "tier": "0",
            "rules_triggered": ["base"],
            "request_hash": "e" * 64,
            "duration_us": 40,
        }
        return self.emit("FC-POLICY-001", data | facts, **who)

    # the run

    def change(self, status: str, **facts: Any) -> None:
        """An FC-RUN-002."""
        who = {name: facts.pop(name) for name in ("actor", "via", "seconds") if name in facts}
        told = {"previous_status": self.status, "new_status": status}
        self.emit("FC-RUN-002", told | facts, **who)
        self.status = status

    def start(self) -> "Script":
        """Allowed, and running."""
        self.decide("run.start", subject=self.input_hash if self.definition else None)
        self.change("running")
        return self

    def end(self, status: str, **facts: Any) -> None:
        """An FC-RUN-003 with its workflow receipt; why it failed follows from the events before,
        unless `error_code` says it."""
        if status == "failed" and "error_code" not in facts:
            facts["error_code"] = self._cause()
        who = {name: facts.pop(name) for name in ("actor", "via", "seconds") if name in facts}
        told = {"previous_status": self.status, "new_status": status} | facts
        events = [*self.forge.stream(self.stream), {"type": "FC-RUN-003", "data": told}]
        told["workflow_receipt_hash"] = digest(canonical(workflow_receipt(events)))
        self.emit("FC-RUN-003", told, **who)
        self.status = status

    def _cause(self) -> str | None:
        doom = None
        for event in self.forge.stream(self.stream):
            code, data = event["type"], event["data"]
            if code == "FC-POLICY-001" and (data["action"], data["decision"]) == (
                "run.fail",
                "allow",
            ):
                return "reported"
            if code == "FC-STEP-004" and doom == "step_failed":
                doom = None
            of_engine = ("run.start", "run.complete") if self.definition is not None else ()
            about = str(data.get("action", "")).startswith(("step.", "run.create", *of_engine))
            if code == "FC-POLICY-001" and data["decision"] == "deny" and about:
                doom = doom or "policy_denied"
            elif code == "FC-STEP-003" and self.definition is not None:
                doom = doom or "step_failed"
            elif code.startswith("FC-GATE") and code != "FC-GATE-001":
                status = data.get("gate_status", "expired" if code == "FC-GATE-004" else "")
                doom = doom or (f"gate_{status}" if status in ("rejected", "expired") else None)
        return doom

    def complete(self) -> "Script":
        """Allowed, and completed."""
        output = self.keep({"done": self.run_id})
        self.decide("run.complete", subject=output)
        self.end("completed", output_hash=output)
        return self

    # steps

    def ask(self, step_id: str, effect: str = "allow", *, kind: str = "ACT", **facts: Any) -> str:
        """Put a step to policy: with `subject`, else with a payload of its own."""
        known = {"type": kind, "index": len(self.steps), "attempt": 1}
        step = self.steps.setdefault(step_id, known)
        step["input"] = facts.pop("subject", None) or self.keep({"step": step_id}, step_id)
        step["decision"] = self.decide(
            f"step.{step['type'].lower()}",
            effect,
            subject=step["input"],
            **{"step_id": step_id, "step_type": step["type"], "attempt": step["attempt"]} | facts,
        )
        return str(step["decision"])

    def begin(self, step_id: str, **facts: Any) -> None:
        """An FC-STEP-001 on the last decision about the step."""
        step = self.steps[step_id]
        told = {
            "step_id": step_id,
            "step_type": step["type"],
            "step_index": step["index"],
            "attempt": step["attempt"],
            "input_hash": step["input"],
            "decision_hash": step["decision"],
            "idempotency_key": f"{self.run_id}:{step_id}:{step['attempt']}",
        }
        self.emit("FC-STEP-001", told | facts)
        if not facts.get("again"):
            step["started"] = self.last["at"]

    def done(self, step_id: str, output: Any = None) -> None:
        """An FC-STEP-002 with its receipt. What comes of a GATE step is what people said."""
        if output is None:
            is_gate = self.definition is not None and self.steps[step_id]["type"] == "GATE"
            output = self._said(step_id) if is_gate else "done"
        output_hash = self.keep(output, step_id)
        told = {"output_hash": output_hash, "duration_ms": self._took(step_id)}
        self._finish("FC-STEP-002", step_id, "completed", told, output_hash)

    def failed(self, step_id: str, **facts: Any) -> None:
        """An FC-STEP-003 with its receipt."""
        told = {"error_type": "X", "duration_ms": self._took(step_id)} | facts
        self._finish("FC-STEP-003", step_id, "failed", told, None)

    def retry(self, step_id: str) -> None:
        """An FC-STEP-004."""
        self.steps[step_id]["attempt"] += 1
        attempt, wait = self.steps[step_id]["attempt"], 2 if self.definition is not None else 1
        at = (self.forge.now + timedelta(seconds=wait)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.emit("FC-STEP-004", {"step_id": step_id, "attempt": attempt, "not_before": at})

    def fan_out(self, step_id: str, items: Any, *, count: int | None = None) -> "Script":
        """An FC-STEP-007; the items' indexes go on where those before them ended."""
        told = len(items) if count is None else count
        self.emit(
            "FC-STEP-007",
            {"step_id": step_id, "items": told, "items_hash": self.forge.keep(items)},
        )
        kind, first = self.steps[step_id]["type"], len(self.steps)
        for index in range(min(told, 100)):
            known = {"type": kind, "index": first + index, "attempt": 1}
            self.steps[f"{step_id}[{index}]"] = known
        return self

    def step(self, step_id: str, *, kind: str = "ACT") -> "Script":
        """Allowed, begun and done."""
        self.ask(step_id, kind=kind)
        self.begin(step_id)
        self.done(step_id)
        return self

    def _finish(self, code: str, step_id: str, status: str, told: Json, output: str | None) -> None:
        step = self.steps[step_id]
        receipt = {
            "attempt": step["attempt"],
            "decision_hash": step["decision"],
            "ended_at": self._soon(),
            "input_hash": step["input"],
            "output_hash": output,
            "prev_receipt_hash": self.receipts[-1] if self.receipts else ZERO,
            "run_id": self.run_id,
            "started_at": step["started"],
            "status": status,
            "step_id": step_id,
            "step_type": step["type"],
            "v": 1,
        }
        about = {"step_id": step_id, "attempt": step["attempt"]}
        self._receipted(code, about | told, receipt)

    def _said(self, step_id: str) -> Json:
        gates = [gate for gate in self.gates.values() if gate.get("step_id") == step_id]
        people = [person for gate in gates for person in gate["people"]]
        given = [gate["given"] for gate in gates if gate["given"]]
        value = json.loads(self.forge.payloads[given[-1]])["value"] if given else None
        return {"approved": True, "approved_by": people, "input": value}

    def _took(self, step_id: str) -> int:
        began = datetime.fromisoformat(self.steps[step_id]["started"])
        return (datetime.fromisoformat(self._soon()) - began) // timedelta(milliseconds=1)

    def _soon(self) -> str:
        return (self.forge.now + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _receipted(self, code: str, told: Json, receipt: Json, **who: Any) -> None:
        named = digest(canonical(receipt))
        self.receipts.append(named)
        self.emit(code, told | {"receipt": receipt, "receipt_hash": named}, **who)

    # gates

    def gate(self, gate_id: str = "g1", **facts: Any) -> None:
        """An FC-GATE-001. `facts`: step_id, required_approvers, quorum (left out where it is 1),
        expires_at, action, subject_hash, covers, actor, …"""
        who = {name: facts.pop(name) for name in ("actor", "via", "seconds") if name in facts}
        name = self._planned(facts.get("step_id")).get("name", gate_id)
        told = {"gate_id": gate_id, "gate_type": "human_approval", "gate_name": name} | facts
        self.emit("FC-GATE-001", told, **who)
        more = {"at": self.last["at"], "approvals": 0, "people": [], "given": None}
        self.gates[gate_id] = told | more

    def _planned(self, step_id: str | None) -> Json:
        """The gate of a step, as the definition has it."""
        steps = self.definition["steps"] if self.definition else []
        gates = [s.get("gate") for s in steps if s["id"] == step_id and s["type"] == "GATE"]
        return gates[0] if gates and isinstance(gates[0], dict) else {}

    def ask_people(self, step_id: str, gate_id: str = "g1", flag: Json = FLAG) -> None:
        """The gate that a flag of a step asks for, and the pause."""
        step = self.steps[step_id]
        self.gate(
            gate_id,
            gate_type="policy_check",
            step_id=step_id,
            required_approvers=flag["approvers"],
            quorum=flag["quorum"] if flag["quorum"] != 1 else None,
            action=f"step.{step['type'].lower()}",
            subject_hash=step["input"],
            covers=[flag["rule"]],
        )
        if self.status == "running":
            self.change("paused", reason="waiting")

    def answer(
        self,
        gate_id: str = "g1",
        *,
        actor: str = "approver_1",
        via: str | None = None,
        approve: bool = True,
        role: str | None = "fin",
        status: str | None = None,
        given: str | None = None,
        allowed: bool = True,
        seconds: float = 1,
    ) -> None:
        """One person's answer, with the allow before it; `given` is the hash of an input."""
        gate = self.gates[gate_id]
        gate["approvals"] += approve
        gate["people"] += [actor] * approve
        gate["given"] = given or gate["given"]
        full = gate["approvals"] >= (gate.get("quorum") or 1)
        status = status or ("rejected" if not approve else "approved" if full else "pending")
        about: Json = {"step_id": gate.get("step_id"), "gate_id": gate_id, "actor": actor}
        decided = None
        if allowed:
            decided = self.decide("gate.resolve", seconds=seconds, via=via, **about)
        decision = "approved" if approve else "rejected"
        told = {
            "gate_id": gate_id,
            "step_id": gate.get("step_id"),
            "gate_name": gate["gate_name"],
            "decision": decision,
            "gate_status": status,
            "role": role,
            "input_hash": given,
        }
        receipt = self._gate_receipt(
            gate, decision, status, actor, decided=decided, via=via, given=given
        )
        code = "FC-GATE-003" if given else "FC-GATE-002"
        self._receipted(code, told, receipt, actor=actor, via=via)

    def bypass(self, gate_id: str = "g1", *, actor: str = "officer", reason: str = "fire") -> None:
        """An FC-GATE-005, with the allow before it."""
        gate = self.gates[gate_id]
        about: Json = {"step_id": gate.get("step_id"), "gate_id": gate_id, "actor": actor}
        decided = self.decide("gate.bypass", **about)
        told = {"gate_id": gate_id, "step_id": gate.get("step_id"), "gate_name": gate["gate_name"]}
        receipt = self._gate_receipt(gate, "bypassed", "bypassed", actor, decided=decided)
        self._receipted("FC-GATE-005", told | {"reason": reason}, receipt, actor=actor)

    def expire(self, gate_id: str = "g1") -> None:
        """An FC-GATE-004."""
        gate = self.gates[gate_id]
        told = {"gate_id": gate_id, "step_id": gate.get("step_id"), "gate_name": gate["gate_name"]}
        receipt = self._gate_receipt(gate, "expired", "expired", "system")
        self._receipted("FC-GATE-004", told, receipt)

    def _gate_receipt(
        self,
        gate: Json,
        decision: str,
        status: str,
        actor: str,
        *,
        decided: str | None = None,
        via: str | None = None,
        given: str | None = None,
    ) -> Json:
        step = self.steps.get(gate.get("step_id") or "")
        return {
            "actor_id": actor,
            "attempt": step["attempt"] if step else None,
            "decision": decision,
            "decision_hash": decided,
            "ended_at": self._soon(),
            "gate_id": gate["gate_id"],
            "input_hash": given,
            "output_hash": None,
            "prev_receipt_hash": self.receipts[-1] if self.receipts else ZERO,
            "run_id": self.run_id,
            "started_at": gate["at"],
            "status": status,
            "step_id": gate.get("step_id"),
            "step_type": step["type"] if step else None,
            "v": 1,
            "via": via,
        }
