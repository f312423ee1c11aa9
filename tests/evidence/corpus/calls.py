"""Single functions of the verifier, called with what is ordinary and with what is at an edge."""

import hashlib
import io
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any, cast
from unittest import mock

from tests.evidence.corpus.cases import HASH, Json
from tests.evidence.pack_forge import Key, Tree, canonical, consistency_proof, leaf, raw_zip
from tests.transparency.ct_vectors import CT_LEAVES
from tests.transparency.edwards import L, P
from tests.transparency.test_ed25519 import SPELLINGS, VECTORS

from federation_core.evidence import verify

__all__ = ["CALLS", "Call", "said"]

Call = tuple[str, Callable[..., Any], tuple[Any, ...]]

SEED = b"\5" * 32
KEY = Key("log", SEED)
INSTANT = "2026-11-23T12:00:00.000000Z"


def said(call: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """What a call gives, or the refusal that it raises."""
    try:
        return _text(call(*arguments))
    except verify.Refusal as e:
        return f"{e.code} {e.message}" + (f" {e.file}" if e.file else "")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return repr(value)


def signatures() -> Iterator[Call]:
    message = b"message"
    good, public = KEY.sign(message), KEY.public
    s = int.from_bytes(good[32:], "little")

    def with_s(number: int) -> bytes:
        return good[:32] + number.to_bytes(32, "little")

    for vector, told in VECTORS.items():
        key, body, signature = (bytes.fromhex(part) for part in told[-3:])
        yield f"RFC 8032 {vector}", verify.verify_signature, (key, body, signature)
        yield f"RFC 8032 {vector}x", verify.verify_signature, (key, body + b"x", signature)
    for name, arguments in {
        "good": (public, message, good),
        "other": (public, b"", good),
        "S + L": (public, message, with_s(s + L)),
        "S = L": (public, message, with_s(L)),
        "S = 0": (public, message, with_s(0)),
        "short": (public, message, good[:-1]),
        "long": (public, message, good + b"\0"),
        "no signature": (public, message, b""),
        "short key": (public[:-1], message, good),
        "long key": (public + b"\0", message, good),
        "y = p": (P.to_bytes(32, "little"), message, good),
        "R of y = p": (public, message, P.to_bytes(32, "little") + good[32:]),
        "other R": (public, message, public + good[32:]),
        "other key": (good[:32], message, good),
    }.items():
        yield name, verify.verify_signature, arguments
    secret = int.from_bytes(hashlib.sha512(SEED).digest()[:32], "little")
    secret = secret & (1 << 254) - 8 | 1 << 254
    for number, spelling in enumerate(SPELLINGS):
        # Who has the key can make these (RFC 8032, section 5.1.5); for R = 0 the equation holds.
        hashed = hashlib.sha512(spelling + public + message).digest()
        s = int.from_bytes(hashed, "little") * secret % L
        yield (
            f"own low order R {number}",
            verify.verify_signature,
            (
                public,
                message,
                spelling + s.to_bytes(32, "little"),
            ),
        )
    for number, spelling in enumerate(SPELLINGS):
        yield f"low order key {number}", verify.verify_signature, (spelling, message, with_s(0))
        yield (
            f"low order R {number}",
            verify.verify_signature,
            (public, message, spelling + good[32:]),
        )
        # the equation alone would hold for these
        yield (
            f"low order both {number}",
            verify.verify_signature,
            (spelling, b"", spelling + bytes(32)),
        )
    points = [bytes([n]) + bytes(31) for n in range(24)]
    points += [bytes([n]) + bytes(30) + b"\x80" for n in range(12)]
    points += [(P + n).to_bytes(32, "little") for n in range(-3, 19)]
    points += [b"\xff" * 32, public, *SPELLINGS]
    for point in points:
        yield f"point {point.hex()}", verify._decode_point, (point,)
    base = verify._decode_point(verify._BASE)
    assert base is not None
    for b, k in ((0, 0), (1, 0), (0, 1), (1, 1), (2, 3), (L - 1, 1), (L - 1, L - 1), (5, 2**252)):
        yield f"{b} B + {k} B", _combined, (b, k)
    for name, summed in (("B", base), ("0", verify._NEUTRAL), ("2 B", verify._add(base, base))):
        yield f"encoded {name}", verify._encode_point, (summed,)
    yield "added", _sums, ()


def _combined(s: int, k: int) -> bytes:
    rows = verify._multiples(verify._BASE)
    assert rows is not None
    two = verify._multiples(verify._encode_point(rows[0][2]))
    assert two is not None
    return verify._encode_point(verify._add(verify._times(s, rows), verify._times(k, two)))


def _sums() -> list[bytes]:
    """0·B to 20·B by addition, and by doubling what comes before."""
    points = [verify._NEUTRAL]
    base = verify._decode_point(verify._BASE)
    assert base is not None
    for _ in range(20):
        points.append(verify._add(points[-1], base))
    both = points + [verify._add(point, point) for point in points]
    return [verify._encode_point(point) for point in both]


def json_values() -> Iterator[Call]:
    deep = b"[" * 40 + b"]" * 40
    for text in (
        b"{}", b"[]", b"0", b"-0", b"01", b"1.0", b"1e1", b"1.5e300000", b"NaN", b"Infinity",
        b"-Infinity", b"true", b"null", b'""', b'"a', b"", b" {}", b"{} ", b"{}{}", b"{}x",
        b'{"b":1,"a":1}', b'{"a":1,"a":1}', b'{"a":1, "b":1}', b'"\\u0041"', b'"\\ud800"',
        b'"\\ud83d\\ude00"', '"😀"'.encode(), '"é"'.encode(), b'"\\u00e9"', b'"\xed\xa0\x80"',
        b'"\\/"', b'"/"', b'"\x7f"', b'"\x1f"', b'"\\u001f"', b'"\\n"', b'"\\u000a"', b"\xff",
        b"\xef\xbb\xbf{}", b"9007199254740991", b"9007199254740992", b"-9007199254740991",
        b"-9007199254740992", b"99999999999999999", b"999999999999999999", b"1" * 5000,
        b"-9999999999999999", b"[1,2,{}]", b"1." + b"2" * 40, deep, b"[" * 100_000,
    ):  # fmt: skip
        yield f"{text[:40]!r} {len(text)}", verify._read_json, (text,)
    for name, value in {
        "31": _nested(31), "30": _nested(30), "32": _nested(32), "33": _nested(33),
        "lists 30": _nested(30, listed=True), "lists 31": _nested(31, listed=True),
        "lists 29": _nested(29, listed=True),
        "upper": {"A": 1}, "deep upper": {"a": [{"b": {"C": 1}}]}, "empty": {"": 1},
        "dash": {"a-b": 1}, "all": {"abcdefghijklmnopqrstuvwxyz_0123456789": 1}, "é": {"é": 1},
        "newline": {"a\n": 1}, "long": {"X" * 60: 1}, "kelvin": {"\u212a": 1},
    }.items():  # fmt: skip
        yield f"profile {name}", _event_of, (value,)
    for key in ("a", "A", "a_0", "", "a b", "X" * 50):
        yield f"key {key[:9]!r}", _key, (key,)
    yield "many keys", _many_keys, ()


def _nested(levels: int, *, listed: bool = False) -> Any:
    value: Any = {"x": 1}
    for _ in range(levels - 1):
        value = {"a": [value]} if listed else {"a": value}
    return value


def _event(**changes: Any) -> Json:
    event: Json = {
        "actor": "a", "at": INSTANT, "data": {}, "log": "l", "prev": "p", "seq": 0, "stream": "s",
        "tenant": "t", "type": "x", "v": 1, "via": None,
    }  # fmt: skip
    return event | changes


def _event_of(data: Any) -> Json:
    verify._good_keys.clear()
    return verify.parse_event(canonical(_event(data=data)))


def _key(key: str) -> bool:
    verify._good_keys.clear()
    verify._check_key(key)
    return key in verify._good_keys


def _many_keys() -> int:
    """A pack does not fill the memory with its keys."""
    verify._good_keys.clear()
    for number in range(1_002):
        verify._check_key(f"k{number}")
    count = len(verify._good_keys)
    verify._good_keys.clear()
    return count


def events() -> Iterator[Call]:
    others: tuple[Any, ...] = (None, True, 0, 1, -1, 2, "", "x", [], {}, INSTANT)
    for name in [*_event(), "extra"]:
        for number, other in enumerate(others):
            body = canonical(_event(**{name: other}))
            yield f"{name} {number}", verify.parse_event, (body,)
        event = {key: value for key, value in _event().items() if key != name}
        yield f"no {name}", verify.parse_event, (canonical(event),)
    for body in (b"[]", b"1", b'""', b"null", b'{"v":2}', b'{"v":1}', b'{"v":true}', b"{}"):
        yield f"body {body!r}", verify.parse_event, (body,)
    instants: tuple[Any, ...] = (
        INSTANT, "2026-11-23T12:00:00.000001Z", "2026-11-23T12:00:00Z",
        "2026-11-23 12:00:00.000000Z", "2026-11-23T12:00:00.000000+",
        "2026-11-23T12:00:00.00000Z", "2026-11-23T12:00:00.0000000Z",
        "2026-02-29T12:00:00.000000Z", "2024-02-29T12:00:00.000000Z",
        "2026-13-23T12:00:00.000000Z", "2026-11-23T24:00:00.000000Z",
        "2026-11-23T23:59:60.000000Z", "0000-11-23T12:00:00.000000Z",
        "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z",
        "2026-11-23T12:00:00,000000Z", "20261123T120000.000000+0000",
        "2026-W47-1T12:00:00.000000Z", "", "x" * 27, None, 27, True, [],
        "2026-11-23t12:00:00.000000Z", "2026-11-23T12:00:00.000000z",
    )  # fmt: skip
    for at in instants:
        yield f"instant {at!r}", _instant, (at,)
    for instant, seconds in (
        (INSTANT, 0), (INSTANT, 1), (INSTANT, 60), (INSTANT, -1), (INSTANT, 86_400 * 365),
        ("9999-12-31T23:59:59.999998Z", 0), ("9999-12-31T23:59:59.999998Z", 1),
        (INSTANT, 10**11), (INSTANT, 10**18), (INSTANT, 10**30),
    ):  # fmt: skip
        yield f"{instant} + {seconds}", verify._later, (instant, seconds)


def _instant(text: Any) -> list[bool]:
    """Read, and read again: what was read is remembered."""
    return [verify._is_instant(text), verify._is_instant(text)]


def texts() -> Iterator[Call]:
    for value in (
        HASH, HASH[:-1], HASH + "f", HASH.upper(), "g" * 64, " " * 64, 64, None, b"f" * 64,
        "0123456789abcdef" * 4, HASH[:-1] + "\n", "f" * 32 + "x" + "f" * 31,
        "X" + HASH[1:], HASH[:-1] + "X",
    ):  # fmt: skip
        yield f"hash {str(value)[:70]!r}", verify._is_hash, (value,)
    for value in (
        "", "AA==", "AB==", "AAA=", "AAAA", "AAAA\n", "AA", "!", "A===", "AA-_", "AA+/", "é",
        None, 1, b"AAAA", "AAAAAA==", "AAAA AAAA",
    ):  # fmt: skip
        yield f"base64 {value!r}", verify._from_base64, (value,)
    name, hashed, material = KEY.vkey.split("+", 2)
    spellings: tuple[Any, ...] = (
        KEY.vkey, "", "+", "++", name, f"{name}+{hashed}", f"+{hashed}+{material}", None, 1,
        f"{name}+{hashed}+{material}x", f"x{name}+{hashed}+{material}",
        f"{name}+{hashed.upper()}+{material}", f"{name}+{hashed[:-1]}+{material}",
        f"{name}+{hashed}0+{material}", f"{name}+00000000+{material}",
        f"{name}+{hashed}+{material[:-4]}", f"{name}+{hashed}+{material[:-1]}",
        f"lo g+{hashed}+{material}", "a\ud800+x+y", _vkey(bytes(32)), _vkey(bytes(31)),
        _vkey(bytes(33)), _vkey(P.to_bytes(32, "little")),
        *(Key(odd, b"\5" * 32).vkey for odd in ("a b", "a\tb", "é", "", "a\x7f")),
        *(Key("log", b"\5" * 32, algorithm).vkey for algorithm in (4, 255)),
    )  # fmt: skip
    for text in spellings:
        yield f"key {text!r}", verify._parse_key, (text,)
    key = verify._parse_key(KEY.vkey)
    assert key is not None
    yield "keyid", lambda: key.keyid, ()
    yield "text", lambda: key.text, ()
    for words in (
        [],
        ["0"],
        ["1"],
        ["01"],
        ["-1"],
        ["999999"],
        ["1000000"],
        ["1", "1"],
        ["x"],
        ["1\n"],
    ):
        yield f"count {words}", verify._is_count, (words,)
    yield "trust of its own", lambda: verify.Trust((), ()), ()
    yield "the definition of no life", lambda: verify.Life(None).definition_hash, ()
    yield "a refusal in words", lambda: str(verify.Refusal("ORIGIN", "what is wrong")), ()


def _vkey(public: bytes) -> str:
    material = b"\1" + public
    hashed = hashlib.sha256(b"log\n" + material).digest()[:4].hex()
    return f"log+{hashed}+{b64encode(material).decode()}"


def trees() -> Iterator[Call]:
    leaves = [bytes.fromhex(leaf(b"%d" % n)) for n in range(20)]
    tree = Tree(leaves)
    for size in range(len(leaves) + 1):
        yield f"root {size}", _range, (leaves[:size],)
    yield "published", _range, (list(CT_LEAVES),)
    for size in range(1, 10):
        root = tree.range(0, size)
        for index in range(-1, size + 1):
            proof = tree.inclusion(index, size) if 0 <= index < size else []
            where = f"{index} of {size}"
            known = leaves[max(index, 0)]
            for name, told, top, what in (
                ("", proof, root, known),
                ("longer ", [*proof, root], root, known),
                ("shorter ", proof[:-1], root, known),
                ("turned ", proof[::-1], root, known),
                ("other root ", proof, HASH.encode()[:32], known),
                ("other leaf ", proof, root, root[::-1]),
            ):
                yield f"{name}{where}", verify.verify_inclusion, (what, index, size, told, top)
    for new in range(11):
        for old in range(new + 2):
            fits = 0 < old <= new
            proof = consistency_proof(tree, old, new) if 0 < old < new else []
            roots = (tree.range(0, old), tree.range(0, new)) if fits else (b"", b"")
            for name, told, pair in (
                ("", proof, roots),
                ("longer ", [*proof, leaves[0]], roots),
                ("shorter ", proof[:-1], roots),
                ("turned ", proof[::-1], roots),
                ("old ", proof, (bytes(32), roots[1])),
                ("new ", proof, (roots[0], bytes(32))),
                ("first ", [bytes(32), *proof[1:]], roots),
            ):
                yield f"{name}{old} to {new}", verify.verify_consistency, (old, new, told, *pair)
    for level in range(4):
        for number in (0, 1, 2, 255, 256, 999, 1000, 1001, 1_234_567):
            for width in (1, 255, 256):
                yield f"path {level} {number} {width}", verify._tile_path, (level, number, width)
            for size in (0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 131_072):
                yield f"width {level} {number} {size}", verify._tile_width, (level, number, size)
    for index in (-1, 0, 3, 4, 5):
        yield f"tile with {index}", _in_tile, (index, leaves)
        yield f"proof of {index}", _proved, (index, leaves)
    yield "proofs left", verify._Proofs({5: [], 4: []}, 9, b"").finish, ()
    for count in (1, 2, 4, 256):
        yield f"tile root {count}", verify._tile_root, (b"".join(leaves * 13)[: 32 * count],)


def _in_tile(index: int, leaves: list[bytes]) -> None:
    tiles = {(0, 0): b"".join(leaves[:4])}
    verify._Tiles(tiles, 4, b"").see(index, leaves[index % 4])


def _proved(index: int, leaves: list[bytes]) -> None:
    proofs: dict[int, list[bytes]] = {4: [], 5: []} if index == 4 else {index: []}
    verify._Proofs(proofs, 4, b"").see(index, leaves[index % 4])


def _archive(files: int) -> list[str]:
    data = raw_zip([(f"f{number}", b"") for number in range(files)])
    with mock.patch.object(verify, "_MAX_FILES", 3), tempfile.TemporaryFile() as file:
        file.write(data)
        return sorted(verify._Archive(cast("io.BufferedReader", file)).files)


def _range(leaves: list[bytes]) -> list[Any]:
    told = verify.CompactRange()
    for one in leaves:
        told.append(one)
    return [told.size, len(told.nodes), told.root()]


def small_files() -> Iterator[Call]:
    yield "the most files", lambda: verify._MAX_FILES, ()
    for files in (2, 3, 4):
        yield f"a zip of {files} where 3 are the most", _archive, (files,)
    numbers: tuple[Any, ...] = (
        [], [0], [1, 2], [1, 1], [2, 1], [-1], [0, True], [True], ["0"], {}, None, [0, 5, 9],
    )  # fmt: skip
    for value in numbers:
        yield f"index {value}", verify._is_index, (value,)
    listings: tuple[Any, ...] = (
        {"sha256": HASH, "size": 1}, {"sha256": HASH}, {"sha256": HASH, "size": True},
        {"sha256": "x", "size": 1}, {"sha256": HASH, "size": 1, "x": 1}, None, [],
    )  # fmt: skip
    for listing in listings:
        yield f"listing {str(listing)[-40:]}", verify._is_listing, (listing,)
    for stream in ("run:a", "log:a/b", "log:/a//"):
        yield f"file of {stream}", verify._event_file, (stream,)
    for text in ("a", "a\x1b[0m", "é", "\u202e", 5, "a b", "a\n"):
        yield f"printed {text!r}", verify._printable, (text,)
    for count in (0, 1, 5, 6, 7):
        yield f"shortened {count}", verify._shortened, (_told_runs(count),)


def chains() -> Iterator[Call]:
    first: Json = _event(prev=verify.ZERO_HASH)
    second = _event(seq=1, prev=HASH)
    for name, arguments in {"plain": ("s",), "log": ("s", "l"), "other log": ("s", "x"),
                            "tenant": ("s", "l", "t"), "other": ("s", "l", "x"), "stream": ("x",),
                            "of the log": ("log", "l", "x")}.items():  # fmt: skip
        links: dict[str, Json] = {
            "": {}, "seq": {"seq": 2}, "again": {"seq": 0}, "prev": {"prev": "x"},
            "tenant": {"tenant": "x"}, "log": {"log": "x"}, "stream": {"stream": "log"},
            "earlier": {"at": "2026-11-23T11:00:00.000000Z"},
            "later": {"at": "2026-11-23T13:00:00.000000Z"},
        }  # fmt: skip
        for what, changes in links.items():
            stream: Json = {"stream": "log" if name == "of the log" else "s"}
            told = [first | stream, second | stream | changes]
            yield f"{name} {what}", _chained, (arguments, told)


def _chained(arguments: tuple[Any, ...], events: list[Json]) -> list[Any]:
    chain = verify.Chain(*arguments)
    for event in events:
        chain.see(event, HASH)
    return [chain.seq, chain.hash, chain.at, chain.stream, chain.log, chain.tenant]


CALLS: dict[str, Callable[[], Iterator[Call]]] = {
    make.__name__: make
    for make in (signatures, json_values, events, texts, trees, small_files, chains)
}


def _told_runs(count: int) -> list[dict[str, object]]:
    outcomes = ("completed", None, "failed", "cancelled")
    return [
        {"run_id": f"r{n}", "outcome": outcomes[n % 4], "bypasses": (n + 1) // 3}
        for n in range(count)
    ]
