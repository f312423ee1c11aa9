#!/usr/bin/env python3
"""Verify an evidence pack offline: that nothing in it was changed, and that it tells a lawful life.

    python3 verify.py PACK --trust TRUST [--run ID] [--tenant T] [--seen CHECKPOINT]
                      [--consistency PROOF] [--json]

One file, Python 3.11 and its standard library, and no code in common with the server that made the
pack: it was written from the page "Evidence" of the documentation alone. Whoever distrusts this
file too can write another from that page.

TRUST is what the auditor got by another way than the pack: lines `log <vkey>`, `issuer <vkey>`,
`witness <vkey>`, `quorum <n>`; `#` begins a comment. Without it nothing is verified.

Exit status: 0 VALID or VALID_WITH_REDACTIONS, 1 INVALID, 3 UNTRUSTED, 4 INCOMPLETE; 2 where the
command cannot be understood or a file cannot be read.

The parts can be used alone: `parse_event`, `Chain`, `CompactRange` and `Life` verify a whole ledger
as they do a pack.
"""

# ruff: noqa: TRY301 - what is wrong is said where it is seen; where it stands is known further out

import argparse
import hashlib
import io
import json
import re
import stat
import struct
import sys
import zipfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NoReturn

__all__ = [
    "Chain",
    "Checkpoint",
    "CompactRange",
    "Kin",
    "Kinship",
    "Life",
    "Refusal",
    "Trust",
    "Verdict",
    "VerifierKey",
    "compare_restart",
    "leaf_hash",
    "main",
    "open_checkpoint",
    "parse_event",
    "parse_trust",
    "read_definition",
    "verify_consistency",
    "verify_inclusion",
    "verify_pack",
    "verify_signature",
]

Json = dict[str, Any]

_STAGES = (
    ("UNSAFE_PATH", "LIMIT_EXCEEDED"),
    ("NO_TRUST",),
    ("FILE_MISSING", "FILE_EXTRA", "FILE_DIGEST"),
    ("NOTE_MALFORMED", "ORIGIN", "UNKNOWN_KEY", "BAD_SIGNATURE", "KEY_EPOCH"),
    ("QUORUM",),
    ("NOT_JSON", "NOT_CANONICAL", "UNKNOWN_VERSION"),
    ("CHAIN_GAP", "CHAIN_FORK", "CHAIN_BROKEN"),
    ("INDEX_RANGE", "PROOF_SHAPE", "ROOT_MISMATCH", "INCONSISTENT"),
    ("RECEIPT_SIGNATURE", "RECEIPT_TYPE", "RECEIPT_MISMATCH"),
    ("PAYLOAD_MISMATCH", "PAYLOAD_MISSING"),
    ("ILLEGAL_TRANSITION", "STEP_WITHOUT_ALLOW", "MISSING_APPROVAL"),
)
_STAGE_OF = {code: stage for stage, codes in enumerate(_STAGES, 1) for code in codes}
_EVENT_STAGES = (6, 7, 8)

ZERO_HASH = "0" * 64


class Refusal(Exception):
    """What is wrong, by one of the codes above; `file` where it is not the one being read."""

    def __init__(self, code: str, message: str, file: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.file = code, message, file


# --- JSON: one spelling or none ------------------------------------------------------------------

_MAX_INT = 2**53 - 1
_MAX_LEVELS = 32
_KEY = re.compile(r"[a-z0-9_]+")


def _no_fraction(text: str) -> NoReturn:
    raise Refusal("NOT_CANONICAL", f"There may be no fractions; {text[:20]} is one.")


def _whole(text: str) -> int:
    if len(text) < 18 and -_MAX_INT <= (number := int(text)) <= _MAX_INT:
        return number
    raise Refusal("NOT_CANONICAL", "Integers must lie within ±(2⁵³−1).")


def _no_constant(name: str) -> NoReturn:
    raise Refusal("NOT_JSON", f"{name} is not JSON.")


_decode = json.JSONDecoder(
    parse_float=_no_fraction, parse_int=_whole, parse_constant=_no_constant
).raw_decode
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
"""Equal to RFC 8785 where there are no fractions and keys are ASCII, which is checked."""


def _read_json(data: bytes) -> Any:
    """The value of these bytes, which must be its RFC 8785 form."""
    try:
        text = data.decode()
        value, end = _decode(text)
        if text == _encode(value):
            return value
    except UnicodeDecodeError as e:
        raise Refusal("NOT_JSON", f"It is not UTF-8: {e.reason} at byte {e.start}.") from None
    except RecursionError:
        raise Refusal("NOT_CANONICAL", "It is nested deeper than 32 levels.") from None
    except ValueError as e:
        raise Refusal("NOT_JSON", f"It is not JSON: {e}.") from None
    if text[end:].strip():
        raise Refusal("NOT_JSON", f"More follows after a JSON value of {end} characters.")
    raise Refusal("NOT_CANONICAL", "It is JSON, but not in its one canonical form.")


_good_keys: set[str] = set()
_MAX_KEYS_KNOWN = 1_000


def _check_profile(value: Any, level: int) -> None:
    """Keys and depth of what an event holds; the other rules are checked while it is read."""
    if level > _MAX_LEVELS:
        raise Refusal("NOT_CANONICAL", "It is nested deeper than 32 levels.")
    if type(value) is dict:
        for key in value:
            if key not in _good_keys:
                _check_key(key)
        value = value.values()
    for inner in value:
        kind = type(inner)
        if kind is dict or kind is list:
            _check_profile(inner, level + 1)


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise Refusal("NOT_CANONICAL", f"The key {key[:40]!r} is not made of a-z, 0-9 and _.")
    if len(_good_keys) < _MAX_KEYS_KNOWN:
        _good_keys.add(key)


def _is_hash(value: Any) -> bool:
    return type(value) is str and len(value) == 64 and not value.strip("0123456789abcdef")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _value_hash(value: Any) -> str:
    return _sha256(_encode(value).encode())


def _is_instant(text: Any) -> bool:
    """Whether it is `2026-11-23T12:00:00.000000Z`, of which text sorts as time does."""
    return type(text) is str and len(text) == 27 and _is_moment(text)


@lru_cache(maxsize=8)  # many events share one instant, and reading is slow
def _is_moment(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text[:26])
    except ValueError:
        return False
    return moment.isoformat(timespec="microseconds") + "Z" == text


def _later(instant: str, seconds: int, ms: int = 0) -> str:
    """What lies beyond the year 9999 is its last microsecond."""
    try:
        later = timedelta(seconds=seconds, milliseconds=ms)
        moment = datetime.fromisoformat(instant[:26]) + later
    except OverflowError:
        moment = datetime.max  # noqa: DTZ901 - a text is made of it, in UTC as all of them
    return moment.isoformat(timespec="microseconds") + "Z"


def _from_base64(text: Any) -> bytes | None:
    """The bytes that are written so, and in no other way; None for any other text."""
    if type(text) is not str:
        return None
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return None
    return data if b64encode(data).decode() == text else None


# --- Ed25519, RFC 8032 section 5.1, strict -------------------------------------------------------

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""(X, Y, Z, T): x = X/Z, y = Y/Z, x·y = T/Z. Section 5.1.4."""

_NEUTRAL: _Point = (0, 1, 1, 0)


def _add(p: _Point, q: _Point) -> _Point:
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _decode_point(data: bytes) -> _Point | None:
    """The point of 32 bytes; None where they are no canonical encoding of a point of high order."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _SQRT_M1 % _P
    if v * x * x % _P != u or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    point = (x, y, 1, x * y % _P)
    return None if _is_low_order(point) else point


def _is_low_order(p: _Point) -> bool:
    """Whether 8·p is neutral."""
    for _ in range(3):
        p = _add(p, p)
    return p[0] == 0 and p[1] == p[2]


def _encode_point(p: _Point) -> bytes:
    inverse = pow(p[2], -1, _P)
    x, y = p[0] * inverse % _P, p[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE = (4 * pow(5, -1, _P) % _P).to_bytes(32, "little")


@lru_cache(maxsize=16)  # there are few keys, and one is behind many signatures
def _multiples(point: bytes) -> list[list[_Point]] | None:
    """For each digit of a number below 2²⁵⁵ in base 32, the lowest first, what each of its values
    makes of this point; None where `_decode_point` finds none."""
    p = _decode_point(point)
    if p is None:
        return None
    rows = []
    for _ in range(51):
        row = [_NEUTRAL]
        for _ in range(32):
            row.append(_add(row[-1], p))
        p = row.pop()
        rows.append(row)
    return rows


def _times(number: int, rows: list[list[_Point]]) -> _Point:
    """The multiple of the point of these rows: an addition a digit."""
    result = _NEUTRAL
    for row in rows:
        result = _add(result, row[number & 31])
        number >>= 5
    return result


def verify_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is this key's over `message`. A non-canonical S is refused, and a public
    key or R that is of low order or not canonically encoded, so that all libraries agree."""
    if len(public) != 32 or len(signature) != 64:
        return False
    base, key = _multiples(_BASE), _multiples(public)
    s = int.from_bytes(signature[32:], "little")
    if base is None or key is None or s >= _L:
        return False
    hashed = hashlib.sha512(signature[:32] + public + message).digest()
    x, y, z, t = _times(int.from_bytes(hashed, "little") % _L, key)
    r = _add(_times(s, base), (_P - x, y, z, _P - t))
    return _encode_point(r) == signature[:32] and not _is_low_order(r)


# --- Keys and trust: C2SP signed-note ------------------------------------------------------------

_ED25519, _COSIGNATURE = 1, 4
_BAD_NAME = re.compile(r"[\x00-\x1f\s+\ud800-\udfff]")
_KEY_HASH = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class VerifierKey:
    """A public key with its name; `text` is its one spelling, `keyid` that without the key."""

    name: str
    key_hash: bytes
    algorithm: int
    public: bytes

    @property
    def keyid(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}"

    @property
    def text(self) -> str:
        return f"{self.keyid}+{b64encode(bytes([self.algorithm]) + self.public).decode()}"


def _parse_key(text: Any) -> VerifierKey | None:
    """`<name>+<8 hex>+<base64(algorithm ‖ 32 bytes)>`; None for anything else."""
    parts = text.split("+", 2) if type(text) is str else []
    if len(parts) != 3 or not parts[0] or _BAD_NAME.search(parts[0]):
        return None
    material = _from_base64(parts[2])
    if not _KEY_HASH.fullmatch(parts[1]) or material is None or len(material) != 33:
        return None
    hashed = hashlib.sha256(parts[0].encode() + b"\n" + material).digest()[:4]
    if hashed.hex() != parts[1] or _decode_point(material[1:]) is None:
        return None
    return VerifierKey(parts[0], hashed, material[0], material[1:])


@dataclass(frozen=True)
class Trust:
    """Whom the auditor believes: the logs' keys, those that sign receipts, witnesses, and how many
    of these must stand behind a checkpoint."""

    logs: tuple[VerifierKey, ...]
    issuers: tuple[VerifierKey, ...]
    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int = 0


def parse_trust(text: str | None) -> Trust:
    """The trust of these lines. Raises `Refusal` NO_TRUST where they give none."""
    if text is None:
        raise Refusal("NO_TRUST", "No trust file was given, so there is nothing to verify against.")
    keys: dict[str, list[VerifierKey]] = {"log": [], "issuer": [], "witness": []}
    quorum: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        words = re.sub(r"(^|\s)#.*", "", line).split()
        if not words:
            continue
        if len(words) == 2 and words[0] in keys:
            _trust_key(keys[words[0]], words[0], words[1], number)
        elif words[0] == "quorum" and quorum is None and _is_count(words[1:]):
            quorum = int(words[1])
        else:
            raise _no_trust(number, "it must be log, issuer or witness and a key, or one quorum")
    for needed in ("log", "issuer"):
        if not keys[needed]:
            raise Refusal("NO_TRUST", f"The trust file has no line `{needed} <vkey>`.")
    witnesses = tuple(keys["witness"])
    return Trust(tuple(keys["log"]), tuple(keys["issuer"]), witnesses, quorum or 0)


def _is_count(words: list[str]) -> bool:
    return len(words) == 1 and bool(re.fullmatch("0|[1-9][0-9]{0,5}", words[0]))


def _trust_key(known: list[VerifierKey], kind: str, text: str, number: int) -> None:
    key = _parse_key(text)
    if key is None:
        raise _no_trust(number, f"{text[:60]!r} is no verifier key")
    if key.algorithm != (_COSIGNATURE if kind == "witness" else _ED25519):
        raise _no_trust(number, f"a key of this algorithm is none of a {kind}")
    if any((k.name, k.key_hash) == (key.name, key.key_hash) for k in known):
        raise _no_trust(number, "the key stands there already")
    known.append(key)


def _no_trust(number: int, why: str) -> Refusal:
    return Refusal("NO_TRUST", f"Line {number} of the trust file cannot be read: {why}.")


# --- Notes, checkpoints, cosignatures ------------------------------------------------------------

_MAX_NOTE_BYTES = 1_000_000
_MAX_SIGNATURES = 100
_MAX_SIZE = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True)
class Checkpoint:
    """The log `origin` has `size` leaves with this `root`, say the keys of `signers`; `witnesses`
    are those that cosigned it."""

    origin: str
    size: int
    root: bytes
    signers: tuple[VerifierKey, ...]
    witnesses: tuple[VerifierKey, ...]

    @property
    def behind(self) -> tuple[str, ...]:
        """The witnesses by name; a key that cosigned under several names is one witness."""
        names: dict[bytes, str] = {}
        for key in self.witnesses:
            names.setdefault(key.public, key.name)
        return tuple(names.values())


def open_checkpoint(data: bytes, trust: Trust) -> Checkpoint:
    """The checkpoint of a signed note. Raises `Refusal` unless a trusted log signed it; a line of a
    known key that does not hold is refused, those of unknown keys are passed over."""
    text, lines = _open_note(data)
    origin, size, root = _parse_checkpoint(text)
    if all(key.name != origin for key in trust.logs):
        raise Refusal("ORIGIN", f"It is of the log {origin[:80]!r}, which the trust file has not.")
    signers = _signers(text, lines, [key for key in trust.logs if key.name == origin])
    if not signers:
        raise Refusal("UNKNOWN_KEY", f"No trusted key of the log {origin} signed it.")
    return Checkpoint(origin, size, root, signers, _signers(text, lines, trust.witnesses))


def _open_note(data: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """The text of a note, and of each of its lines the name and what was signed."""
    if len(data) > _MAX_NOTE_BYTES:
        raise Refusal("NOTE_MALFORMED", f"A note has at most {_MAX_NOTE_BYTES} bytes.")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise Refusal("NOTE_MALFORMED", "The note is not UTF-8.") from None
    head, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n") or _CONTROL.search(whole):
        raise Refusal("NOTE_MALFORMED", "A note is a text, a blank line, and signature lines.")
    lines = tail[:-1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise Refusal("NOTE_MALFORMED", f"The note has more than {_MAX_SIGNATURES} signatures.")
    return head + "\n", [_signature_line(line) for line in lines]


def _signature_line(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    data = _from_base64(parts[-1])
    is_line = len(parts) == 3 and parts[0] == "—" and data is not None and len(data) > 4
    if not is_line or data is None or not parts[1] or _BAD_NAME.search(parts[1]):
        raise Refusal("NOTE_MALFORMED", f"{line[:80]!r} is no signature line.")
    return parts[1], data


def _parse_checkpoint(text: str) -> tuple[str, int, bytes]:
    lines = text.split("\n")
    root = _from_base64(lines[2]) if len(lines) == 4 else None
    if root is None or len(root) != 32 or lines[3] or not lines[0]:
        raise Refusal("NOTE_MALFORMED", "A checkpoint is three lines: origin, size, root.")
    if not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]) or int(lines[1]) > _MAX_SIZE:
        raise Refusal("NOTE_MALFORMED", f"{lines[1][:30]!r} is no size of a tree.")
    return lines[0], int(lines[1]), root


def _signers(
    text: str, lines: list[tuple[str, bytes]], keys: Sequence[VerifierKey]
) -> tuple[VerifierKey, ...]:
    known = {(key.name, key.key_hash): key for key in keys}
    signed: list[VerifierKey] = []
    for name, data in lines:
        key = known.get((name, data[:4]))
        if key is None:
            continue
        if key in signed:
            raise Refusal("NOTE_MALFORMED", f"The key {key.name} signed twice.")
        if not _has_signed(key, text, data[4:]):
            raise Refusal("BAD_SIGNATURE", f"The signature of {key.name} does not hold.")
        signed.append(key)
    return tuple(signed)


def _has_signed(key: VerifierKey, text: str, data: bytes) -> bool:
    if key.algorithm == _ED25519:
        return verify_signature(key.public, text.encode(), data)
    seconds = int.from_bytes(data[:8], "big")
    message = f"cosignature/v1\ntime {seconds}\n{text}".encode()
    in_time = len(data) == 72 and seconds <= _MAX_SIZE
    return in_time and verify_signature(key.public, message, data[8:])


# --- The tree: RFC 9162 section 2.1 --------------------------------------------------------------


def leaf_hash(body: bytes) -> bytes:
    """SHA-256(0x00 ‖ body): the hash of an event."""
    return hashlib.sha256(b"\0" + body).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


class CompactRange:
    """The root over leaf hashes that are put in one by one; it keeps log₂(size) of them."""

    def __init__(self) -> None:
        self.size = 0
        self.nodes: list[bytes] = []
        """The roots of the complete subtrees, the largest first."""

    def append(self, leaf: bytes) -> None:
        """`leaf` is a hash of 32 bytes."""
        nodes, rest = self.nodes, self.size
        while rest & 1:
            leaf = _node(nodes.pop(), leaf)
            rest >>= 1
        nodes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree hash of what was put in."""
        return _fold(self.nodes) if self.nodes else hashlib.sha256().digest()


def _fold(nodes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees that become smaller."""
    root = nodes[-1]
    for node in reversed(nodes[:-1]):
        root = _node(node, root)
    return root


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Section 2.1.3.2. Raises `Refusal` unless `leaf` is at `index` of the tree."""
    if not 0 <= index < size:
        raise Refusal("INDEX_RANGE", f"A tree of {size} leaves has none of index {index}.")
    inner = (index ^ (size - 1)).bit_length()
    if len(proof) != inner + (index >> inner).bit_count():
        raise Refusal("PROOF_SHAPE", f"The proof of leaf {index} has {len(proof)} hashes.")
    for level, beside in enumerate(proof):
        is_right = level >= inner or index >> level & 1
        leaf = _node(beside, leaf) if is_right else _node(leaf, beside)
    if leaf != root:
        raise Refusal("ROOT_MISMATCH", f"Leaf {index} is not in the tree of the checkpoint.")


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Section 2.1.4.2. Raises `Refusal` unless the new tree begins with the old one."""
    if not 0 < old <= new:
        raise Refusal("INDEX_RANGE", f"No proof leads from {old} leaves to {new}.")
    level = (old & -old).bit_length() - 1
    index, last = old - 1 >> level, new - 1 >> level
    inner = (index ^ last).bit_length()
    border = (index >> inner).bit_count()
    is_known = old == 1 << level
    expected = 0 if old == new else inner + border + (not is_known)
    if len(proof) != expected:
        raise Refusal("PROOF_SHAPE", f"The proof has {len(proof)} hashes; it must have {expected}.")
    first, rest = (old_root, proof) if is_known or old == new else (proof[0], proof[1:])
    before = after = first
    for height, beside in enumerate(rest):
        if height >= inner or index >> height & 1:
            before, after = _node(beside, before), _node(beside, after)
        else:
            after = _node(after, beside)
    if (before, after) != (old_root, new_root):
        raise Refusal("INCONSISTENT", f"The log of {new} leaves does not begin with that of {old}.")


class _Proofs:
    """Leaves held against `log/proofs.json`."""

    def __init__(self, proofs: dict[int, list[bytes]], size: int, root: bytes) -> None:
        self._proofs, self._size, self._root = proofs, size, root

    def see(self, index: int, leaf: bytes) -> None:
        if index not in self._proofs:
            raise Refusal("PROOF_SHAPE", f"There is no proof of leaf {index}.", _PROOFS)
        verify_inclusion(leaf, index, self._size, self._proofs.pop(index), self._root)

    def finish(self) -> None:
        if self._proofs:
            surplus = min(self._proofs)
            raise Refusal("PROOF_SHAPE", f"Leaf {surplus} is proved and not there.", _PROOFS)


class _Tiles:
    """Leaves held against C2SP tlog-tiles of height 8; each tile is hashed once, at the end.

    A full tile is true if its root is the entry of the tile above; the partial ones, one a level,
    are true together, for the root of the tree follows from them. A partial tile with one entry
    may be left out: then it is the root of the tile below, or the leaf.
    """

    def __init__(self, tiles: dict[tuple[int, int], bytes], size: int, root: bytes) -> None:
        self._tiles, self._size, self._root = tiles, size, root
        self._alone: dict[int, bytes] = {}

    def see(self, index: int, leaf: bytes) -> None:
        if not 0 <= index < self._size:
            text = f"A tree of {self._size} leaves has none of index {index}."
            raise Refusal("INDEX_RANGE", text)
        tile = self._tiles.get((0, index >> 8))
        if tile is None:
            if index != self._size - 1 or index & 255:
                raise Refusal("PROOF_SHAPE", f"There is no tile with leaf {index}.")
            self._alone[index] = leaf
        elif tile[(index & 255) * 32 : (index & 255) * 32 + 32] != leaf:
            raise Refusal("ROOT_MISMATCH", f"Leaf {index} is not in the tree of the checkpoint.")

    def finish(self) -> None:
        for (level, number), tile in sorted(self._tiles.items()):
            if len(tile) == 256 * 32 and self._entry(level + 1, number) != _tile_root(tile):
                path = _tile_path(level, number, 256)
                raise Refusal("ROOT_MISMATCH", "The tile above holds another hash.", path)
        edges: list[bytes] = []
        level = 0
        while self._size >> 8 * level:
            entries = self._size >> 8 * level
            edge = CompactRange()
            for index in range(entries & ~255, entries):
                edge.append(self._entry(level, index))
            edges = edge.nodes + edges
            level += 1
        if not edges or _fold(edges) != self._root:
            raise Refusal("ROOT_MISMATCH", "The tiles are not those of the tree.", _CHECKPOINT)

    def _entry(self, level: int, index: int) -> bytes:
        """The root over 256^level leaves."""
        tile = self._tiles.get((level, index >> 8))
        if tile is not None:
            return tile[(index & 255) * 32 : (index & 255) * 32 + 32]
        if index & 255 == 0 and self._size >> 8 * level == index + 1:
            below = self._tiles.get((level - 1, index))
            if below is not None:
                return _tile_root(below)
            if level == 0 and index in self._alone:
                return self._alone[index]
        path = _tile_path(level, index >> 8, _tile_width(level, index >> 8, self._size))
        raise Refusal("PROOF_SHAPE", "The tile is needed, and missing.", path)


def _tile_root(tile: bytes) -> bytes:
    row = [tile[at : at + 32] for at in range(0, len(tile), 32)]
    while len(row) > 1:
        row = [_node(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def _tile_width(level: int, number: int, size: int) -> int:
    return min(max((size >> 8 * level) - number * 256, 0), 256)


def _tile_path(level: int, number: int, width: int) -> str:
    number, last = divmod(number, 1000)
    path = f"{last:03}"
    while number:
        number, part = divmod(number, 1000)
        path = f"x{part:03}/{path}"
    return f"log/tile/{level}/{path}" + ("" if width == 256 else f".p/{width}")


# --- Events and their chains ---------------------------------------------------------------------

_MEMBERS = {"actor", "at", "data", "log", "prev", "seq", "stream", "tenant", "type", "v", "via"}
_TEXTS = ("actor", "log", "prev", "stream", "tenant", "type")


def parse_event(body: bytes) -> Json:
    """The event of these bytes (without the newline of a pack). Raises `Refusal` NOT_JSON,
    NOT_CANONICAL or UNKNOWN_VERSION where they are none in its one form."""
    event = _read_json(body)
    if type(event) is not dict:
        raise Refusal("NOT_CANONICAL", "An event is an object.")
    version = event.get("v")
    if type(version) is int and version != 1:
        raise Refusal("UNKNOWN_VERSION", f"The event has version {version}; known here is 1.")
    if event.keys() != _MEMBERS or type(version) is not int:
        raise Refusal("NOT_CANONICAL", "An event has exactly the members that the page names.")
    for name in _TEXTS:
        if type(event[name]) is not str:
            raise Refusal("NOT_CANONICAL", f"{name} must be text.")
    via, data = event["via"], event["data"]
    others = type(event["seq"]) is int and type(data) is dict and _is_instant(event["at"])
    if not others or not (via is None or type(via) is str):
        raise Refusal("NOT_CANONICAL", "A member of the event is not of its type.")
    _check_profile(data, 2)
    return event


class Chain:
    """One stream, event by event: whose it is, that nothing is missing and nothing came between.

    `log` and `tenant` are those of the first event, unless they are given. The stream `log` is of
    no tenant.
    """

    def __init__(self, stream: str, log: str | None = None, tenant: str | None = None) -> None:
        self.stream, self.log, self.tenant = stream, log, tenant
        self.seq, self.hash, self.at = 0, ZERO_HASH, ""

    def see(self, event: Json, event_hash: str) -> None:
        """Raises `Refusal` CHAIN_BROKEN, CHAIN_GAP or CHAIN_FORK; `event_hash` is in hex."""
        self.log = event["log"] if self.log is None else self.log
        if self.tenant is None or self.stream == "log":
            self.tenant = event["tenant"]
        place = (event["stream"], event["log"], event["tenant"])
        if place != (self.stream, self.log, self.tenant):
            text = f"It is of {place}, in a stream of {(self.stream, self.log, self.tenant)}."
            raise Refusal("CHAIN_BROKEN", text)
        seq = event["seq"]
        if seq != self.seq:
            code = "CHAIN_GAP" if seq > self.seq else "CHAIN_FORK"
            raise Refusal(code, f"Its seq is {seq}; it should be {self.seq}.")
        if event["prev"] != self.hash:
            raise Refusal("CHAIN_BROKEN", "It does not link to the event before it.")
        if event["at"] < self.at:
            raise Refusal("CHAIN_BROKEN", "It is older than the event before it.")
        self.seq, self.hash, self.at = seq + 1, event_hash, event["at"]


# --- What may stand in an event ------------------------------------------------------------------

Check = Callable[[Any], bool]
Kind = type | frozenset[str] | Check


def _names(value: Any) -> bool:
    return type(value) is list and all(type(name) is str for name in value)


def _is_quorum(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_natural(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_tier(value: Any) -> bool:
    return type(value) is str and re.fullmatch("0|[1-9][0-9]?", value) is not None


def _is_flag(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"rule", "approvers", "quorum", "expires_s"}
        and type(value["rule"]) is str
        and _names(value["approvers"])
        and _is_quorum(value["quorum"])
        and (value["expires_s"] is None or type(value["expires_s"]) is int)
    )


def _flags(value: Any) -> bool:
    return type(value) is list and all(map(_is_flag, value))


def _is_tightened(value: Any) -> bool:
    if type(value) is not dict or value.get("decision") not in ("allow", "deny", "flag"):
        return False
    rules = value.get("rules_triggered", ["none"])
    known = {"decision", "policy_id", "policy_hash"}
    return (
        value.keys() - {"rules_triggered"} == known
        and type(value["policy_id"]) is str
        and _is_hash(value["policy_hash"])
        and _names(rules)
        and bool(rules)
    )


def _is_error_type(value: Any) -> bool:
    """A name, never a sentence, which could quote a value."""
    return type(value) is str and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,99}", value) is not None


_STATUS = frozenset({"pending", "running", "paused", "completed", "failed", "cancelled"})
_FINAL = frozenset({"completed", "failed", "cancelled"})
_EFFECT = frozenset({"allow", "deny", "flag"})
_ANSWER = frozenset({"approved", "rejected"})
_AFTER_ANSWER = frozenset({"pending", "approved", "rejected"})
_GATE_TYPE = frozenset({"human_approval", "policy_check", "timeout", "in_doubt"})

_CLOSING: dict[str, Kind] = {
    "gate_id": str,
    "gate_name": str,
    "receipt": dict,
    "receipt_hash": _is_hash,
    "step_id?": str,
}
_ANSWERING: dict[str, Kind] = _CLOSING | {
    "decision": _ANSWER,
    "gate_status": _AFTER_ANSWER,
    "reason?": str,
    "role?": str,
}
_ENDING: dict[str, Kind] = {
    "step_id": str,
    "attempt": int,
    "duration_ms": int,
    "receipt": dict,
    "receipt_hash": _is_hash,
}
_SHAPES: dict[str, dict[str, Kind]] = {
    "FC-RUN-001": {
        "run_id": str,
        "workflow_id": str,
        "workflow_version": str,
        "definition_hash?": _is_hash,
        "execution": frozenset({"managed", "external"}),
        "policy_mode": frozenset({"loose", "strict"}),
        "actor_kind?": str,
        "actor_roles?": _names,
        "input_hash": _is_hash,
        "metadata_hash": _is_hash,
        "tags?": _names,
        "parent_run_id?": str,
        "parent_step?": str,
        "parent_attempt?": _is_quorum,
        "restarted_from?": str,
        "sensitive?": bool,
        "correlation_id": str,
    },
    "FC-RUN-002": {
        "previous_status": _STATUS,
        "new_status": _STATUS - _FINAL,
        "reason?": str,
        "hold?": bool,
        "current_step?": str,
        "step_index?": int,
        "output_hash?": _is_hash,
    },
    "FC-RUN-003": {
        "previous_status": _STATUS,
        "new_status": _FINAL,
        "reason?": str,
        "error_code?": str,
        "error_hash?": _is_hash,
        "output_hash?": _is_hash,
        "current_step?": str,
        "step_index?": int,
        "workflow_receipt_hash": _is_hash,
    },
    "FC-POLICY-001": {
        "action": str,
        "step_id?": str,
        "step_type?": str,
        "attempt?": int,
        "gate_id?": str,
        "subject_hash?": _is_hash,
        "decision": _EFFECT,
        "reason": str,
        "policy_id": str,
        "policy_hash": _is_hash,
        "tier": _is_tier,
        "rules_triggered?": _names,
        "request_hash": _is_hash,
        "duration_us": _is_natural,
        "flags?": _flags,
        "covered_by?": _names,
        "tightened?": _is_tightened,
    },
    "FC-STEP-001": {
        "step_id": str,
        "step_type": str,
        "step_index": int,
        "attempt": int,
        "input_hash": _is_hash,
        "decision_hash": _is_hash,
        "idempotency_key": str,
        "node?": str,
        "again?": bool,
        "child_run_id?": str,
    },
    "FC-STEP-002": _ENDING | {"output_hash": _is_hash},
    "FC-STEP-003": _ENDING | {"error_type": _is_error_type, "error_hash?": _is_hash},
    "FC-STEP-004": {"step_id": str, "attempt": int, "not_before": _is_instant},
    "FC-STEP-005": {"step_id": str, "attempt": int},
    "FC-STEP-006": {"step_id": str, "reason": str},
    "FC-STEP-007": {"step_id": str, "items": int, "items_hash": _is_hash},
    "FC-STEP-008": {
        "step_id": str,
        "from_run": str,
        "attempt?": _is_quorum,
        "input_hash?": _is_hash,
        "output_hash?": _is_hash,
        "receipt?": dict,
        "receipt_hash?": _is_hash,
        "reason?": str,
    },
    "FC-GATE-001": {
        "gate_id": str,
        "step_id?": str,
        "gate_type": _GATE_TYPE,
        "gate_name": str,
        "description?": str,
        "required_approvers?": _names,
        "quorum?": _is_quorum,
        "input_schema_hash?": _is_hash,
        "expires_at?": _is_instant,
        "action?": str,
        "subject_hash?": _is_hash,
        "covers?": _names,
    },
    "FC-GATE-002": _ANSWERING,
    "FC-GATE-003": _ANSWERING | {"input_hash": _is_hash, "decision_receipt_id?": str},
    "FC-GATE-004": _CLOSING,
    "FC-GATE-005": _CLOSING | {"reason": str},
    "FC-AUTH-001": {
        "attempted": str,
        "refusal_code": str,
        "reason": str,
        "gate_id?": str,
        "step_id?": str,
        "actor_tenant?": str,
    },
    "FC-KEY-001": {
        "key": str,
        "key_signature": str,
        "previous_key": str,
        "previous_signature": str,
        "reason?": str,
    },
    "FC-DATA-001": {"payload_hashes": _names, "reason": str, "stream": str},
}
"""Event type → member → what it holds. `?` ends the name of a member that may be left out."""

_LEFT_OUT: Json = {
    "tags": [],
    "actor_roles": [],
    "hold": False,
    "rules_triggered": [],
    "flags": [],
    "covered_by": [],
    "again": False,
    "parent_attempt": 1,
    "sensitive": False,
    "description": "",
    "required_approvers": [],
    "quorum": 1,
    "covers": [],
}
"""What a member means that is left out, and so never says."""

_Shape = tuple[frozenset[str], dict[str, Kind]]
_READY: dict[str, _Shape] = {
    code: (
        frozenset(name for name in shape if not name.endswith("?")),
        {name.removesuffix("?"): kind for name, kind in shape.items()},
    )
    for code, shape in _SHAPES.items()
}
_OPTIONAL = {code: frozenset(_LEFT_OUT) - needed for code, (needed, _) in _READY.items()}


def _check_shape(code: str, data: Json) -> None:
    """Refuse what is not exactly the data of this event, so that nothing is passed over here that
    means something elsewhere."""
    ready = _READY.get(code)
    if ready is None:
        raise _illegal("no event of this type is known")
    needed, kinds = ready
    if not needed <= data.keys():
        raise _illegal(f"{min(needed - data.keys())} is missing")
    optional = _OPTIONAL[code]
    for name, value in data.items():
        kind = kinds.get(name)
        if kind is None:
            raise _illegal(f"it has no member {name}")
        if type(value) is not kind and not _is_of(kind, value):
            raise _illegal(f"{name} is not what it must be")
        if name in optional and value == _LEFT_OUT[name]:
            raise _illegal(f"{name} says nothing, and is left out then")


def _is_of(kind: Kind, value: Any) -> bool:
    if isinstance(kind, frozenset):
        return type(value) is str and value in kind
    return False if isinstance(kind, type) else kind(value)


def _illegal(why: str) -> Refusal:
    return Refusal("ILLEGAL_TRANSITION", why)


# --- The workflow, as far as a life is held against it -------------------------------------------

_STEP_TYPES = frozenset({"OBSERVE", "DECIDE", "GATE", "ACT", "TRANSFORM"})
_MAX_CONCURRENCY = 1_000
_MAX_ITEMS = 100_000
_RETRY = (
    ("max_attempts", 1),
    ("backoff_ms", 1_000),
    ("factor_pct", 200),
    ("max_backoff_ms", 60_000),
)


class _Number(str):
    """A number with a fraction or an exponent, as it stands in the text."""

    __slots__ = ()


def read_definition(data: bytes) -> Json | None:
    """The definition of a workflow as plain values, for `Life`; None where it is none. Fractions
    may stand in it, unlike in events; they are kept as they are written."""
    try:
        definition = json.loads(data, parse_float=_Number)
    except (ValueError, RecursionError):
        return None
    return definition if type(definition) is dict else None


def _as_written(value: Any) -> str:
    """The text of a part of a definition, which as a whole is in its RFC 8785 form."""
    if type(value) is dict:
        return "{" + ",".join(f"{_encode(k)}:{_as_written(v)}" for k, v in value.items()) + "}"
    if type(value) is list:
        return "[" + ",".join(map(_as_written, value)) + "]"
    return value if type(value) is _Number else _encode(value)


@dataclass(frozen=True)
class _Asked:
    """Whom and what the gate of a step asks; `schema` is the hash of the schema of its input."""

    name: str
    description: str
    approvers: list[str]
    quorum: int
    expires_s: int | None
    schema: str | None


@dataclass(frozen=True)
class _Spec:
    """One step of a definition. `backoff` is how many milliseconds it waits after its first
    attempt, by how many per cent of that after the next, and how many at most; `concurrency` is how
    many items it has at a time, 0 where it does not fan out; `child` None, or the workflow (and
    perhaps the version) of which a run executes it."""

    step_id: str
    step_type: str
    needs: tuple[str, ...]
    has_condition: bool
    max_attempts: int
    backoff: tuple[int, int, int]
    is_idempotent: bool
    is_sensitive: bool
    concurrency: int
    gate: _Asked | None
    child: tuple[str, str | None] | None

    @property
    def asks_nobody(self) -> bool:
        """Whether it is a GATE that only policy lets through, or people whom policy asks."""
        return self.step_type == "GATE" and self.gate is None


def _specs(definition: Json) -> list[_Spec]:
    """The steps of a definition in order. Raises `Refusal` where it is none."""
    steps = definition.get("steps")
    if type(steps) is not list:
        raise _illegal("the definition has no steps")
    specs = [_spec(step) for step in steps]
    if len({spec.step_id for spec in specs}) != len(specs):
        raise _illegal("the definition has a step twice")
    return specs


def _spec(step: Any) -> _Spec:
    if type(step) is not dict:
        raise _illegal("a step of the definition is no object")
    needs, gate, retry = step.get("needs", []), step.get("gate"), step.get("retry", {})
    retry = [retry.get(*known) for known in _RETRY] if type(retry) is dict else [None]
    concurrency = step.get("concurrency", 0)
    flags = (step.get("idempotent", False), step.get("sensitive", False))
    lawful = (
        type(step.get("id")) is str
        and type(step.get("type")) is str
        and step["type"] in _STEP_TYPES
        and _names(needs)
        and all(map(_is_natural, retry))
        and all(type(flag) is bool for flag in flags)
        and (gate is None or _is_gate(gate))
        and type(concurrency) is int
        and _is_fan_out(step, concurrency)
    )
    if not lawful:
        raise _illegal("a step of the definition is not one")
    return _Spec(
        step_id=step["id"],
        step_type=step["type"],
        needs=tuple(needs),
        has_condition=step.get("when") is not None,
        max_attempts=retry[0] or 1,
        backoff=(retry[1], retry[2], retry[3]),
        is_idempotent=flags[0],
        is_sensitive=flags[1],
        concurrency=concurrency,
        gate=None if gate is None else _asked(gate),
        child=_child_work(step.get("work")),
    )


def _asked(gate: Json) -> _Asked:
    schema = gate.get("input_schema")
    try:
        text = _as_written(schema).encode("utf-8", "surrogatepass")
    except RecursionError:
        raise _illegal("a schema of the definition is nested too deep") from None
    return _Asked(
        name=gate["name"],
        description=gate.get("description", ""),
        approvers=gate.get("approvers", []),
        quorum=gate.get("quorum", 1),
        expires_s=gate.get("expires_s"),
        schema=None if schema is None else _sha256(text),
    )


def _is_fan_out(step: Json, concurrency: int) -> bool:
    """Whether the step says both what it is done for and how many at a time, or neither."""
    if "foreach" not in step:
        return "concurrency" not in step
    is_work = step["type"] != "GATE" and step.get("gate") is None
    return is_work and type(step["foreach"]) is str and 1 <= concurrency <= _MAX_CONCURRENCY


def _child_work(work: Any) -> tuple[str, str | None] | None:
    if type(work) is not dict or work.get("run") != "workflow":
        return None
    workflow, version = work.get("workflow"), work.get("version")
    if type(workflow) is not str or not (version is None or type(version) is str):
        raise _illegal("a step of the definition names no workflow")
    return workflow, version


def _is_gate(gate: Any) -> bool:
    if type(gate) is not dict:
        return False
    expires = gate.get("expires_s")
    is_time = expires is None or type(expires) is int
    is_told = _names([gate.get("name"), gate.get("description", "")])
    whom = _names(gate.get("approvers", [])) and _is_quorum(gate.get("quorum", 1))
    return whom and is_time and is_told


# --- The life of a run ---------------------------------------------------------------------------

_CHANGES = {
    ("pending", "running"),
    ("running", "running"),
    ("running", "paused"),
    ("paused", "running"),
}
_AFTER_THE_END = ("FC-POLICY-001", "FC-AUTH-001")
_LEAVING = {"run.cancel": "cancelled", "run.fail": "failed"}
_SEVERITY = {"allow": 0, "flag": 1, "deny": 2}
_ENGINE = "engine"
_SYSTEM = ("system", None)
_OF_ENGINE = ("run.start", "run.complete")
"""What the server itself asks policy about a managed run, besides its steps."""
_CUT_SHORT = frozenset({"expression_failed", "invalid_input", "too_large", "value_missing"})
"""Why the server gives a managed run up of which it cannot compute what comes next: the values that
were in the way stand in no event."""
_NO_INPUT = _value_hash({})
_PAYLOADS = (
    "input_hash",
    "metadata_hash",
    "output_hash",
    "error_hash",
    "input_schema_hash",
    "subject_hash",
    "items_hash",
)
_ITEM = re.compile(r"([^\[\]]+)\[(0|[1-9][0-9]{0,5})\]")


_Who = tuple[str, str | None]
"""An actor, and through whom they act."""


class _Step:
    """`state`: pending, flagged, permitted, running, waiting (at its own gate), in_doubt, fanned
    (its items are under way), completed, failed, denied or skipped. `input` and `decision` are what
    was allowed, and `by` to whom; `output` and `receipt` what came of it, in this run or in
    `origin`, from which it was carried over. The last attempt was to wait for `delay` milliseconds,
    until `not_before`."""

    __slots__ = (
        "attempt",
        "by",
        "decision",
        "delay",
        "gate",
        "index",
        "input",
        "not_before",
        "origin",
        "output",
        "receipt",
        "started_at",
        "state",
        "step_id",
        "step_type",
    )

    def __init__(self, step_id: str, step_type: str, index: int) -> None:
        self.step_id, self.step_type, self.index = step_id, step_type, index
        self.state, self.attempt = "pending", 1
        self.input = self.decision = self.started_at = ""
        self.output = self.receipt = self.origin = self.not_before = ""
        self.by: _Who = ("", None)
        self.delay = 0
        self.gate: _Gate | None = None

    @property
    def is_satisfied(self) -> bool:
        return self.state in ("completed", "skipped")


class _Fan:
    """The items of a step. They are opened in their order, `concurrency` at first, and one more
    with each that completes; `attempts` are those of completed ones where they are not 1."""

    __slots__ = ("attempts", "completed", "concurrency", "done", "first_index", "items", "opened")

    def __init__(self, items: int, first_index: int, concurrency: int) -> None:
        self.items, self.first_index, self.concurrency = items, first_index, concurrency
        self.opened = self.done = 0
        self.completed = bytearray(items)
        self.attempts: dict[int, int] = {}


class _Gate:
    __slots__ = ("approvals", "asked", "asked_by", "at", "input", "status", "step_id")

    def __init__(self, asked: Json, event: Json) -> None:
        self.asked, self.at, self.step_id = asked, event["at"], asked.get("step_id")
        self.asked_by = _who(event)
        self.status = "pending"
        self.approvals: list[str] = []
        self.input: str | None = None

    @property
    def approvers(self) -> list[str]:
        return list(self.asked.get("required_approvers", ()))

    @property
    def quorum(self) -> int:
        return int(self.asked.get("quorum", 1))

    @property
    def is_passed(self) -> bool:
        return self.status in ("approved", "bypassed")

    def is_due(self, at: str) -> bool:
        return "expires_at" in self.asked and at >= self.asked["expires_at"]

    def covers(self, flag: Json, about: tuple[Any, ...]) -> bool:
        """Whether people passed it about the same rule, action, step and input, and the same
        people were asked as the flag asks."""
        asked = self.asked
        return (
            self.is_passed
            and (asked.get("action"), self.step_id, asked.get("subject_hash")) == about
            and flag["rule"] in asked.get("covers", ())
            and flag["approvers"] == self.approvers
            and flag["quorum"] == self.quorum
        )


_OF_ITS_RUN = {"decision_hash", "ended_at", "prev_receipt_hash", "started_at"}
_CARRIED = {"step_id", "from_run", "attempt", "input_hash", "output_hash", "receipt_hash"}


@dataclass
class _Child:
    """An attempt of a step that a run of its own executes, and how the step ended."""

    run_id: str
    workflow: str
    version: str | None
    input: str
    is_sensitive: bool
    end: str | None = None
    output: str | None = None


def _who(event: Json) -> _Who:
    return (event["actor"], event["via"])


def _took(begin: str, end: str) -> int:
    """Whole milliseconds."""
    span = datetime.fromisoformat(end) - datetime.fromisoformat(begin)
    return span // timedelta(milliseconds=1)


def _milliseconds(instant: str) -> str:
    """Since the epoch, as 12 hex digits."""
    since = datetime.fromisoformat(instant) - datetime.fromisoformat("1970-01-01T00:00:00Z")
    return f"{since // timedelta(milliseconds=1):012x}"


def _child_id(parent: str, step_id: str, attempt: int, milliseconds: str) -> str | None:
    """The id of the run that executes this attempt: a UUIDv7 of when its step was started, its bits
    of chance the first 74 of a hash. None where those are no milliseconds."""
    if re.fullmatch("[0-9a-f]{12}", milliseconds) is None:
        return None
    told = "\0".join(("fc/child/v1", parent, step_id, str(attempt))).encode("utf-8", "replace")
    bits = int(_sha256(told), 16) >> 182
    digits = f"{milliseconds}7{bits >> 62:03x}{0b10 << 62 | bits & (1 << 62) - 1:016x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class Life:
    """One run, event by event. Refuses what the state machine does not have.

    `definition` is the workflow of a managed run as plain values, None for one that a client
    executes. The events are those of one stream in order, as `parse_event` gives them: `Chain`
    watches over that, and this over what they tell.

    `references` has every payload hash of the run, and whether it is of a sensitive step; `salted`
    are those that must be salted, `lists` says of those that a step fans out over how many items
    they must have, and `said` of outputs of GATE steps who approved and the hash of what they gave.
    `policies` has every bundle hash, `untightened` the bundles that let something through in a
    strict run, and the first event in which they did; `decisions`, `approvals` and `bypasses`
    count.
    """

    def __init__(self, definition: Json | None) -> None:
        self._definition = definition
        self._specs: dict[str, _Spec] = {}
        self._is_sensitive = False
        self._born: Json = {}
        self._by: _Who = ("", None)
        self._before: _Who | None = None
        self._is_admitted = False
        self._tenant = ""
        self._count = 0
        self._first = self._last = ZERO_HASH
        self._at = ""
        self._receipts: list[str] = []
        self._receipt: Json | None = None
        self._steps: dict[str, _Step] = {}
        self._fans: dict[str, _Fan] = {}
        self._next_index = 0
        self._timeout_ms: int | None = None
        self._deadline: str | None = None
        self._gates: dict[str, _Gate] = {}
        self._open = 0
        self._in_flight = 0
        self._unsatisfied = 0
        self._unmet: dict[str, int] = {}
        self._dependants: dict[str, list[str]] = {}
        self._held = False
        self._doom: tuple[str, str | None] | None = None
        self._cleared: tuple[str, str, str | None, _Who, str | None] | None = None
        self._leave: tuple[str, _Who, str | None] | None = None
        self._is_carrying = False
        self._abandoned = False
        self._output: str | None = None
        self._children: dict[tuple[str, int], _Child] = {}
        self._flagged: dict[tuple[Any, ...], list[Json]] = {}
        self._spent: set[str] = set()
        self.status = "pending"
        self.run_id = ""
        self.policies: dict[str, None] = {}
        self.references: dict[str, bool] = {}
        self.salted: set[str] = set()
        self.lists: dict[str, int] = {}
        self.said: dict[str, tuple[list[str], str | None]] = {}
        self.untightened: dict[tuple[str, ...], int] = {}
        self.decisions = {"allow": 0, "deny": 0, "flag": 0}
        self.approvals = self.bypasses = 0

    @property
    def ended(self) -> bool:
        return self.status in _FINAL

    @property
    def definition_hash(self) -> str | None:
        digest: str | None = self._born.get("definition_hash")
        return digest

    def receipt(self) -> Json | None:
        """The workflow receipt, once the run has ended."""
        return self._receipt

    def see(self, event: Json, event_hash: str) -> None:
        """The next event and its hash in hex. Raises `Refusal`, after which this is of no use."""
        code, data = event["type"], event["data"]
        try:
            _check_shape(code, data)
            handler = self._HANDLERS.get(code)
            if handler is None:
                raise _illegal("it is no event of a run")
            if (code == "FC-RUN-001") != (self._count == 0):
                raise _illegal("a run begins with its creation, and is created once")
            if self.status in _FINAL and code not in _AFTER_THE_END:
                raise _illegal(f"the run is {self.status}")
            self._is_carrying &= code == "FC-STEP-008"
            self._check_actor(event, code)
            if self._count and not self._is_carrying:
                self._admitted(event, code, data)
            handler(self, event, data, event_hash)
        except Refusal as e:
            text = f"Event {event['seq']} ({code[:20]}) cannot be: {e.message}."
            raise Refusal(e.code, text, e.file) from None
        if code not in ("FC-STEP-003", "FC-POLICY-001"):
            self._leave = None
        self._refer(code, data)
        self._count += 1
        self._last, self._at = event_hash, event["at"]
        self._before = None if code == "FC-AUTH-001" else _who(event)

    # who acts

    @property
    def _engine(self) -> _Who:
        """As whom the server takes a managed run on: for who started it."""
        return (self._by[0], _ENGINE)

    def _check_actor(self, event: Json, code: str) -> None:
        """What has one author is by that one."""
        who = _who(event)
        if not event["actor"] or event["via"] == "":
            raise _illegal("somebody does it, and through nobody or somebody")
        if code == "FC-STEP-008":
            lawful: tuple[_Who | None, ...] = (self._by,)
        elif code == "FC-GATE-004":
            lawful = (_SYSTEM,)
        elif code.startswith("FC-STEP") and self._count and self._is_managed:
            # What is under way when a run ends is cut off by whoever ends it.
            cut_off = code == "FC-STEP-003"
            lawful = (self._engine, self._before) if cut_off else (self._engine,)
        else:
            return
        if who not in lawful:
            raise _illegal(f"it is not {event['actor'][:60]} who does that")

    def _need_same(self, event: Json) -> None:
        """The event is a consequence of the one before it, and so by the same actor."""
        if _who(event) != self._before:
            raise _illegal("it follows from the event before it, and is by another actor")

    # what the run holds

    def _refer(self, code: str, data: Json) -> None:
        for name in _PAYLOADS:
            if name in data:
                digest = data[name]
                is_secret = self._is_sensitive and self._is_secret(code, name, data)
                self.references[digest] = self.references.get(digest, False) or is_secret
                if is_secret and self._is_salted(code, name, data):
                    self.salted.add(digest)

    def _is_salted(self, code: str, name: str, data: Json) -> bool:
        """Whether a payload that may be withheld must be salted: not everything is that comes of a
        child run, of a run that has one, or of a client who ends a run."""
        if code == "FC-RUN-001":
            return True
        if code == "FC-RUN-003" or data.get("action") == "run.complete":
            inside = any(spec.is_sensitive for spec in self._specs.values())
            completes = data.get("new_status", "completed") == "completed"
            return completes and (inside or "sensitive" in self._born)
        spec = self._spec_of(data["step_id"])
        plain = spec is not None and spec.asks_nobody and name == "output_hash"
        return spec is not None and spec.is_sensitive and not plain

    def _is_secret(self, code: str, name: str, data: Json) -> bool:
        """Whether a payload is withheld as one of a sensitive step; what comes of the whole run
        counts as one where any step is sensitive."""
        if code == "FC-RUN-001":
            return name == "input_hash" and "sensitive" in self._born
        if code == "FC-RUN-003":
            return name == "output_hash" or (name == "error_hash" and "error_code" in data)
        if code == "FC-POLICY-001":  # where the subject of a gate stands before the gate's
            if data["action"] == "run.complete":
                return True
        elif not code.startswith("FC-STEP"):
            return False
        spec = self._spec_of(data["step_id"]) if "step_id" in data else None
        of_child = spec is not None and spec.child is not None and name == "output_hash"
        return spec is not None and (spec.is_sensitive or of_child)

    def _need_allow(
        self, event: Json, action: str, gate_id: str | None = None, about: str | None = None
    ) -> None:
        """The event before must be policy's allow of `action` for the same actor, with a value of
        this hash."""
        allow = (event["prev"], action, gate_id, _who(event))
        if self._cleared is None or self._cleared[:4] != allow:
            raise _illegal(f"the event before it is no allow of {action} for its actor")
        if self._cleared[4] != about:
            raise _illegal(f"{action} was allowed with another value")

    # the run

    def _created(self, event: Json, data: Json, event_hash: str) -> None:
        if event["stream"] != f"run:{data['run_id']}":
            raise _illegal("its stream names another run")
        self._born, self._first = data, event_hash
        self._by, self._tenant = _who(event), event["tenant"]
        self.run_id = data["run_id"]
        self._check_kin(data)
        self._is_carrying = "restarted_from" in data
        if data["execution"] == "managed":
            self._plan(data)

    def _admitted(self, event: Json, code: str, data: Json) -> None:
        """Right after its birth, and once, a run is put to policy, by who started it and with its
        input."""
        if self._is_admitted:
            if code == "FC-POLICY-001" and data["action"] == "run.create":
                raise _illegal("the birth of the run was decided about already")
            return
        asked = (code, data.get("action"), data.get("step_id"), data.get("gate_id"))
        if asked != ("FC-POLICY-001", "run.create", None, None) or _who(event) != self._by:
            raise _illegal("before anything else policy decides about the birth of the run")
        if data.get("subject_hash") != self._born["input_hash"]:
            raise _illegal("the birth that was decided about is one with another input")
        self._is_admitted = True

    def _check_kin(self, data: Json) -> None:
        """A run that executes a step of another is called after it, and is no restart."""
        managed, step_id = data["execution"] == "managed", data.get("parent_step")
        if "restarted_from" in data and (not managed or step_id is not None):
            raise _illegal("only a managed run that executes no step restarts another")
        if step_id is None:
            odd = "sensitive" in data and "restarted_from" not in data
            if "parent_attempt" in data or odd:
                raise _illegal("it says something of a step that it does not execute")
            return
        if not managed or "parent_run_id" not in data:
            raise _illegal("it executes a step of no run")
        about = (data["parent_run_id"], step_id, data.get("parent_attempt", 1))
        if self.run_id != _child_id(*about, self.run_id[:13].replace("-", "")):
            raise _illegal("its id is not that of a run that executes this step")

    def _plan(self, data: Json) -> None:
        definition = self._definition
        if definition is None or "definition_hash" not in data:
            path = f"workflow/{data.get('definition_hash')}/definition.json"
            raise Refusal("FILE_MISSING", "the definition of a managed run is missing", path)
        named = (definition.get("id"), definition.get("version"))
        if named != (data["workflow_id"], data["workflow_version"]):
            raise _illegal("the definition is another workflow's")
        for index, spec in enumerate(_specs(definition)):
            self._specs[spec.step_id] = spec
            self._steps[spec.step_id] = _Step(spec.step_id, spec.step_type, index)
            self._unmet[spec.step_id] = len(spec.needs)
            for need in spec.needs:
                self._dependants.setdefault(need, []).append(spec.step_id)
        self._unsatisfied = self._next_index = len(self._specs)
        self._timeout_ms = _timeout_of(definition)
        inside = any(s.is_sensitive or s.child is not None for s in self._specs.values())
        self._is_sensitive = inside or data.get("sensitive", False)

    @property
    def _is_managed(self) -> bool:
        return bool(self._born["execution"] == "managed")

    def _changed(self, event: Json, data: Json, _hash: str) -> None:
        old, new = data["previous_status"], data["new_status"]
        if old != self.status or (old, new) not in _CHANGES:
            raise _illegal(f"the run is {self.status}, and there is no change from {old} to {new}")
        given = data.get("output_hash")
        if new == "running":
            self._resumed(event, old, given)
        elif data.get("hold"):
            self._need_allow(event, "run.pause", about=given)
        elif not self._open:
            raise _illegal("no gate is pending")
        else:
            self._need_same(event)
        self._held = bool(data.get("hold"))
        self.status = new
        if old == "pending" and self._timeout_ms is not None:
            self._deadline = _later(event["at"], 0, self._timeout_ms)

    def _is_late(self, event: Json) -> bool:
        """Whether the run is past its timeout, so that nothing of it is begun any more."""
        return self._deadline is not None and bool(event["at"] >= self._deadline)

    def _resumed(self, event: Json, old: str, given: str | None) -> None:
        if self._open:
            raise _illegal("a gate is pending")
        if self._doom:
            raise _illegal("what was denied or refused is final")
        if old == "running" and self._is_managed:
            raise _illegal("a managed run reports no progress")
        if old == "pending":
            subject = self._born["input_hash"] if self._is_managed else given
            self._need_allow(event, "run.start", about=subject)
            self._need_birth()
        elif old == "running" or self._held:
            self._need_allow(event, "run.resume", about=given)
        else:
            self._need_same(event)

    def _need_birth(self) -> None:
        """What policy flagged about the birth, people let through; it is not decided again."""
        about = ("run.create", None, self._born["input_hash"])
        for flag in self._flagged.get(about, ()):
            if not any(gate.covers(flag, about) for gate in self._gates.values()):
                text = f"no gate was passed for the flag {flag['rule'][:60]!r} of its birth"
                raise Refusal("MISSING_APPROVAL", text)

    def _ended(self, event: Json, data: Json, _hash: str) -> None:
        new = data["new_status"]
        if data["previous_status"] != self.status:
            raise _illegal(f"the run is {self.status}")
        if self._in_flight:
            raise _illegal("steps are in flight")
        if new == "completed":
            self._completes(event, data)
        elif not self._may_leave(event, data):
            raise _illegal(f"nothing that stands before it ends the run as {new}")
        receipt = self._workflow_receipt(new)
        if data["workflow_receipt_hash"] != _value_hash(receipt):
            raise Refusal("RECEIPT_MISMATCH", "its workflow receipt tells something else")
        self.status, self._receipt = new, receipt
        self._output = data.get("output_hash")

    def _completes(self, event: Json, data: Json) -> None:
        if self.status != "running" or self._open or self._doom:
            raise _illegal("only a running run completes, at no gate and with nothing denied")
        if self._unsatisfied:
            raise _illegal("steps have not ended")
        if self._is_late(event):
            raise _illegal("the run is past its timeout")
        if "error_code" in data or "error_hash" in data:
            raise _illegal("a run that completes tells of no error")
        self._need_allow(event, "run.complete", about=data.get("output_hash"))

    def _may_leave(self, event: Json, data: Json) -> bool:
        """A run is cancelled by somebody who was allowed to, and fails so too, or of itself."""
        new, code, who = data["new_status"], data.get("error_code"), _who(event)
        if self._leave is not None and _LEAVING[self._leave[0]] == new:
            told = None if new == "cancelled" else "reported"
            theirs = new == "cancelled" or not self._is_managed
            if theirs and (who, data.get("output_hash"), told) == (*self._leave[1:], code):
                return True
        if new == "cancelled":
            orphan = code == "parent_ended" and "parent_step" in self._born
            self._abandoned = orphan and who == self._engine
            return self._abandoned
        by_engine = self._is_managed and who == self._engine
        if by_engine and code == "run_timeout":
            return self._is_late(event)
        if by_engine and code in _CUT_SHORT:
            return True
        return self._doom is not None and code == self._doom[0] and who in self._enders()

    def _enders(self) -> tuple[_Who | None, ...]:
        """A run that is failing ends with what happens next, or when the server looks at it."""
        return (self._before, self._engine) if self._is_managed else (self._before,)

    def _workflow_receipt(self, outcome: str) -> Json:
        born = self._born
        return {
            "definition_hash": born.get("definition_hash"),
            "event_count": self._count,
            "first_event_hash": self._first,
            "last_event_hash": self._last,
            "outcome": outcome,
            "policy_hashes": list(self.policies),
            "receipt_chain": list(self._receipts),
            "run_id": self.run_id,
            "tenant": self._tenant,
            "v": 1,
            "workflow_id": born["workflow_id"],
            "workflow_version": born["workflow_version"],
        }

    def _attempted(self, _event: Json, _data: Json, _hash: str) -> None:
        """An attempt that was refused changes nothing."""

    # policy

    def _decided(self, event: Json, data: Json, event_hash: str) -> None:
        effect, action, step_id = data["decision"], data["action"], data.get("step_id")
        self.decisions[effect] += 1
        self.policies[data["policy_hash"]] = None
        self._leave = None
        self._check_principal(event, action)
        self._tighten(event, data)
        if effect == "flag" and "flags" not in data:
            raise _illegal("a flag says what it flags")
        self._cover((action, step_id, data.get("subject_hash")), data)
        if action.startswith("step."):
            if step_id is None or "gate_id" in data:
                raise _illegal("a decision about a step names it, and no gate")
            if self._is_late(event):
                raise _illegal("the run is past its timeout")
            self._step_decided(event, data, step_id, event_hash)
        elif effect == "allow":
            who, subject = _who(event), data.get("subject_hash")
            self._cleared = (event_hash, action, data.get("gate_id"), who, subject)
            if action in _LEAVING:
                self._leave = (action, who, subject)
        elif effect == "deny" and self._is_fatal(action):
            self._doom = self._doom or ("policy_denied", None)

    def _check_principal(self, event: Json, action: str) -> None:
        """A managed run goes on for who started it, and policy is asked about nobody else."""
        is_step = action.startswith("step.")
        own = self._is_managed and (is_step or action in _OF_ENGINE)
        if own and _who(event) != self._engine:
            code = "STEP_WITHOUT_ALLOW" if is_step else "ILLEGAL_TRANSITION"
            raise Refusal(code, "it is a decision about another actor than who started the run")

    def _tighten(self, event: Json, data: Json) -> None:
        """Of two answers the more restrictive one decides."""
        own, other = data["policy_hash"], data.get("tightened")
        asked = (own,) if other is None else (own, other["policy_hash"])
        if ZERO_HASH in asked and (data["decision"] != "deny" or other is not None):
            raise _illegal("where no bundle is asked, the answer is no")
        if self._born["policy_mode"] == "strict" and data["decision"] != "deny":
            self.untightened.setdefault(asked, event["seq"])
        if other is None:
            return
        self.policies[other["policy_hash"]] = None
        told = "flag" if "flags" in data and data["decision"] == "allow" else data["decision"]
        if _SEVERITY[told] < _SEVERITY[other["decision"]]:
            raise _illegal("the other bundle was more restrictive, and decides")

    def _is_fatal(self, action: str) -> bool:
        if self.ended:
            return False
        of_engine = self._is_managed and action in ("run.start", "run.complete")
        return action == "run.create" or of_engine

    def _cover(self, about: tuple[Any, ...], data: Json) -> None:
        """An allow answers for each of its flags with a gate that people passed, and names no
        other; each passing is used once, or for the retries of one step."""
        flags = data.get("flags", ())
        if data["decision"] == "flag":
            self._flagged[about] = flags
        if data["decision"] != "allow":
            flags = ()
        named = data.get("covered_by", ())
        gates = [self._passed_gate(gate_id) for gate_id in named]
        for gate in gates:
            if not any(gate.covers(flag, about) for flag in flags):
                raise Refusal("MISSING_APPROVAL", "a gate that it names does not cover it")
        for flag in flags:
            if not any(gate.covers(flag, about) for gate in gates):
                text = f"no gate was passed for its flag {flag['rule'][:60]!r}"
                raise Refusal("MISSING_APPROVAL", text)
        if about[1] is None or not self._is_managed:
            self._spent.update(named)

    def _passed_gate(self, gate_id: str) -> _Gate:
        gate = self._gates.get(gate_id)
        if gate is None:
            raise Refusal("MISSING_APPROVAL", "there is no gate that it names")
        if gate_id in self._spent:
            raise Refusal("MISSING_APPROVAL", "the passing of a gate was used already")
        return gate

    # steps

    def _step_decided(self, event: Json, data: Json, step_id: str, event_hash: str) -> None:
        if self.status != "running" or self._doom:
            raise _illegal(f"the run is {'failing' if self._doom else self.status}")
        if step_id in self._specs and self._specs[step_id].concurrency:
            raise _illegal("its items are decided about, and not the step")
        step = self._find(step_id)
        if step is None:
            if self._is_managed:
                raise _illegal("the workflow has no such step")
            step = _Step(step_id, data.get("step_type", ""), len(self._steps))
            self._steps[step_id] = step
        told = (data.get("step_type"), data["action"], data.get("attempt"))
        if told != (step.step_type, f"step.{step.step_type.lower()}", step.attempt):
            raise _illegal("the type, the action or the attempt is another's")
        if step.state not in ("pending", "flagged") or self._unmet.get(step_id):
            raise _illegal(f"the step is {step.state}, or steps that it needs have not ended")
        if "subject_hash" not in data:
            raise _illegal("a decision about a step names its input")
        # A clock that was set back stands still in a stream, and nothing waits for it.
        if event["at"] < step.not_before and event["at"] != self._at:
            raise _illegal(f"the attempt is not made before {step.not_before}")
        step.input, step.decision, step.by = data["subject_hash"], event_hash, _who(event)
        if data["decision"] == "deny":
            self._doom = ("policy_denied", step_id)
        self._put(step, {"allow": "permitted", "flag": "flagged"}.get(data["decision"], "denied"))

    def _put(self, step: _Step, state: str) -> None:
        moving = ("permitted", "running")
        self._in_flight += (state in moving) - (step.state in moving)
        satisfied = step.is_satisfied
        step.state = state
        if step.is_satisfied and not satisfied and self._is_managed:
            self._ended_well(step)

    def _ended_well(self, step: _Step) -> None:
        """What waits for it may go on; where it is an item, another one is opened."""
        place = self._item(step.step_id)
        if place is None:
            self._unsatisfied -= 1
            for dependant in self._dependants.get(step.step_id, ()):
                self._unmet[dependant] -= 1
            return
        parent, index = place
        fan = self._fans[parent]
        fan.done += 1
        fan.completed[index] = True
        if step.attempt != 1:
            fan.attempts[index] = step.attempt
        del self._steps[step.step_id]
        self._open_items(self._steps[parent], fan)

    def _item(self, step_id: str) -> tuple[str, int] | None:
        """The step that has fanned out and the index that the id of an item names."""
        match = _ITEM.fullmatch(step_id) if self._fans else None
        return (match[1], int(match[2])) if match and match[1] in self._fans else None

    def _spec_of(self, step_id: str) -> _Spec | None:
        place = self._item(step_id)
        return self._specs.get(place[0] if place else step_id)

    def _find(self, step_id: str) -> _Step | None:
        """The step of this id. Of a completed item only what may still be asked is known."""
        step = self._steps.get(step_id)
        place = self._item(step_id) if step is None else None
        if place is None:
            return step
        fan, index = self._fans[place[0]], place[1]
        if index >= fan.items or not fan.completed[index]:
            return None
        step = _Step(step_id, self._steps[place[0]].step_type, fan.first_index + index)
        step.state, step.attempt = "completed", fan.attempts.get(index, 1)
        return step

    def _fanned_out(self, event: Json, data: Json, _hash: str) -> None:
        step, items = self._known(data, "pending"), data["items"]
        spec = self._specs.get(step.step_id)
        if spec is None or not spec.concurrency:
            raise _illegal("the workflow does not let this step fan out")
        if self.status != "running" or self._doom or self._unmet.get(step.step_id):
            raise _illegal("the run does not go on, or steps that it needs have not ended")
        if self._is_late(event):
            raise _illegal("the run is past its timeout")
        if not 0 <= items <= _MAX_ITEMS:
            raise _illegal(f"a step fans out over at most {_MAX_ITEMS} items")
        if self.lists.setdefault(data["items_hash"], items) != items:
            raise _illegal("the same list had another number of items before")
        fan = self._fans[step.step_id] = _Fan(items, self._next_index, spec.concurrency)
        self._next_index += items
        self._put(step, "fanned")
        self._open_items(step, fan)

    def _open_items(self, step: _Step, fan: _Fan) -> None:
        """The items that may be put to policy from now on; with the last, the step has ended."""
        for index in range(fan.opened, min(fan.items, fan.done + fan.concurrency)):
            step_id = f"{step.step_id}[{index}]"
            self._steps[step_id] = _Step(step_id, step.step_type, fan.first_index + index)
            fan.opened += 1
        if fan.done == fan.items:
            self._put(step, "completed")

    def _known(self, data: Json, *states: str) -> _Step:
        """The step of an event about it, which must be in one of `states`, at that attempt."""
        step = self._find(data["step_id"])
        if step is None:
            raise _illegal("there is no such step")
        if step.state not in states:
            raise _illegal(f"the step is {step.state}")
        if data.get("attempt", step.attempt) != step.attempt:
            raise _illegal(f"the step is at attempt {step.attempt}")
        return step

    def _started(self, event: Json, data: Json, _hash: str) -> None:
        step_id = data["step_id"]
        step, again = self._find(step_id), data.get("again", False)
        spec = self._spec_of(step_id)
        if self._doom:
            raise Refusal("STEP_WITHOUT_ALLOW", "something was denied or refused before")
        if step is None or step.state != ("running" if again else "permitted"):
            state = "unknown" if step is None else step.state
            raise Refusal("STEP_WITHOUT_ALLOW", f"no decision allows it: the step is {state}")
        if again and not (spec is not None and spec.is_idempotent):
            raise Refusal("STEP_WITHOUT_ALLOW", "its decision was used, and it is not idempotent")
        told = (data["step_type"], data["attempt"], data["input_hash"], data["decision_hash"])
        if told != (step.step_type, step.attempt, step.input, step.decision):
            text = "it is not the type, attempt and input that were allowed"
            raise Refusal("STEP_WITHOUT_ALLOW", text)
        if _who(event) != step.by:
            raise Refusal("STEP_WITHOUT_ALLOW", "it was allowed to another actor")
        if not again and self.status != "running":
            raise _illegal(f"the run is {self.status}")
        if self._is_late(event):
            raise _illegal("the run is past its timeout")
        key = f"{self.run_id}:{step_id}:{step.attempt}"
        if (data["step_index"], data["idempotency_key"]) != (step.index, key):
            raise _illegal("it is another step's index or key")
        if not again:
            step.started_at = event["at"]
        self._start_child(event, data, step)
        self._put(step, "running")

    def _start_child(self, event: Json, data: Json, step: _Step) -> None:
        """The event names the run that executes the step, where the workflow wants one."""
        spec, name = self._spec_of(step.step_id), None
        if spec is not None and spec.child is not None:
            if "again" in data:
                raise _illegal("a child run is not started again, but found")
            if "node" in data:
                raise _illegal("what a child run executes, no node does")
            at = _milliseconds(event["at"])
            name = _child_id(self.run_id, step.step_id, step.attempt, at)
            if name is None:
                raise _illegal("no id of a child run tells of that time")
            child = _Child(name, *spec.child, step.input, spec.is_sensitive)
            self._children[step.step_id, step.attempt] = child
        if data.get("child_run_id") != name:
            raise _illegal("it names another child run than its own")

    def _done(self, event: Json, data: Json, _hash: str) -> None:
        step = self._known(data, "running", "waiting", "in_doubt")
        spec = self._spec_of(step.step_id)
        if step.state == "running" and spec is not None and spec.gate is not None:
            raise Refusal("MISSING_APPROVAL", "its gate was never requested")
        open_still = step.gate is not None and not step.gate.is_passed
        if spec is not None and step.step_type == "GATE" and not open_still:
            self._check_said(step, spec, data["output_hash"])
        self._finish(event, data, step, "completed", data["output_hash"])

    def _check_said(self, step: _Step, spec: _Spec, output: str) -> None:
        """What comes of a GATE step is who approved, and what they gave with it."""
        gates, given = [step.gate] if step.gate else self._passed_about(step), None
        people = [person for gate in gates for person in gate.approvals]
        if step.gate is not None:
            given = step.gate.input
        if given is not None or (spec.is_sensitive and not spec.asks_nobody):
            fits = self.said.setdefault(output, (people, given)) == (people, given)
        else:
            said = {"approved": True, "approved_by": people, "input": None}
            fits = output == _value_hash(said)
        if not fits:
            raise Refusal("PAYLOAD_MISMATCH", "its output is not who approved")

    def _passed_about(self, step: _Step) -> list[_Gate]:
        return [g for g in self._gates.values() if g.step_id == step.step_id and g.is_passed]

    def _failed(self, event: Json, data: Json, _hash: str) -> None:
        step = self._known(data, "running", "waiting", "in_doubt")
        self._finish(event, data, step, "failed", None)
        if self._is_managed and self._doom is None:
            self._doom = ("step_failed", step.step_id)

    def _finish(self, event: Json, data: Json, step: _Step, end: str, output: str | None) -> None:
        if step.state != "running":
            self._need_own_gate(step)
        if data["duration_ms"] != _took(step.started_at, event["at"]):
            raise _illegal("it did not take as long as it says")
        facts = {
            "attempt": step.attempt,
            "decision_hash": step.decision,
            "ended_at": event["at"],
            "input_hash": step.input,
            "output_hash": output,
            "prev_receipt_hash": self._receipts[-1] if self._receipts else ZERO_HASH,
            "run_id": self.run_id,
            "started_at": step.started_at,
            "status": end,
            "step_id": step.step_id,
            "step_type": step.step_type,
            "v": 1,
        }
        self._take_receipt(data, facts)
        step.output, step.receipt = output or "", data["receipt_hash"]
        child = self._children.get((step.step_id, step.attempt))
        if child is not None:
            child.end, child.output = end, output
        self._put(step, end)

    def _need_own_gate(self, step: _Step) -> None:
        if step.gate is None or not step.gate.is_passed:
            raise Refusal("MISSING_APPROVAL", "the gate that the step waits at was not passed")

    def _take_receipt(self, data: Json, facts: Json) -> None:
        receipt, digest = data["receipt"], data["receipt_hash"]
        same = receipt == facts and all(type(receipt[n]) is type(facts[n]) for n in facts)
        if not same or _value_hash(facts) != digest:
            raise Refusal("RECEIPT_MISMATCH", "its receipt tells something else, or links wrongly")
        self._receipts.append(digest)

    def _retried(self, event: Json, data: Json, _hash: str) -> None:
        step = self._known(data | {"attempt": data["attempt"] - 1}, "failed", "in_doubt")
        spec, wait = self._spec_of(step.step_id), 0
        if spec is not None:
            step.delay = _following(step.delay, spec.backoff)
        if step.state == "in_doubt":
            self._need_own_gate(step)
        elif self._is_managed:
            if self._doom != ("step_failed", step.step_id):
                raise _illegal("the run is failing for another reason")
            if spec is None or step.attempt >= spec.max_attempts:
                raise _illegal("the step has no attempts left")
            self._doom, wait = None, min(step.delay, spec.backoff[2])
        if data["not_before"] < _later(event["at"], 0, wait):
            raise _illegal(f"the step waits for {wait} ms before its next attempt")
        step.attempt, step.gate = step.attempt + 1, None
        step.not_before = data["not_before"]
        self._put(step, "pending")

    def _doubted(self, _event: Json, data: Json, _hash: str) -> None:
        step = self._known(data, "running")
        spec = self._spec_of(step.step_id)
        if spec is None or spec.is_idempotent:
            raise _illegal("only a managed step that is not idempotent can be in doubt")
        step.gate = None
        self._put(step, "in_doubt")

    def _skipped(self, _event: Json, data: Json, _hash: str) -> None:
        step = self._known(data, "pending")
        spec = self._specs.get(step.step_id)
        if spec is None or not spec.has_condition:
            raise _illegal("the step has no condition")
        if self.status != "running" or self._doom or self._unmet.get(step.step_id):
            raise _illegal("the run does not go on, or steps that it needs have not ended")
        step.attempt = 0
        self._put(step, "skipped")

    def _carried(self, _event: Json, data: Json, _hash: str) -> None:
        """A step that ended well in the run from which this one was restarted. Whether it did, that
        run's own events tell: see `Kinship`."""
        if not self._is_carrying:
            raise _illegal("steps are carried over right after the creation of a restarted run")
        step = self._known(data | {"attempt": 1}, "pending")
        if self._unmet.get(step.step_id):
            raise _illegal("steps that it needs are not carried over")
        step.origin, step.attempt = data["from_run"], data.get("attempt", 0)
        receipt = data.get("receipt")
        if receipt is None:
            names = {"step_id", "from_run", "reason"}
            if data.keys() != names or not self._specs[step.step_id].has_condition:
                raise _illegal("the step was neither completed nor skipped")
            self._put(step, "skipped")
            return
        if "reason" in data or not data.keys() >= _CARRIED:
            raise _illegal("a step that was completed has its hashes, and no reason")
        if self._specs[step.step_id].concurrency:
            raise _illegal("a fan-out has no receipt to carry over")
        told = {
            "attempt": step.attempt,
            "input_hash": data["input_hash"],
            "output_hash": data["output_hash"],
            "run_id": step.origin,
            "status": "completed",
            "step_id": step.step_id,
            "step_type": step.step_type,
            "v": 1,
        }
        same = receipt.keys() == told.keys() | _OF_ITS_RUN and receipt.items() >= told.items()
        whole = same and all(type(receipt[name]) is int for name in ("attempt", "v"))
        if not whole or _value_hash(receipt) != data["receipt_hash"]:
            raise Refusal("RECEIPT_MISMATCH", "the receipt that it brings tells something else")
        step.output, step.receipt = data["output_hash"], data["receipt_hash"]
        self._put(step, "completed")

    def kin(self) -> "Kin":
        """What this run says of others, as far as it has come."""
        return Kin(
            run_id=self.run_id,
            tenant=self._tenant,
            by=self._by,
            born=self._born,
            status=self.status,
            output=self._output,
            abandoned=self._abandoned,
            children=self._children,
        )

    def carried(self) -> "dict[str, tuple[str, str, str, str]]":
        """The same as `results`, of the steps that were carried over."""
        done = self.results()
        return {s.step_id: done[s.step_id] for s in self._steps.values() if s.origin}

    def results(self) -> "dict[str, tuple[str, str, str, str]]":
        """Step → state, output, receipt, and the run that did it, of those that ended well."""
        return {
            s.step_id: (s.state, s.output, s.receipt, s.origin or self.run_id)
            for s in self._steps.values()
            if s.is_satisfied
        }

    # gates

    def _asked(self, event: Json, data: Json, _hash: str) -> None:
        if data["gate_id"] in self._gates:
            raise _illegal("the gate exists already")
        gate = _Gate(data, event)
        step = self._find(gate.step_id or "")
        if "action" in data or "covers" in data or "subject_hash" in data:
            self._need_same(event)
            self._asked_for_flags(event, gate)
        if data["gate_type"] == "in_doubt":
            if step is None or step.state != "in_doubt" or step.gate is not None:
                raise _illegal("no step is in doubt there, or people are asked about it already")
            self._need_same(event)
            step.gate = gate
        elif step is not None and step.state == "running" and self._is_gate_step(step):
            self._asked_by_step(event, gate, step)
        self._gates[data["gate_id"]] = gate
        self._open += 1

    def _is_gate_step(self, step: _Step) -> bool:
        return step.step_type == "GATE" and self._is_managed

    def _asked_for_flags(self, event: Json, gate: _Gate) -> None:
        """Such a gate comes of a flag, and asks as it does."""
        asked = gate.asked
        flags = self._flagged.get((asked.get("action"), gate.step_id, asked.get("subject_hash")))
        if flags is None or asked["gate_type"] != "policy_check" or not asked.get("covers"):
            raise _illegal("policy flagged nothing of the kind")
        for rule in asked["covers"]:
            if not any(self._asks_as(event, gate, flag) for flag in flags if flag["rule"] == rule):
                text = "it does not ask whom the flag asks for"
                raise Refusal("MISSING_APPROVAL", text)

    def _asks_as(self, event: Json, gate: _Gate, flag: Json) -> bool:
        expires = _expiry(event, flag["expires_s"])
        told = (gate.approvers, gate.quorum, gate.asked.get("expires_at"))
        return told == (flag["approvers"], flag["quorum"], expires)

    def _asked_by_step(self, event: Json, gate: _Gate, step: _Step) -> None:
        spec = self._specs[step.step_id].gate
        if spec is None:
            raise _illegal("the workflow asks nobody at this step")
        self._need_same(event)
        told = (gate.approvers, gate.quorum, gate.asked.get("expires_at"))
        if told != (spec.approvers, spec.quorum, _expiry(event, spec.expires_s)):
            raise Refusal("MISSING_APPROVAL", "the workflow asks other people at this step")
        asked = gate.asked
        what = (asked["gate_name"], asked.get("description", ""), asked.get("input_schema_hash"))
        if what != (spec.name, spec.description, spec.schema):
            raise _illegal("the workflow asks something else at this step")
        step.gate = gate
        self._put(step, "waiting")

    def _pending(self, data: Json) -> _Gate:
        gate = self._gates.get(data["gate_id"])
        if gate is None:
            raise _illegal("there is no such gate")
        if (data.get("step_id"), data["gate_name"]) != (gate.step_id, gate.asked["gate_name"]):
            raise _illegal("it names another gate's step, or name")
        if gate.status != "pending":
            raise Refusal("MISSING_APPROVAL", f"the gate is {gate.status}")
        return gate

    def _answered(self, event: Json, data: Json, _hash: str) -> None:
        gate, decision, given = self._pending(data), data["decision"], data.get("input_hash")
        self._check_answerer(event, gate, data.get("role"))
        self._need_allow(event, "gate.resolve", data["gate_id"])
        status = "rejected"
        if decision == "approved":
            if gate.approvals and given is not None and given != (gate.input or _NO_INPUT):
                raise _illegal("an earlier approval came with another input")
            gate.approvals.append(event["actor"])
            self.approvals += 1
            status = "approved" if len(gate.approvals) >= gate.quorum else "pending"
        if data["gate_status"] != status:
            text = f"{len(gate.approvals)} of {gate.quorum} approved"
            code = "MISSING_APPROVAL" if status == "pending" else "ILLEGAL_TRANSITION"
            raise Refusal(code, text)
        gate.input = given or gate.input
        self._close(event, data, gate, decision, status)

    def _check_answerer(self, event: Json, gate: _Gate, role: str | None) -> None:
        actor, via, approvers = event["actor"], event["via"], gate.approvers
        if actor in gate.approvals:
            raise Refusal("MISSING_APPROVAL", f"{actor[:60]} has answered already")
        if gate.is_due(event["at"]):
            raise Refusal("MISSING_APPROVAL", "the gate had expired")
        named = not approvers or actor in approvers
        if role is not None if named else role is None or f"role:{role}" not in approvers:
            raise Refusal("MISSING_APPROVAL", f"the gate does not ask {actor[:60]} in that way")
        starter, through = self._by
        asker, asked_through = gate.asked_by
        own = actor in (starter, through, asker, asked_through) or via in (starter, asker)
        if self._born["policy_mode"] == "strict" and own:
            text = "who started the run, or asked for the gate, does not answer it"
            raise Refusal("MISSING_APPROVAL", text)

    def _expired(self, event: Json, data: Json, _hash: str) -> None:
        gate = self._pending(data)
        if not gate.is_due(event["at"]):
            raise _illegal("the gate is not due")
        self._close(event, data, gate, "expired", "expired")

    def _bypassed(self, event: Json, data: Json, _hash: str) -> None:
        gate = self._pending(data)
        if gate.is_due(event["at"]):
            raise Refusal("MISSING_APPROVAL", "the gate had expired")
        if gate.asked["gate_type"] == "in_doubt" or not data["reason"].strip():
            raise _illegal("a bypass says why, and does not say what happened to a step")
        self._need_allow(event, "gate.bypass", data["gate_id"])
        self.bypasses += 1
        self._close(event, data, gate, "bypassed", "bypassed")

    def _close(self, event: Json, data: Json, gate: _Gate, decision: str, status: str) -> None:
        step = self._find(gate.step_id or "")
        facts = {
            "actor_id": event["actor"],
            "attempt": step.attempt if step else None,
            "decision": decision,
            "decision_hash": None if status == "expired" else event["prev"],
            "ended_at": event["at"],
            "gate_id": data["gate_id"],
            "input_hash": data.get("input_hash"),
            "output_hash": None,
            "prev_receipt_hash": self._receipts[-1] if self._receipts else ZERO_HASH,
            "run_id": self.run_id,
            "started_at": gate.at,
            "status": status,
            "step_id": gate.step_id,
            "step_type": step.step_type if step else None,
            "v": 1,
            "via": event["via"],
        }
        self._take_receipt(data, facts)
        gate.status = status
        if status != "pending":
            self._open -= 1
        if status in ("rejected", "expired"):
            self._doom = self._doom or (f"gate_{status}", gate.step_id)

    _HANDLERS: ClassVar[dict[str, Callable[["Life", Json, Json, str], None]]] = {
        "FC-RUN-001": _created,
        "FC-RUN-002": _changed,
        "FC-RUN-003": _ended,
        "FC-POLICY-001": _decided,
        "FC-AUTH-001": _attempted,
        "FC-STEP-001": _started,
        "FC-STEP-002": _done,
        "FC-STEP-003": _failed,
        "FC-STEP-004": _retried,
        "FC-STEP-005": _doubted,
        "FC-STEP-006": _skipped,
        "FC-STEP-007": _fanned_out,
        "FC-STEP-008": _carried,
        "FC-GATE-001": _asked,
        "FC-GATE-002": _answered,
        "FC-GATE-003": _answered,
        "FC-GATE-004": _expired,
        "FC-GATE-005": _bypassed,
    }


def _following(delay: int, backoff: tuple[int, int, int]) -> int:
    """How long the next pause between two attempts is, if none is cut to the longest there is."""
    first, per_cent, longest = backoff
    if not delay:
        return first
    return delay if delay >= longest else delay * per_cent // 100


def _timeout_of(definition: Json) -> int | None:
    timeout = definition.get("timeout_ms")
    if "timeout_ms" in definition and (type(timeout) is not int or timeout < 1):
        raise _illegal("the timeout of the definition is none")
    return timeout


def _expiry(event: Json, seconds: int | None) -> str | None:
    return None if seconds is None else _later(event["at"], seconds)


# --- What runs say of one another -----------------------------------------------------------------


@dataclass
class Kin:
    """What one run says of others. `born` is the data of its `FC-RUN-001`; `children` has an entry
    for each attempt of a step that a run of its own executes."""

    run_id: str
    tenant: str
    by: tuple[str, str | None]
    born: Json
    status: str
    output: str | None
    abandoned: bool
    children: dict[tuple[str, int], _Child]


class Kinship:
    """Holds runs against those that they name, as they come, in any order. What waits for a run
    that did not come is in `waiting`; nothing else is kept of what was compared."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Kin]] = {}
        self._parents: dict[str, tuple[Kin, set[str]]] = {}

    def take(self, kin: Kin) -> None:
        """A run that has ended, or is all that there is of it. Raises `Refusal` where it and one
        that came before it do not fit together."""
        missing = {child.run_id for child in kin.children.values()}
        for child in self.waiting.pop(kin.run_id, ()):
            missing.discard(child.run_id)
            _compare_child(child, kin)
        if missing:
            self._parents[kin.run_id] = (kin, missing)
        if "parent_step" not in kin.born:
            return
        parent_id = kin.born["parent_run_id"]
        if parent_id not in self._parents:
            self.waiting.setdefault(parent_id, []).append(kin)
            return
        parent, missing = self._parents[parent_id]
        missing.discard(kin.run_id)
        if not missing:
            del self._parents[parent_id]
        _compare_child(kin, parent)


def _compare_child(child: Kin, parent: Kin) -> None:
    """The child is what the step of its parent says, and the step ended as the child did."""
    born, above = child.born, parent.born
    step = parent.children.get((born["parent_step"], born.get("parent_attempt", 1)))
    if step is None or step.run_id != child.run_id or parent.tenant != child.tenant:
        raise _not_kin(child, f"no step of run {parent.run_id[:80]} started it")
    named = (born["workflow_id"], step.version or born["workflow_version"], born["input_hash"])
    if named != (step.workflow, born["workflow_version"], step.input):
        raise _not_kin(child, "the step starts another workflow, or with another input")
    if child.by != (parent.by[0], parent.by[1] or _ENGINE):
        raise _not_kin(child, "who started its parent did not start it")
    same = ("actor_kind", "actor_roles", "correlation_id", "metadata_hash", "tags")
    if any(born.get(name) != above.get(name) for name in same):
        raise _not_kin(child, "it was not started with what its parent was")
    if (above["policy_mode"], born["policy_mode"]) == ("strict", "loose"):
        raise _not_kin(child, "a strict run has no loose child")
    if ("sensitive" in born) != step.is_sensitive:
        raise _not_kin(child, "it is not as sensitive as the step that it executes")
    if step.end == "completed" and (child.status, child.output) != ("completed", step.output):
        raise _not_kin(child, "the step that it executes completed, and not as it did")
    if child.abandoned and step.end is None:
        raise _not_kin(child, "it was given up by a step that still waits for it")


def _not_kin(run: Kin, why: str) -> Refusal:
    text = f"Run {run.run_id[:80]} cannot be: {why}."
    return Refusal("ILLEGAL_TRANSITION", text, _event_file(f"run:{run.run_id}"))


_SAME_AGAIN = ("definition_hash", "input_hash", "sensitive")


def compare_restart(run: Life, old: Life) -> None:
    """Hold a restarted run against the one that it does again. Raises `Refusal` where that has not
    ended without completing, was of another workflow, input or tenant, or a step that is carried
    over did not end there like that."""
    kin, before = run.kin(), old.kin()
    if not old.ended or old.status == "completed" or before.tenant != kin.tenant:
        raise _not_kin(kin, "only a run that ended without completing is restarted")
    modes = (before.born["policy_mode"], kin.born["policy_mode"])
    if modes == ("strict", "loose"):
        raise _not_kin(kin, "a strict run is not restarted as a loose one")
    if any(kin.born.get(n) != before.born.get(n) for n in _SAME_AGAIN):
        raise _not_kin(kin, "it is not of the workflow and input of the run that it restarts")
    results = old.results()
    for step_id, told in run.carried().items():
        if results.get(step_id) != told:
            text = f"step {step_id[:80]} did not end like that in the run that it restarts"
            raise _not_kin(kin, text)


# --- The container -------------------------------------------------------------------------------

_MANIFEST = "manifest.json"
_INDEX = "index.json"
_HISTORY = "keys/history.jsonl"
_CHECKPOINT = "log/checkpoint"
_PROOFS = "log/proofs.json"
_SEEN, _LEADING = "--seen", "--consistency"
"""What the auditor brings besides the pack; errors in it name it so."""

_MAX_FILES = 1_000_000
_MAX_BYTES = 8 * 2**30
_MAX_FILE_BYTES = 256 * 2**20
_MAX_RATIO = 1_000
_RATIO_FROM = 2**20
_DRIVE = re.compile(r"[A-Za-z]:")
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises where it is given something else than a zip."""

_POINTER = re.compile(rb"rhid:[a-z0-9_.-]+:sha256:([0-9a-f]{64})")
_KNOWN_PATHS = re.compile(
    r"REPORT\.md|verify\.py|manifest\.json|index\.json|keys/history\.jsonl|log/checkpoint"
    r"|log/proofs\.json|log/tile/[0-9]{1,2}/(?:x[0-9]{3}/){0,6}[0-9]{3}(?:\.p/[0-9]{1,3})?"
    r"|payloads/[0-9a-f]{64}\.json|objects/[0-9a-f]{64}"
    r"|policies/[0-9a-f]{64}/[^/]+|workflow/[0-9a-f]{64}/definition\.json"
)


def _check_entry(info: zipfile.ZipInfo) -> None:
    """Refuse an entry that another tool might put elsewhere, or that is too much."""
    name = info.filename
    unsafe = _is_unsafe(name) or name != info.orig_filename
    mode = info.external_attr >> 16
    if unsafe or info.is_dir() or (stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
        raise Refusal("UNSAFE_PATH", "It is no plain file with a relative path.", name)
    if info.flag_bits & 0x41 or info.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise Refusal("UNSAFE_PATH", "It is encrypted, or not stored or deflated.", name)
    size, packed = info.file_size, info.compress_size
    if size > _MAX_FILE_BYTES and not name.startswith("events/"):
        raise Refusal("LIMIT_EXCEEDED", f"It has {size} bytes; 256 MiB are the most.", name)
    if size > _RATIO_FROM and size > packed * _MAX_RATIO:
        raise Refusal("LIMIT_EXCEEDED", f"Its {packed} bytes would become {size}.", name)


_LOCAL = struct.Struct("<4s5H3L2H")
"""Signature, version, flags, method, time, date, CRC-32, packed and full size, the lengths of the
name and of what follows it. APPNOTE.TXT 4.3.7."""
_NO_MORE = b"PK\5\6" + bytes(18)
"""The end of a zip, as long as it is without a comment."""


def _is_header_of(header: bytes, info: zipfile.ZipInfo, name_length: int) -> bool:
    """Whether the header before a file tells what the list at the end of the zip does."""
    if len(header) != _LOCAL.size:
        return False
    signature, _, flags, method, _, _, *rest, _ = _LOCAL.unpack(header)
    crc, packed, size, length = rest
    sizes = ((packed, info.compress_size), (size, info.file_size))
    return (
        signature == b"PK\3\4"
        and (flags, method, crc) == (info.flag_bits, info.compress_type, info.CRC)
        and all(one in (other, 0xFFFFFFFF) for one, other in sizes)
        and length == name_length
    )


def _is_unsafe(name: str) -> bool:
    parts = name.split("/")
    odd = any(part in ("", ".", "..") for part in parts)
    return odd or "\\" in name or bool(_CONTROL.search(name)) or bool(_DRIVE.match(name))


class _Archive:
    """The files of a zip, of which nothing is read before all of them were looked at."""

    def __init__(self, file: io.BufferedReader) -> None:
        """Raises `Refusal` UNSAFE_PATH or LIMIT_EXCEEDED; `files` is empty for what is no zip."""
        self.files: dict[str, zipfile.ZipInfo] = {}
        self.is_zip = True
        try:
            self._zip = zipfile.ZipFile(file)
            infos = self._zip.infolist()
        except _UNREADABLE:
            self.is_zip, infos = False, []
        if len(infos) > _MAX_FILES:
            raise Refusal("LIMIT_EXCEEDED", f"The pack has {len(infos)} files.")
        if sum(info.file_size for info in infos) > _MAX_BYTES:
            raise Refusal("LIMIT_EXCEEDED", "The pack would have more than 8 GiB.")
        for info in sorted(infos, key=lambda info: info.filename):
            _check_entry(info)
            if info.filename in self.files:
                raise Refusal("UNSAFE_PATH", "It stands in the pack twice.", info.filename)
            self.files[info.filename] = info
        if self.is_zip:
            self._check_bytes(file)

    def _check_bytes(self, file: io.BufferedReader) -> None:
        """The files stand one behind the other from the first byte on, and after their list there
        is nothing: whatever tool reads the zip, from its front or its end, sees these files."""
        at = 0
        for info in sorted(self.files.values(), key=lambda info: info.header_offset):
            file.seek(at)
            header = file.read(_LOCAL.size)
            name = info.filename.encode()
            if info.header_offset != at or not _is_header_of(header, info, len(name)):
                text = "Other bytes stand before it, or its own header tells something else."
                raise Refusal("UNSAFE_PATH", text, info.filename)
            at += _LOCAL.size + len(name) + _LOCAL.unpack(header)[-1] + info.compress_size
        file.seek(-min(len(_NO_MORE), file.seek(0, io.SEEK_END)), io.SEEK_END)
        end = file.read()
        if at != self._zip.start_dir or end[:4] != _NO_MORE[:4] or self._zip.comment:
            raise Refusal("UNSAFE_PATH", "The zip holds bytes that are of none of its files.")

    def read(self, path: str) -> bytes:
        """All of a file. Raises `Refusal` FILE_DIGEST where it cannot be unpacked."""
        try:
            return self._zip.read(self.files[path])
        except _UNREADABLE as e:
            raise Refusal("FILE_DIGEST", f"It cannot be unpacked: {e}.", path) from None

    def lines(self, path: str, digest: Any) -> Iterator[bytes]:
        """The lines of a file, with their newlines, each put into `digest`. Raises as `read`, and
        LIMIT_EXCEEDED."""
        try:
            with self._zip.open(self.files[path]) as raw:
                file = io.BufferedReader(raw, 1 << 17)  # type: ignore[type-var]
                while line := file.readline(_MAX_FILE_BYTES + 1):
                    if len(line) > _MAX_FILE_BYTES:
                        raise Refusal("LIMIT_EXCEEDED", "It has a line of more than 256 MiB.")
                    digest.update(line)
                    yield line
        except _UNREADABLE as e:
            raise Refusal("FILE_DIGEST", f"It cannot be unpacked: {e}.", path) from None


def _event_file(stream: str) -> str:
    """A slash, which a tenant may have in its name, is `%2F` here."""
    return f"events/{stream.replace('/', '%2F')}.jsonl"


def _stream_of(path: str) -> str:
    return path.removeprefix("events/").removesuffix(".jsonl").replace("%2F", "/")


# --- The verdict ---------------------------------------------------------------------------------

_EXITS = {"VALID": 0, "VALID_WITH_REDACTIONS": 0, "INVALID": 1, "UNTRUSTED": 3, "INCOMPLETE": 4}
_UNREADABLE_EXIT = 2


@dataclass(frozen=True)
class Verdict:
    """What was found.

    `error` is `{"code", "file", "line", "message"}`, `line` from 1; None where there is none.
    `checkpoint` is `{"size", "root"}`, the root in base64. `witnesses` are the names of those that
    cosigned and are trusted, one for each key; `payloads` counts `present`, `erased`, `withheld`
    and `missing` ones, `decisions` `allow`, `deny` and `flag`, `approvals` the answers of people
    that approved, `bypasses` the gates that were passed without them. `runs` is a list of
    `{"run_id", "outcome", "bypasses"}`, the outcome `completed`, `failed` or `cancelled`, None
    where the end of the run could not be followed, or is not in the pack.
    """

    verdict: str
    exit_status: int
    error: Json | None
    log: str | None
    run_ids: tuple[str, ...]
    tenant: str | None
    events: int
    checkpoint: Json | None
    witnesses: tuple[str, ...]
    quorum: int
    payloads: dict[str, int]
    decisions: dict[str, int]
    approvals: int
    bypasses: int
    runs: tuple[Json, ...]

    def as_dict(self) -> Json:
        """The same as plain values."""
        lists = {"run_ids": self.run_ids, "witnesses": self.witnesses, "runs": self.runs}
        return asdict(self) | {name: list(values) for name, values in lists.items()}


class _Findings:
    """The first error of each stage: by file, then by line."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[tuple[str, int], Json]] = {}

    def add(self, refusal: Refusal, file: str | None = None, line: int | None = None) -> None:
        if refusal.file is not None:
            file, line = refusal.file, None
        stage, place = _STAGE_OF[refusal.code], (file or "", line or 0)
        known = self._first.get(stage)
        if known is None or place < known[0]:
            told = {"code": refusal.code, "file": file, "line": line, "message": refusal.message}
            self._first[stage] = (place, told)

    @property
    def first(self) -> Json | None:
        return self._first[min(self._first)][1] if self._first else None

    def has(self, *stages: int) -> bool:
        return any(stage in self._first for stage in stages)


Progress = Callable[[int, int], None]


def verify_pack(
    pack: str | Path,
    trust: str | None,
    *,
    run: str | None = None,
    tenant: str | None = None,
    seen: bytes | None = None,
    consistency: bytes | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Verify the pack in the file `pack` against the text of a trust file.

    `run` and `tenant`: what it must be about. `seen` is a checkpoint (a signed note) from before,
    `consistency` the JSON `{"hashes": [base64…]}` of a proof between the two. `progress` is called
    with (events verified, of how many). Raises `OSError` where the file cannot be opened, and
    nothing else, whatever is in it.
    """
    with Path(pack).open("rb") as file:
        check = _Check(trust, run=run, tenant=tenant, progress=progress)
        try:
            check.container(file)
            check.trust()
            check.everything(seen, consistency)
        except Refusal as e:  # nothing can be looked at beyond it
            check.findings.add(e)
        return check.verdict()


@dataclass
class _Told:
    """What a run's or another stream's events told."""

    life: Life | None = None
    lines: int = 0
    end: int | None = None
    """The line of the event that ended the run."""
    failed: bool = False
    """Whether not all of it could be followed."""


class _Check:
    """One verification: each method looks at one thing and writes down what is wrong with it."""

    def __init__(
        self,
        trust: str | None,
        *,
        run: str | None,
        tenant: str | None,
        progress: Progress | None,
    ) -> None:
        self.findings, self.missing = _Findings(), _Findings()
        self.lacking: list[Refusal] = []
        """Files that events name: they are missed where the events stand in the log."""
        self._trust_text, self._run, self._tenant = trust, run, tenant
        self._progress = progress
        self._trust = Trust((), ())
        self._listed: Json = {}
        self._log: str | None = None
        self._runs: dict[str, None] = {}
        self._texts: dict[str, bytes] = {}
        self._checkpoint: Checkpoint | None = None
        self._index: dict[str, list[int]] = {}
        self._unindexed = True
        self._tree: _Proofs | _Tiles | None = None
        self._told: dict[str, _Told] = {}
        self._pack_tenant: str | None = None
        self._rotations: list[tuple[int, Json]] = []
        self._erased: dict[tuple[str | None, str], set[str]] = {}
        self._erasing: list[tuple[str, int, int, Json]] = []
        self._unsalted: set[str] = set()
        self._loose: set[str] = set()
        self._pointed_at: set[str] | None = None
        self._epochs: list[Json] | None = None
        self._events = 0
        self._of = 0
        self._payloads = {"present": 0, "erased": 0, "withheld": 0, "missing": 0}

    # stages 1 to 3

    def container(self, file: io.BufferedReader) -> None:
        self._archive = _Archive(file)

    def trust(self) -> None:
        self._trust = parse_trust(self._trust_text)

    def everything(self, seen: bytes | None, consistency: bytes | None) -> None:
        self._manifest()
        self._small_files()
        self._open_note()
        self._about()
        self._read_index()
        self._read_tree()
        for path in sorted(self._listed):
            if path.startswith("events/") and path in self._archive.files:
                self._stream(path)
        self._finish_tree()
        self._keys()
        if seen is not None:
            self._consistent(seen, consistency)
        self._kin()
        for run_id in self._runs:
            self._run_receipt(run_id)
        self._erasures()
        self._policies()
        self._payload_files()
        self._surplus()

    def _manifest(self) -> None:
        if not self._archive.is_zip:
            raise Refusal("FILE_MISSING", "The pack is not a zip that can be read.", _MANIFEST)
        if _MANIFEST not in self._archive.files:
            raise Refusal("FILE_MISSING", "The pack has no manifest.", _MANIFEST)
        try:
            manifest = _read_json(self._archive.read(_MANIFEST))
            self._read_manifest(manifest)
        except Refusal as e:
            raise Refusal(e.code, e.message, _MANIFEST) from None

    def _read_manifest(self, manifest: Any) -> None:
        if type(manifest) is dict and type(manifest.get("v")) is int and manifest["v"] != 1:
            raise Refusal("UNKNOWN_VERSION", f"The pack has version {manifest['v']}; known is 1.")
        several = type(manifest) is dict and "run_ids" in manifest
        members = {"files", "log", "run_id", "v"} | ({"run_ids"} if several else set())
        if type(manifest) is not dict or manifest.keys() != members:
            raise Refusal("NOT_CANONICAL", "A manifest has files, log, run_id, v, maybe run_ids.")
        runs = manifest["run_ids"] if several else [manifest["run_id"]]
        lawful = (
            _names(runs)
            and sorted(set(runs)) == runs
            and (len(runs) > 1) == several
            and (manifest["run_id"] is None) == several
            and type(manifest["log"]) is str
            and type(manifest["v"]) is int
            and type(manifest["files"]) is dict
            and all(map(_is_listing, manifest["files"].values()))
        )
        if not lawful:
            raise Refusal("NOT_CANONICAL", "A member of the manifest is not of its type.")
        self._listed, self._log, self._runs = (
            manifest["files"],
            manifest["log"],
            dict.fromkeys(runs),
        )

    def _small_files(self) -> None:
        """Every file but the events is read once: its digest is checked, and what is needed later
        is kept. (Payloads are read again when it is known which there should be.)"""
        here, listed = self._archive.files, self._listed
        if any(path.startswith("objects/") for path in listed):
            self._pointed_at = set()
        for path in here.keys() - listed.keys() - {_MANIFEST}:
            self._wrong("FILE_EXTRA", "The manifest does not have it.", path)
        for path in listed.keys() - here.keys():
            self._wrong("FILE_MISSING", "The manifest has it, and the pack does not.", path)
        for path in sorted(listed.keys() & here.keys()):
            if not self._has_place(path):
                self._wrong("FILE_EXTRA", "A pack of these runs has no such file.", path)
            elif not path.startswith("events/"):
                self._small_file(path)
        needed = {_INDEX, _HISTORY, _CHECKPOINT, *(_event_file(f"run:{r}") for r in self._runs)}
        for path in needed - listed.keys():
            self._wrong("FILE_MISSING", "Every pack has it.", path)
        if _PROOFS not in listed and not any(p.startswith("log/tile/") for p in listed):
            self._wrong("FILE_MISSING", "The pack has neither proofs nor tiles.", _PROOFS)

    def _has_place(self, path: str) -> bool:
        folder = path.partition("/")[0]
        if folder == "receipt.dsse.json":
            return path == folder and len(self._runs) == 1
        if folder == "receipts":
            owner = path.removeprefix("receipts/").removesuffix(".dsse.json")
            return owner in self._runs and path == self._receipt_file(owner)
        if folder == "events":
            stream = _stream_of(path)
            kind, _, owner = stream.partition(":")
            own = kind == "run" and owner in self._runs
            return path == _event_file(stream) and (own or kind == "log")
        return path != _MANIFEST and _KNOWN_PATHS.fullmatch(path) is not None

    def _receipt_file(self, run_id: str) -> str:
        several = len(self._runs) > 1
        return f"receipts/{run_id}.dsse.json" if several else "receipt.dsse.json"

    def _small_file(self, path: str) -> None:
        try:
            data = self._archive.read(path)
        except Refusal as e:
            self.findings.add(e)
            return
        folder, _, rest = path.partition("/")
        digest, told = _sha256(data), self._listed[path]
        if (digest, len(data)) != (told["sha256"], told["size"]):
            self._wrong("FILE_DIGEST", "It is not the file that the manifest lists.", path)
        elif folder == "payloads":
            self._payload(path, data)
        elif folder in ("objects", "workflow") or rest.endswith("/files.json"):
            if digest != rest.split("/")[0]:
                self._wrong("FILE_DIGEST", "It is named by a hash that is not its own.", path)
            elif folder != "objects":
                self._texts[path] = data
        elif folder in (_INDEX, "keys", "log", "receipts", "receipt.dsse.json"):
            self._texts[path] = data
        elif rest.endswith("/bundle.yaml") and _says_loose(data):
            self._loose.add(rest.split("/")[0])

    def _payload(self, path: str, data: bytes) -> None:
        named = path[9:-5]
        self.point(data)
        if named != _payload_hash(data):
            text = "It is not the value of which this is the hash."
            self._wrong("PAYLOAD_MISMATCH", text, path)
        elif not data.startswith(_SALTED):
            self._unsalted.add(named)

    def point(self, data: bytes) -> None:
        """Note the artifacts that these bytes point to, where the pack brings any."""
        if self._pointed_at is not None:
            self._pointed_at.update(match.decode() for match in _POINTER.findall(data))

    def _wrong(self, code: str, message: str, file: str, line: int | None = None) -> None:
        self.findings.add(Refusal(code, message), file, line)

    # stages 4 and 5

    def _open_note(self) -> None:
        data = self._texts.get(_CHECKPOINT)
        if data is None:
            return
        try:
            checkpoint = open_checkpoint(data, self._trust)
            if checkpoint.origin != self._log:
                raise Refusal("ORIGIN", f"It is not of the log of the manifest, {self._log!r}.")
        except Refusal as e:
            self.findings.add(e, _CHECKPOINT)
            return
        self._checkpoint = checkpoint
        behind = len(checkpoint.behind)
        if behind < self._trust.quorum:
            text = f"{behind} trusted witnesses cosigned it; {self._trust.quorum} must."
            self._wrong("QUORUM", text, _CHECKPOINT)

    def _about(self) -> None:
        if self._run is not None and self._run not in self._runs:
            self._wrong("ORIGIN", f"The pack is not about the run {self._run[:80]!r}.", _MANIFEST)

    # stage 8: the tree

    def _read_index(self) -> None:
        data = self._texts.get(_INDEX)
        if data is None:
            return
        try:
            index = _read_json(data)
            if type(index) is not dict or not all(map(_is_index, index.values())):
                raise Refusal("INDEX_RANGE", "An index has for each stream leaf numbers that grow.")
            for stream, leaves in index.items():
                size = self._checkpoint.size if self._checkpoint else _MAX_SIZE
                if leaves[-1] >= size:
                    raise Refusal("INDEX_RANGE", f"A tree of {size} leaves has no {leaves[-1]}.")
                if _event_file(stream) not in self._listed:
                    raise Refusal("INDEX_RANGE", f"The pack has no stream {stream[:80]!r}.")
        except Refusal as e:
            self.findings.add(e, _INDEX)
            return
        self._index, self._unindexed = index, False
        self._of = sum(map(len, index.values()))

    def _read_tree(self) -> None:
        checkpoint, texts = self._checkpoint, self._texts
        if checkpoint is None:
            return
        size, root = checkpoint.size, checkpoint.root
        tiles = {path: data for path, data in texts.items() if path.startswith("log/tile/")}
        try:
            if _PROOFS in texts:
                for path in tiles:
                    raise Refusal("FILE_EXTRA", "A pack has proofs or tiles, and not both.", path)
                self._tree = _Proofs(_read_proofs(texts[_PROOFS]), size, root)
            elif tiles:
                self._tree = _Tiles(dict(_read_tiles(tiles, size)), size, root)
        except Refusal as e:
            self.findings.add(e, _PROOFS)
        for path in tiles:
            del texts[path]

    def _finish_tree(self) -> None:
        if self._tree is not None and not self._unindexed:
            try:
                self._tree.finish()
            except Refusal as e:
                self.findings.add(e, _PROOFS)

    def _consistent(self, seen: bytes, proof: bytes | None) -> None:
        blamed = _SEEN
        try:
            old = open_checkpoint(seen, self._trust)
            now = self._checkpoint
            if now is None:
                return
            if old.origin != now.origin:
                raise Refusal("ORIGIN", f"It is of the log {old.origin}, and the pack is not.")
            pair = sorted(((old.size, old.root), (now.size, now.root)))
            (small, small_root), (large, large_root) = pair
            if small == 0:
                return
            if small != large and proof is None:
                text = f"No proof leads from {small} leaves to {large}."
                self.missing.add(Refusal("FILE_MISSING", text), _CHECKPOINT)
                return
            blamed = _LEADING
            hashes = _read_hashes(proof) if small != large and proof is not None else []
            verify_consistency(small, large, hashes, small_root, large_root)
        except Refusal as e:
            self.findings.add(e, _CHECKPOINT if e.code == "INCONSISTENT" else blamed)

    # the events: stages 3 and 6 to 8, and 11

    def _stream(self, path: str) -> None:
        stream = _stream_of(path)
        told = self._told[stream] = _Told()
        digest, reader = hashlib.sha256(), _StreamReader(self, stream, told)
        size = 0
        try:
            for line in self._archive.lines(path, digest):
                size += len(line)
                told.lines += 1
                reader.line(line)
        except Refusal as e:
            told.failed = True
            self.findings.add(e, path)
            return
        listed = self._listed[path]
        if (digest.hexdigest(), size) != (listed["sha256"], listed["size"]):
            self._wrong("FILE_DIGEST", "It is not the file that the manifest lists.", path)
        if told.lines != len(self._index.get(stream, ())) and not self._unindexed:
            text = f"{stream[:80]} has {told.lines} events, and another number of leaves."
            self._wrong("INDEX_RANGE", text, _INDEX)

    def prove(self, stream: str, line: int, leaf: bytes) -> None:
        """Hold the event on this line against the tree."""
        leaves = self._index.get(stream, ())
        if self._tree is not None and line <= len(leaves):
            self._tree.see(leaves[line - 1], leaf)

    def chain(self, stream: str) -> Chain:
        """The tenant of the first run is that of the pack."""
        tenant = stream[4:] if stream.startswith("log:") else None
        if stream.startswith("run:"):
            tenant = self._pack_tenant
        return Chain(stream, self._log, tenant)

    def counted(self) -> None:
        self._events += 1
        if self._progress is not None and (self._events % 512 == 0 or self._events == self._of):
            self._progress(self._events, self._of)

    def told(self, stream: str, event: Json, line: int, event_hash: str) -> None:
        """An event that stands where it should: follow what it tells."""
        if stream.startswith("run:"):
            self._lived(stream, event, line, event_hash)
            return
        code, data = event["type"], event["data"]
        expected = "FC-KEY-001" if stream == "log" else "FC-DATA-001"
        if code != expected:
            raise _illegal(f"The stream {stream[:80]} has no event {code[:20]!r}.")
        _check_shape(code, data)
        if not event["actor"]:
            raise _illegal("Somebody does it.")
        leaves = self._index.get(stream, ())
        if stream != "log":
            whose = (event["tenant"], data["stream"])
            self._erased.setdefault(whose, set()).update(data["payload_hashes"])
            if line <= len(leaves) and data["stream"][4:] in self._runs:
                self._erasing.append((stream, line, leaves[line - 1], data))
        elif line <= len(leaves):
            self._rotations.append((leaves[line - 1], data))

    def _lived(self, stream: str, event: Json, line: int, event_hash: str) -> None:
        told = self._told[stream]
        if told.life is None:
            told.life = Life(self._definition(event["data"].get("definition_hash")))
            self._pack_tenant = event["tenant"]
            if self._tenant not in (None, event["tenant"]):
                text = f"The run is of the tenant {event['tenant'][:80]!r}."
                self._wrong("ORIGIN", text, _event_file(stream), line)
        was = told.life.ended
        told.life.see(event, event_hash)
        if told.life.ended and not was:
            told.end = line

    def _definition(self, digest: Any) -> Json | None:
        data = self._texts.get(f"workflow/{digest}/definition.json")
        return None if data is None else read_definition(data) or {}

    # stage 4 again: the keys

    def _keys(self) -> None:
        data = self._texts.get(_HISTORY)
        if data is None or self._checkpoint is None:
            return
        try:
            self._epochs = _read_history(data)
            first = _parse_key(self._epochs[0].get("key"))
            if first is None or first.name != self._log:
                raise Refusal("KEY_EPOCH", f"Its first key is none of the log {self._log!r}.")
            epochs = _epochs_of(first, self._rotations)
            log = self._told.get("log")
            # What could not be read, or placed, is told as such.
            unread = self._unindexed or (log is not None and log.failed)
            if epochs != self._epochs and not unread:
                raise Refusal("KEY_EPOCH", "It is not what the events of the stream log tell.")
            self._check_epoch()
        except Refusal as e:
            self.findings.add(e, _HISTORY)

    def _check_epoch(self) -> None:
        checkpoint = self._checkpoint
        if checkpoint is None:
            return
        size = checkpoint.size
        for key in checkpoint.signers:
            epoch = self._epoch(key)
            if epoch and epoch["from"] <= size and (epoch["to"] is None or size <= epoch["to"]):
                return
        text = f"No key that signed it was good for a tree of {size} leaves."
        raise Refusal("KEY_EPOCH", text, _CHECKPOINT)

    def _epoch(self, key: VerifierKey) -> Json | None:
        return next((e for e in self._epochs or [] if e["key"] == key.text), None)

    # stage 11 again: what runs say of one another

    def _kin(self) -> None:
        lives = {s: told.life for s, told in self._told.items() if told.life and not told.failed}
        kinship = Kinship()
        for life in lives.values():
            kin = life.kin()
            try:
                kinship.take(kin)
                old = lives.get(f"run:{kin.born.get('restarted_from')}")
                if old is not None:
                    compare_restart(life, old)
            except Refusal as e:
                self._wrong(e.code, e.message, e.file or "", 1)

    # stage 9: receipts

    def _run_receipt(self, run_id: str) -> None:
        told, path = self._told.get(f"run:{run_id}"), self._receipt_file(run_id)
        if told is None or told.life is None:
            if told is not None and told.lines == 0 and not told.failed:
                self._wrong("FILE_MISSING", "The run has no events.", _event_file(f"run:{run_id}"))
            return
        if path not in self._listed:
            if not told.failed:
                where = self.findings if told.life.ended else self.missing
                text = "is missing" if told.life.ended else "and its end are not in this pack"
                where.add(Refusal("FILE_MISSING", f"The run's workflow receipt {text}."), path)
            return
        try:
            if path in self._texts:
                self._check_receipt(self._texts[path], told, run_id)
        except Refusal as e:
            self.findings.add(e, path)

    def _check_receipt(self, data: bytes, told: _Told, run_id: str) -> None:
        payload, key = _open_envelope(data, self._trust)
        assert told.life is not None
        if told.failed:
            return
        receipt = told.life.receipt()
        if receipt is None or _encode(receipt).encode() != payload:
            raise Refusal("RECEIPT_MISMATCH", "It tells something else than the events.")
        epoch = self._epoch(key)
        leaves = self._index.get(f"run:{run_id}", ())
        if self._epochs is None or told.end is None or told.end > len(leaves):
            return
        if epoch is None or not (epoch["to"] is None or epoch["to"] > leaves[told.end - 1]):
            raise Refusal("RECEIPT_SIGNATURE", "Its key was not good any more when the run ended.")

    # stages 3, 7 and 10: what the events refer to

    def _erasures(self) -> None:
        for stream in self._told:
            other = stream.startswith("log:") and stream[4:] != self._pack_tenant
            if other and self._pack_tenant is not None:
                text = "It is of another tenant than the runs."
                self._wrong("CHAIN_BROKEN", text, _event_file(stream), 1)
        for stream, line, leaf, data in self._erasing:
            told, leaves = self._told.get(data["stream"]), self._index.get(data["stream"], ())
            if told is None or told.life is None or told.failed:
                continue
            if told.end is None or (told.end <= len(leaves) and leaf < leaves[told.end - 1]):
                text = "It erases values of a run that has not ended before."
            elif not told.life.references.keys() >= set(data["payload_hashes"]):
                text = "It erases a value that no event of the run names."
            else:
                continue
            self._wrong("ILLEGAL_TRANSITION", text, _event_file(stream), line)

    def _lives(self) -> Iterator[tuple[str, Life]]:
        for stream, told in self._told.items():
            if told.life is not None:
                yield stream, told.life

    def _policies(self) -> None:
        bundles = {digest for _, life in self._lives() for digest in life.policies} - {ZERO_HASH}
        for digest in sorted(bundles):
            path = f"policies/{digest}/files.json"
            if path not in self._listed:
                text = "The bundle decided, and the pack has not got it."
                self.lacking.append(Refusal("FILE_MISSING", text, path))
            elif path in self._texts:
                try:
                    self._bundle(digest, _read_json(self._texts[path]))
                except Refusal as e:
                    self.findings.add(e, path)

        for stream, life in self._lives():
            for asked, seq in life.untightened.items():
                if self._loose.issuperset(asked):
                    text = "The run is strict, and no strict bundle decided."
                    self._wrong("ILLEGAL_TRANSITION", text, _event_file(stream), seq + 1)
        if not self.findings.has(*_EVENT_STAGES):  # else an event that was changed names anything
            for lack in self.lacking:
                self.findings.add(lack)

    def _bundle(self, digest: str, told: Any) -> None:
        files = told.get("files") if type(told) is dict and len(told) == 1 else None
        if type(files) is not dict or not all(map(_is_hash, files.values())):
            raise Refusal("NOT_CANONICAL", 'It is `{"files": {name: sha256}}`.')
        folder = f"policies/{digest}/"
        here = {p.removeprefix(folder) for p in self._listed if p.startswith(folder)}
        for name in sorted((here - {"files.json"}) ^ files.keys()):
            code = "FILE_EXTRA" if name in here else "FILE_MISSING"
            self._wrong(code, "It is not as the bundle lists it.", folder + name)
        for name in sorted(here & files.keys()):
            if self._listed[folder + name]["sha256"] != files[name]:
                self._wrong("FILE_DIGEST", "It is not the text that decided.", folder + name)

    def _payload_files(self) -> None:
        here = {path[9:-5] for path in self._listed if path.startswith("payloads/")}
        named: set[str] = set()
        kept: set[str] = set()
        for stream, life in self._lives():
            erased = self._erased.get((self._pack_tenant, stream), set())
            named |= life.references.keys()
            kept |= life.references.keys() - erased
            for digest, is_secret in sorted(life.references.items()):
                if digest in here:
                    kind = "present"
                    self._check_value(digest, life)
                elif digest in erased:
                    kind = "erased"
                elif is_secret or not here:
                    kind = "withheld"
                else:
                    kind = "missing"
                    text = "Other payloads are there, and nothing says that this one was erased."
                    path = f"payloads/{digest}.json"
                    self.missing.add(Refusal("PAYLOAD_MISSING", text), path)
                self._payloads[kind] += 1
        for digest in sorted(here & named - kept):
            text = "It is there, and the log says that it was erased."
            self._wrong("PAYLOAD_MISMATCH", text, f"payloads/{digest}.json")

    def _check_value(self, digest: str, life: Life) -> None:
        """Hold a value that is there against what the events say of it."""
        path = f"payloads/{digest}.json"
        if digest in life.salted and digest in self._unsalted:
            self._wrong("PAYLOAD_MISMATCH", "It is of a sensitive step, and has no salt.", path)
        if path not in self._archive.files or not (digest in life.lists or digest in life.said):
            return
        try:
            data = self._archive.read(path)
        except Refusal:
            return  # it was told when the file was read first
        if digest in life.lists:
            self._count_items(path, data, life.lists[digest])
        if digest in life.said and not _is_said(data, *life.said[digest]):
            text = "It is not what people said at the gate of which it is the output."
            self._wrong("PAYLOAD_MISMATCH", text, path)

    def _count_items(self, path: str, data: bytes, items: int) -> None:
        """The list that a step fanned out over is as long as the event says."""
        try:
            value = json.loads(data)["value"]
            found = len(value) if type(value) is list else None
        except (ValueError, KeyError, RecursionError):
            found = None
        if found != items:
            told = "no list" if found is None else f"a list of {found}"
            self._wrong("PAYLOAD_MISMATCH", f"It is {told}, and a step has {items} items.", path)

    def _surplus(self) -> None:
        """What is whole, and belongs to nothing."""
        if self.findings.first is not None:
            return  # not all of what there should be may be known
        lives = [life for _, life in self._lives()]
        paths = {f"payloads/{digest}.json" for life in lives for digest in life.references}
        folders = {f"policies/{digest}/" for life in lives for digest in life.policies}
        folders |= {f"workflow/{life.definition_hash}/" for life in lives}
        paths |= {f"objects/{digest}" for digest in self._pointed_at or ()}
        for path in self._listed:
            known = path in paths or path.rpartition("/")[0] + "/" in folders
            if path.startswith(("payloads/", "policies/", "workflow/", "objects/")) and not known:
                self._wrong("FILE_EXTRA", "Nothing in the pack refers to it.", path)

    # the end

    def verdict(self) -> Verdict:
        error = self.findings.first
        lives = [life for _, life in self._lives()]
        verdict = "VALID_WITH_REDACTIONS" if self._payloads["erased"] else "VALID"
        if error is not None:
            verdict = "UNTRUSTED" if error["code"] == "NO_TRUST" else "INVALID"
        elif self.missing.first is not None:
            verdict, error = "INCOMPLETE", self.missing.first
        point = self._checkpoint
        decisions = {
            effect: sum(life.decisions[effect] for life in lives)
            for effect in ("allow", "deny", "flag")
        }
        return Verdict(
            verdict=verdict,
            exit_status=_EXITS[verdict],
            error=error,
            log=self._log,
            run_ids=tuple(self._runs),
            tenant=self._pack_tenant,
            events=self._events,
            checkpoint=None
            if point is None
            else {"size": point.size, "root": b64encode(point.root).decode()},
            witnesses=point.behind if point else (),
            quorum=self._trust.quorum,
            payloads=self._payloads,
            decisions=decisions,
            approvals=sum(life.approvals for life in lives),
            bypasses=sum(life.bypasses for life in lives),
            runs=tuple(map(self._outcome, self._runs)),
        )

    def _outcome(self, run_id: str) -> Json:
        told = self._told.get(f"run:{run_id}")
        life = told.life if told else None
        ended = life is not None and life.ended
        return {
            "run_id": run_id,
            "outcome": life.status if life and ended else None,
            "bypasses": life.bypasses if life else 0,
        }


class _StreamReader:
    """Reads the lines of one stream. What is wrong at one stage is told once, and that stage is
    left out for the rest: the lines after it would only repeat it."""

    def __init__(self, check: _Check, stream: str, told: _Told) -> None:
        self._check, self._stream, self._state = check, stream, told
        self._path = _event_file(stream)
        self._chain: Chain | None = check.chain(stream)
        self._parses = self._proves = self._follows = True

    def line(self, line: bytes) -> None:
        self._check.point(line)
        body = line[:-1]
        leaf = leaf_hash(body)
        if self._proves:
            try:
                self._check.prove(self._stream, self._state.lines, leaf)
            except Refusal as e:
                self._proves = False
                self._wrong(e)
        if self._parses:
            try:
                self._event(
                    parse_event(body) if line.endswith(b"\n") else _no_newline(), leaf.hex()
                )
            except Refusal as e:
                self._parses, self._state.failed = False, True
                self._wrong(e)

    def _event(self, event: Json, event_hash: str) -> None:
        if self._chain is not None:
            try:
                self._chain.see(event, event_hash)
            except Refusal as e:
                self._chain, self._state.failed = None, True
                self._wrong(e)
        if self._follows:
            try:
                self._check.told(self._stream, event, self._state.lines, event_hash)
            except Refusal as e:
                self._follows, self._state.failed = False, True
                self._wrong(e)
        self._check.counted()

    def _wrong(self, e: Refusal) -> None:
        if e.code == "FILE_MISSING":
            self._check.lacking.append(e)
        else:
            self._check.findings.add(e, self._path, self._state.lines)


def _no_newline() -> NoReturn:
    raise Refusal("NOT_CANONICAL", "Each event is followed by a newline.")


# --- What the small files say --------------------------------------------------------------------


def _is_listing(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"sha256", "size"}
        and _is_hash(value["sha256"])
        and type(value["size"]) is int
    )


def _is_index(leaves: Any) -> bool:
    if type(leaves) is not list or not leaves or any(type(leaf) is not int for leaf in leaves):
        return False
    grows = all(one < other for one, other in pairwise(leaves))
    return grows and bool(leaves[0] >= 0)


_PLAIN, _SALTED, _BETWEEN = b'{"value":', b'{"salt":"', b'","value":'
_VALUE_AT = len(_SALTED) + 64 + len(_BETWEEN)


def _payload_hash(data: bytes) -> str | None:
    """The hash of a payload file. What stands after `"value":` must be its RFC 8785 form, or the
    hash would be another; so it need not be understood here."""
    if not data.endswith(b"}"):
        return None
    if data.startswith(_PLAIN):
        return _sha256(_value_of(data))
    salt = data[len(_SALTED) : len(_SALTED) + 64]
    if not data.startswith(_SALTED) or not data[:_VALUE_AT].endswith(salt + _BETWEEN):
        return None
    if not _is_hash(salt.decode("latin-1")):
        return None
    return _sha256(b"fc/payload/v1\0" + bytes.fromhex(salt.decode()) + _value_of(data))


def _value_of(data: bytes) -> bytes:
    """The value in a payload file, as it is written."""
    return data[_VALUE_AT if data.startswith(_SALTED) else len(_PLAIN) : -1]


def _is_said(data: bytes, people: list[str], given: str | None) -> bool:
    """Whether this payload is the output of a gate that these people passed, with an input of the
    hash `given`."""
    value = _value_of(data)
    begin = b'{"approved":true,"approved_by":%b,"input":' % _encode(people).encode()
    said = value[len(begin) : -1]
    return value.startswith(begin) and (
        said == b"null" if given is None else _sha256(said) == given
    )


_MANIFEST_LINE = re.compile(rb"(#.*)?|(id|version|mode|tier|description): +[^\s\"'|>&*!{\[].*")
_LOOSE_LINE = re.compile(rb"mode: +loose *(#.*)?")


def _says_loose(data: bytes) -> bool:
    """Whether the `bundle.yaml` of a bundle says that its mode is loose, and says it so plainly
    that nobody can read it otherwise: each line is a key and a plain value."""
    lines = data.splitlines()
    plain = all(map(_MANIFEST_LINE.fullmatch, lines))
    return (
        plain
        and sum(line.startswith(b"mode:") for line in lines) == 1
        and any(map(_LOOSE_LINE.fullmatch, lines))
    )


def _hash_list(value: Any) -> list[bytes]:
    if type(value) is not list:
        raise Refusal("PROOF_SHAPE", "A proof is a list of hashes in base64.")
    hashes = [_from_base64(text) for text in value]
    if any(found is None or len(found) != 32 for found in hashes):
        raise Refusal("PROOF_SHAPE", "A proof is a list of hashes in base64.")
    return [found for found in hashes if found is not None]


def _read_hashes(data: bytes) -> list[bytes]:
    """The answer of `/ledger/proof/consistency`, however it is spaced."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if type(value) is not dict or "hashes" not in value:
        raise Refusal("PROOF_SHAPE", 'A consistency proof is `{"hashes": [base64…]}`.')
    return _hash_list(value["hashes"])


def _read_proofs(data: bytes) -> dict[int, list[bytes]]:
    proofs = _read_json(data)
    numbers = re.compile("0|[1-9][0-9]{0,18}")
    if type(proofs) is not dict or not all(map(numbers.fullmatch, proofs)):
        raise Refusal("PROOF_SHAPE", "Proofs are listed by leaf index.")
    return {int(index): _hash_list(hashes) for index, hashes in proofs.items()}


def _read_tiles(tiles: dict[str, bytes], size: int) -> Iterator[tuple[tuple[int, int], bytes]]:
    for path, data in tiles.items():
        level_text, _, rest = path.removeprefix("log/tile/").partition("/")
        number_text, _, _ = rest.partition(".p/")
        level, number = int(level_text), int(number_text.replace("x", "").replace("/", ""))
        width = _tile_width(level, number, size)
        if width == 0 or _tile_path(level, number, width) != path or len(data) != 32 * width:
            raise Refusal("PROOF_SHAPE", f"A tree of {size} leaves has no such tile.", path)
        yield (level, number), data


def _read_history(data: bytes) -> list[Json]:
    lines = data.split(b"\n")
    if len(lines) < 2 or lines[-1]:
        raise Refusal("NOT_CANONICAL", "Each epoch is followed by a newline.")
    epochs = [_read_json(line) for line in lines[:-1]]
    for epoch in epochs:
        if type(epoch) is not dict or epoch.keys() != {"from", "key", "to"}:
            raise Refusal("NOT_CANONICAL", "An epoch has from, key and to.")
        ends = type(epoch["to"]) is int or epoch["to"] is None
        if type(epoch["from"]) is not int or not ends:
            raise Refusal("NOT_CANONICAL", "An epoch is from one size of the tree to another.")
    return epochs


def _epochs_of(first: VerifierKey, rotations: list[tuple[int, Json]]) -> list[Json]:
    """The epochs that these rotations (leaf index, data) make."""
    epochs: list[Json] = [{"from": 0, "key": first.text, "to": None}]
    key = first
    for index, data in rotations:
        following = _parse_key(data["key"])
        if following is None or following.name != key.name or data["previous_key"] != key.text:
            raise Refusal("KEY_EPOCH", "A rotation does not follow from the key before.")
        told = {"key": following.text, "log": key.name, "previous_key": key.text}
        statement = b"fc/key-rotation/v1\0" + _encode(told).encode()
        for signer, name in ((following, "key_signature"), (key, "previous_signature")):
            signature = _from_base64(data[name]) or b""
            if not verify_signature(signer.public, statement, signature):
                text = f"The {name} of a rotation does not hold."
                raise Refusal("BAD_SIGNATURE", text, _event_file("log"))
        epochs[-1]["to"] = index
        epochs.append({"from": index + 1, "key": following.text, "to": None})
        key = following
    return epochs


_PAYLOAD_TYPE = "application/vnd.federation-core.workflow-receipt.v1+json"


def _open_envelope(data: bytes, trust: Trust) -> tuple[bytes, VerifierKey]:
    """The payload of a DSSE v1 envelope, and the trusted issuer that signed it."""
    envelope = _read_json(data)
    members = {"payload", "payloadType", "signatures"}
    if type(envelope) is not dict or envelope.keys() != members:
        raise Refusal("NOT_CANONICAL", "It is no DSSE envelope.")
    payload, signatures = _from_base64(envelope["payload"]), envelope["signatures"]
    if payload is None or type(signatures) is not list or not all(map(_is_signature, signatures)):
        raise Refusal("NOT_CANONICAL", "It is no DSSE envelope.")
    kind = envelope["payloadType"]
    if kind != _PAYLOAD_TYPE:
        raise Refusal("RECEIPT_TYPE", f"It is not of the type {_PAYLOAD_TYPE}.")
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    issuers = {key.keyid: key for key in trust.issuers}
    signers = []
    for signature in signatures:
        key = issuers.get(signature["keyid"])
        if key is None:
            continue
        if not verify_signature(key.public, message, _from_base64(signature["sig"]) or b""):
            raise Refusal("RECEIPT_SIGNATURE", f"The signature of {key.keyid} does not hold.")
        signers.append(key)
    if not signers:
        raise Refusal("RECEIPT_SIGNATURE", "No trusted issuer signed it.")
    return payload, signers[0]


def _is_signature(value: Any) -> bool:
    return type(value) is dict and value.keys() == {"keyid", "sig"} and _names([*value.values()])


# --- The command ---------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="verify.py",
        description="Verify an evidence pack: nothing in it was changed, and it is lawful.",
        epilog="Exit status: 0 valid, 1 invalid, 2 unreadable, 3 untrusted, 4 incomplete.",
    )
    parser.add_argument("pack", help="the evidence pack, a zip")
    parser.add_argument("--trust", metavar="FILE", help="whom to believe: a file of verifier keys")
    parser.add_argument("--run", metavar="ID", help="the run that the pack must be about")
    parser.add_argument("--tenant", metavar="T", help="the tenant that the pack must be of")
    parser.add_argument("--seen", metavar="FILE", help="a checkpoint of the log, seen before")
    parser.add_argument("--consistency", metavar="FILE", help="the proof between it and the pack's")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    options = parser.parse_args(argv)
    if options.consistency and not options.seen:
        parser.error("--consistency leads from a checkpoint; give it with --seen")
    bar = _Bar()
    try:
        verdict = verify_pack(
            options.pack,
            _text_of(options.trust),
            run=options.run,
            tenant=options.tenant,
            seen=Path(options.seen).read_bytes() if options.seen else None,
            consistency=Path(options.consistency).read_bytes() if options.consistency else None,
            progress=bar if sys.stderr.isatty() else None,
        )
    except OSError as e:
        sys.stderr.write(f"{e.filename or options.pack} cannot be read: {e.strerror or e}\n")
        return _UNREADABLE_EXIT
    finally:
        bar.close()
    told = json.dumps(verdict.as_dict()) if options.json else _told(verdict)
    sys.stdout.write(f"{told}\n")
    return verdict.exit_status


def _text_of(path: str | None) -> str | None:
    # Bytes that are not UTF-8 become a line that cannot be read.
    return None if path is None else Path(path).read_bytes().decode("utf-8-sig", "replace")


class _Bar:
    """How far it is, on a line of the terminal that is overwritten."""

    _LEAST = 5_000
    _WIDTH = 40

    def __init__(self) -> None:
        self._shown = ""

    def __call__(self, done: int, of: int) -> None:
        if of < self._LEAST:
            return
        filled = self._WIDTH * done // of
        text = f"\r[{'#' * filled}{'.' * (self._WIDTH - filled)}] {done:,} of {of:,} events"
        if text != self._shown:
            self._shown = text
            sys.stderr.write(text)
            sys.stderr.flush()

    def close(self) -> None:
        if self._shown:
            sys.stderr.write("\r" + " " * (len(self._shown) + 1) + "\r")


def _told(verdict: Verdict) -> str:
    """The verdict for a person."""
    lines = [verdict.verdict]
    error = verdict.error
    if error is not None:
        place = ", line ".join(str(part) for part in (error["file"], error["line"]) if part)
        lines += [f"  {error['code']}" + (f" in {place}" if place else ""), f"  {error['message']}"]
    facts: list[tuple[str, Any]] = []
    if verdict.log is not None:
        point, names = verdict.checkpoint, ", ".join(verdict.witnesses)
        facts = [
            ("log", verdict.log),
            ("tenant", verdict.tenant or "unknown"),
            ("run" if len(verdict.run_ids) == 1 else "runs", _shortened(verdict.runs)),
            ("events", f"{verdict.events:,}"),
            ("decisions", _counts(verdict.decisions) + f", {verdict.approvals} approvals"),
            ("bypasses", f"{verdict.bypasses}"),
            ("payloads", _counts(verdict.payloads)),
            ("checkpoint", f"{point['size']:,} events, root {point['root']}" if point else "none"),
            ("witnesses", f"{len(verdict.witnesses)}" + (f" ({names})" if names else "")),
        ]
    lines += [f"  {name + ':':<12}{_printable(value)}" for name, value in facts]
    return "\n".join(_printable(line) for line in lines)


def _shortened(runs: Sequence[Json]) -> str:
    """Each with its outcome, those with a bypass first."""
    loud = sorted(runs, key=lambda run: not run["bypasses"])
    more = f" and {len(runs) - 5} more" if len(runs) > 5 else ""
    return ", ".join(map(_told_run, loud[:5])) + more


def _told_run(run: Json) -> str:
    bypasses = f", {run['bypasses']} bypassed" if run["bypasses"] else ""
    return f"{run['run_id']} ({run['outcome'] or 'its end is not in this pack'}{bypasses})"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _printable(text: Any) -> str:
    """Nothing that came from a pack steers a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


if __name__ == "__main__":
    sys.exit(main())
