"""The verifier's parts, each against published vectors, against one written otherwise, and against
what it must refuse."""

import ast
import json
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.pack_forge import (
    Key,
    Tree,
    canonical,
    consistency_proof,
    leaf,
    payload_file,
    sign_note,
    tile_path,
)
from tests.transparency.ct_vectors import CT_CONSISTENCY, CT_INCLUSION, CT_LEAVES, CT_ROOTS
from tests.transparency.edwards import L, P, encode_as
from tests.transparency.test_ed25519 import SPELLINGS, VECTORS

from federation_core.evidence import verify
from federation_core.evidence.verify import (
    Chain,
    CompactRange,
    Refusal,
    Trust,
    VerifierKey,
    leaf_hash,
    open_checkpoint,
    parse_event,
    parse_trust,
    verify_consistency,
    verify_inclusion,
    verify_signature,
)

KEY = Key("log.example/acme", b"\1" * 32)
WITNESS = Key("witness.example", b"\2" * 32, 4)


def refused(what: Callable[..., object], *given: object) -> str:
    """The code with which it is refused."""
    with pytest.raises(Refusal) as caught:
        what(*given)
    assert caught.value.message.endswith(".") or caught.value.code == "ILLEGAL_TRANSITION"
    return caught.value.code


def test_it_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(verify.__file__).read_text())
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module or "")
    assert imported
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


# Ed25519


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_rfc_8032(vector: tuple[str, str, str, str]) -> None:
    _, public, message, signature = map(bytes.fromhex, vector)
    assert verify_signature(public, message, signature)
    assert not verify_signature(public, message + b"x", signature)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 511))
def test_signatures_of_another_library(seed: bytes, message: bytes, bit: int) -> None:
    key = Key("x", seed)
    signature = key.sign(message)
    changed = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
    assert verify_signature(key.public, message, signature)
    assert not verify_signature(key.public, message, changed)


def test_s_plus_l_is_not_a_second_signature() -> None:
    signature = KEY.sign(b"m")
    s = int.from_bytes(signature[32:], "little")
    for more in range(L, 2**256 - s, L):
        assert not verify_signature(
            KEY.public, b"m", signature[:32] + (s + more).to_bytes(32, "little")
        )


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: s.hex()[:8] + s.hex()[-2:])
def test_low_order_keys_and_nonces_sign_nothing(spelling: bytes) -> None:
    """Under such a key, R = S·B would be a signature of many messages."""
    for s in range(3):
        assert not verify_signature(spelling, b"m", spelling + s.to_bytes(32, "little"))
    honest = KEY.sign(b"m")
    assert not verify_signature(spelling, b"m", honest)
    assert not verify_signature(KEY.public, b"m", spelling + honest[32:])


def test_a_y_that_is_not_below_p() -> None:
    assert not verify_signature(encode_as(P + 3, odd=False), b"m", KEY.sign(b"m"))


@pytest.mark.parametrize("size", [0, 31, 33, 63, 65])
def test_lengths(size: int) -> None:
    signature = KEY.sign(b"m")
    assert not verify_signature(KEY.public, b"m", (signature * 2)[:size])
    assert not verify_signature((KEY.public * 3)[:size], b"m", signature)


# trust


def test_a_trust_file() -> None:
    text = (
        f"# from the operator\n\nlog {KEY.vkey}   # its key\nissuer {KEY.vkey}\r\n"
        f"witness {WITNESS.vkey}\n  quorum 1\n"
    )
    trust = parse_trust(text)
    assert [key.text for key in (*trust.logs, *trust.issuers)] == [KEY.vkey] * 2
    assert [key.name for key in trust.witnesses] == ["witness.example"]
    assert trust.quorum == 1
    assert parse_trust(f"log {KEY.vkey}\nissuer {KEY.vkey}").quorum == 0


_GOOD = f"log {KEY.vkey}\nissuer {KEY.vkey}\n"
_OTHER = Key("log.example/other", b"\1" * 32)


@pytest.mark.parametrize(
    "text",
    {
        "none": None,
        "empty": "",
        "no log": f"issuer {KEY.vkey}\n",
        "no issuer": f"log {KEY.vkey}\n",
        "commented out": f"log {KEY.vkey}\n# issuer {KEY.vkey}\n",
        "an unknown word": _GOOD + f"logs {KEY.vkey}\n",
        "a key and more": _GOOD + f"issuer {KEY.vkey} x\n",
        "the key twice": _GOOD + f"log {KEY.vkey}\n",
        "a witness that signs as a log": _GOOD + f"witness {KEY.vkey}\n",
        "a log that signs as a witness": _GOOD + f"log {WITNESS.vkey}\n",
        "two quorums": _GOOD + "quorum 1\nquorum 1\n",
        "a quorum that is no number": _GOOD + "quorum one\n",
        "a negative quorum": _GOOD + "quorum -1\n",
        "no base64": _GOOD.replace("+A", "+!", 1),
        "another name than the hash": _GOOD + f"log {KEY.vkey.replace('acme', 'acne')}\n",
        "a key of low order": _GOOD
        + f"log x+{'0' * 8}+{b64encode(bytes([1]) + bytes(32)).decode()}\n",
    }.items(),
    ids=lambda item: item[0],
)
def test_no_trust(text: tuple[str, str | None]) -> None:
    assert refused(parse_trust, text[1]) == "NO_TRUST"


# notes


TREE = Tree([bytes.fromhex(leaf(b"%d" % i)) for i in range(9)])
ROOT = b64encode(TREE.range(0, 9)).decode()
TEXT = f"{KEY.name}\n9\n{ROOT}\n"
TRUST = parse_trust(f"{_GOOD}witness {WITNESS.vkey}\n")


def test_a_checkpoint() -> None:
    point = open_checkpoint(sign_note(TEXT, KEY, WITNESS), TRUST)
    assert (point.origin, point.size, point.root) == (KEY.name, 9, TREE.range(0, 9))
    assert [key.name for key in point.witnesses] == [WITNESS.name]
    alone = open_checkpoint(sign_note(TEXT, Key("unknown", b"\3" * 32), KEY), TRUST)
    assert (alone.signers[0].name, alone.witnesses) == (KEY.name, ())


def _swapped(text: str) -> bytes:
    """Signed was another text."""
    signed = sign_note(TEXT, KEY).decode()
    return (text + signed[len(TEXT) :]).encode()


_NOTES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "NOTE_MALFORMED"),
    "not UTF-8": (b"\xff" + sign_note(TEXT, KEY), "NOTE_MALFORMED"),
    "no signature": (TEXT.encode() + b"\n", "NOTE_MALFORMED"),
    "no blank line": (TEXT.encode(), "NOTE_MALFORMED"),
    "no newline at the end": (sign_note(TEXT, KEY)[:-1], "NOTE_MALFORMED"),
    "another dash": (sign_note(TEXT, KEY).replace("—".encode(), b"-"), "NOTE_MALFORMED"),
    "a control character": (_swapped(TEXT.replace("9", "\t9")), "NOTE_MALFORMED"),
    "a fourth line": (sign_note(f"{TEXT}x\n", KEY), "NOTE_MALFORMED"),
    "a size with a zero before": (sign_note(TEXT.replace("\n9", "\n09"), KEY), "NOTE_MALFORMED"),
    "a size too large": (sign_note(TEXT.replace("\n9", f"\n{2**63}"), KEY), "NOTE_MALFORMED"),
    "a short root": (sign_note(TEXT.replace(ROOT, ROOT[4:]), KEY), "NOTE_MALFORMED"),
    "signed twice": (sign_note(TEXT, KEY, KEY), "NOTE_MALFORMED"),
    "too many signatures": (sign_note(TEXT, *[KEY] * 101), "NOTE_MALFORMED"),
    "too long": (sign_note(TEXT, KEY) + b"x" * 1_000_000, "NOTE_MALFORMED"),
    "another log": (sign_note(TEXT.replace("acme", "acne"), KEY), "ORIGIN"),
    "another log's key": (sign_note(TEXT, Key(KEY.name, b"\4" * 32)), "UNKNOWN_KEY"),
    "only a witness": (sign_note(TEXT, WITNESS), "UNKNOWN_KEY"),
    "another size": (_swapped(TEXT.replace("\n9", "\n8")), "BAD_SIGNATURE"),
    "another text cosigned": (
        sign_note(TEXT, KEY) + WITNESS.line(TEXT.replace("\n9", "\n8")).encode(),
        "BAD_SIGNATURE",
    ),
    "a cosignature of no time": (
        sign_note(TEXT, KEY)
        + b"\xe2\x80\x94 witness.example %b\n" % b64encode(WITNESS.key_hash + bytes(64)),
        "BAD_SIGNATURE",
    ),
}


@pytest.mark.parametrize("case", _NOTES.values(), ids=_NOTES)
def test_notes_that_are_refused(case: tuple[bytes, str]) -> None:
    data, code = case
    assert refused(open_checkpoint, data, TRUST) == code


def test_no_byte_of_a_note_can_be_changed() -> None:
    note = sign_note(TEXT, KEY)
    for at in range(len(note)):
        changed = note[:at] + bytes([note[at] ^ 1]) + note[at + 1 :]
        assert refused(open_checkpoint, changed, TRUST) in {
            "NOTE_MALFORMED",
            "ORIGIN",
            "UNKNOWN_KEY",
            "BAD_SIGNATURE",
        }


# the tree


def test_the_published_tree() -> None:
    for size, root in enumerate(CT_ROOTS):
        tree = CompactRange()
        for body in CT_LEAVES[:size]:
            tree.append(leaf_hash(body))
        assert (tree.size, tree.root()) == (size, root)
    for (index, size), proof in CT_INCLUSION.items():
        verify_inclusion(leaf_hash(CT_LEAVES[index]), index, size, proof, CT_ROOTS[size])
    for (old, new), proof in CT_CONSISTENCY.items():
        verify_consistency(old, new, proof, CT_ROOTS[old], CT_ROOTS[new])


LEAVES = [sha256(b"%d" % i).digest() for i in range(20)]
GROVE = Tree(LEAVES)


@pytest.mark.parametrize("size", range(1, 21))
def test_every_inclusion_proof(size: int) -> None:
    root = GROVE.range(0, size)
    for index in range(size):
        proof = GROVE.inclusion(index, size)
        verify_inclusion(LEAVES[index], index, size, proof, root)
        for place in range(len(proof)):
            bad = [*proof[:place], bytes(32), *proof[place + 1 :]]
            assert refused(verify_inclusion, LEAVES[index], index, size, bad, root) == (
                "ROOT_MISMATCH"
            )
        longer = [*proof, bytes(32)]
        assert refused(verify_inclusion, LEAVES[index], index, size, longer, root) == (
            "PROOF_SHAPE"
        )
        for other in range(-1, size + 1):
            if other != index:
                code = refused(verify_inclusion, LEAVES[index], other, size, proof, root)
                assert code in {"ROOT_MISMATCH", "PROOF_SHAPE", "INDEX_RANGE"}


@pytest.mark.parametrize("new", range(1, 21))
def test_every_consistency_proof(new: int) -> None:
    for old in range(1, new + 1):
        roots = (GROVE.range(0, old), GROVE.range(0, new))
        proof = consistency_proof(GROVE, old, new)
        verify_consistency(old, new, proof, *roots)
        for place in range(len(proof)):
            bad = [*proof[:place], bytes(32), *proof[place + 1 :]]
            assert refused(verify_consistency, old, new, bad, *roots) == "INCONSISTENT"
        for bad_roots in ((bytes(32), roots[1]), (roots[0], bytes(32))):
            code = refused(verify_consistency, old, new, proof, *bad_roots)
            assert code == "INCONSISTENT"
        code = refused(verify_consistency, old, new, [*proof, bytes(32)], *roots)
        assert code == "PROOF_SHAPE"
    assert refused(verify_consistency, 0, new, [], b"", b"") == "INDEX_RANGE"
    assert refused(verify_consistency, new + 1, new, [], b"", b"") == "INDEX_RANGE"


MANY = Tree([sha256(b"%d" % i).digest() for i in range(66_100)])


def _tiles(size: int, indexes: list[int], *, spare: bool) -> dict[tuple[int, int], bytes]:
    """The tiles from which the proofs of `indexes` follow; without `spare`, those of one entry,
    which stand for themselves, are left out."""
    wanted = {(0, index >> 8) for index in indexes}
    level = 0
    while size >> 8 * level:
        if (size >> 8 * level) & 255:
            wanted.add((level, size >> 8 * (level + 1)))
        wanted |= {(level, number >> 8) for was, number in wanted if was == level - 1}
        level += 1
    tiles = {tile: MANY.tile(*tile, size) for tile in wanted}
    return {t: data for t, data in tiles.items() if spare or len(data) > 32 or t[0] > 1}


@pytest.mark.parametrize("spare", [True, False], ids=["all tiles", "those that are needed"])
@pytest.mark.parametrize(
    "size", [1, 2, 255, 256, 257, 511, 512, 513, 65_536, 65_537, 66_049, 66_100]
)
def test_leaves_in_tiles(size: int, spare: bool) -> None:
    indexes = sorted({0, size // 2, max(size - 2, 0), size - 1})
    tiles = _tiles(size, indexes, spare=spare)
    tree = verify._Tiles(tiles, size, MANY.range(0, size))
    for index in indexes:
        tree.see(index, MANY.leaves[index])
    tree.finish()
    for index in indexes:
        fresh = verify._Tiles(dict(tiles), size, MANY.range(0, size))

        def lie(index: int = index, tree: verify._Tiles = fresh) -> None:
            tree.see(index, bytes(32))
            tree.finish()

        assert refused(lie) in {"ROOT_MISMATCH", "PROOF_SHAPE"}
    for tile, data in tiles.items():
        for place in range(0, len(data), max(32, len(data) // 8)):
            bad = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            changed = verify._Tiles(tiles | {tile: bad}, size, MANY.range(0, size))
            assert refused(changed.finish) in {"ROOT_MISMATCH", "PROOF_SHAPE"}


def test_paths_of_tiles() -> None:
    for level, number, size in ((0, 0, 256), (0, 1, 300), (1, 0, 66_100), (0, 1_234_067, 2**40)):
        width = verify._tile_width(level, number, size)
        assert verify._tile_path(level, number, width) == tile_path(level, number, size)
    assert verify._tile_path(0, 1_234_067, 256) == "log/tile/0/x001/x234/067"


# events


EVENT: dict[str, Any] = {
    "actor": "alice",
    "at": "2026-11-23T12:00:00.000000Z",
    "data": {"text": '“ü” \u007f \\ " \n', "list": [1, None, True]},
    "log": "log.example/acme",
    "prev": "0" * 64,
    "seq": 0,
    "stream": "run:r1",
    "tenant": "acme",
    "type": "FC-X",
    "v": 1,
    "via": None,
}


def _with(**members: Any) -> bytes:
    return canonical(EVENT | members)


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_an_event() -> None:
    assert parse_event(_with()) == EVENT
    assert parse_event(_with(data={"i": 2**53 - 1, "j": -(2**53) + 1, "k": _deep(29)}))["seq"] == 0


_BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "NOT_JSON"),
    "no JSON": (b"{", "NOT_JSON"),
    "not UTF-8": (_with().replace(b"alice", b"al\xffce"), "NOT_JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + _with(), "NOT_JSON"),
    "UTF-16": (_with().decode().encode("utf-16"), "NOT_JSON"),
    "NaN": (_with(data={"a": 1}).replace(b":1}", b":NaN}"), "NOT_JSON"),
    "a list": (b"[]", "NOT_CANONICAL"),
    "a space": (_with().replace(b",", b", ", 1), "NOT_CANONICAL"),
    "a newline": (_with() + b"\n", "NOT_CANONICAL"),
    "another order": (json.dumps(dict(reversed(EVENT.items()))).encode(), "NOT_CANONICAL"),
    "an escape": (_with().replace(b"alice", b"\\u0061lice"), "NOT_CANONICAL"),
    "a key twice": (_with().replace(b'"v":1', b'"v":1,"v":1'), "NOT_CANONICAL"),
    "a fraction": (_with(data={"a": 1.5}), "NOT_CANONICAL"),
    "a power of ten": (_with(data={"a": 1}).replace(b":1}", b":1e2}"), "NOT_CANONICAL"),
    "minus zero": (_with(data={"a": 1}).replace(b":1}", b":-0}"), "NOT_CANONICAL"),
    "an integer too large": (_with(data={"a": 2**53}), "NOT_CANONICAL"),
    "one far too large": (
        _with(data={"a": 1}).replace(b":1}", b":1" + b"0" * 5000 + b"}"),
        "NOT_CANONICAL",
    ),
    "a key of capitals": (_with(data={"A": 1}), "NOT_CANONICAL"),
    "an empty key": (_with(data={"": 1}), "NOT_CANONICAL"),
    "a key deep down": (_with(data={"a": [[{"é": 1}]]}), "NOT_CANONICAL"),
    "too deep": (_with(data={"k": _deep(31)}), "NOT_CANONICAL"),
    "far too deep": (b"[" * 200_000, "NOT_CANONICAL"),
    "a lone surrogate": (_with().replace(b"alice", b"\\ud800"), "NOT_CANONICAL"),
    "a member too many": (_with(x=1), "NOT_CANONICAL"),
    "a member too few": (canonical({k: EVENT[k] for k in EVENT if k != "via"}), "NOT_CANONICAL"),
    "no version": (canonical({k: EVENT[k] for k in EVENT if k != "v"}), "NOT_CANONICAL"),
    "another version": (_with(v=2), "UNKNOWN_VERSION"),
    "a later form": (_with(v=2, more={"A": 1}), "UNKNOWN_VERSION"),
    "a version that is true": (_with(v=True), "NOT_CANONICAL"),
    "an actor that is none": (_with(actor=None), "NOT_CANONICAL"),
    "a seq that is text": (_with(seq="0"), "NOT_CANONICAL"),
    "data that is a list": (_with(data=[]), "NOT_CANONICAL"),
    "via a number": (_with(via=1), "NOT_CANONICAL"),
    "a time without microseconds": (_with(at="2026-11-23T12:00:00Z"), "NOT_CANONICAL"),
    "a time of another zone": (_with(at="2026-11-23T12:00:00.00+0100"), "NOT_CANONICAL"),
    "a time with a space": (_with(at="2026-11-23 12:00:00.000000Z"), "NOT_CANONICAL"),
    "no such day": (_with(at="2026-02-30T12:00:00.000000Z"), "NOT_CANONICAL"),
}


@pytest.mark.parametrize("case", _BODIES.values(), ids=_BODIES)
def test_bodies_that_are_refused(case: tuple[bytes, str]) -> None:
    body, code = case
    assert refused(parse_event, body) == code


_names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=8)
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_names, _values, max_size=4))
def test_any_data_has_one_spelling(data: dict[str, Any]) -> None:
    body = _with(data=data)
    assert parse_event(body)["data"] == data
    assert leaf_hash(body) == sha256(b"\0" + body).digest()


@given(st.binary(max_size=60))
def test_any_bytes_are_an_event_or_refused(data: bytes) -> None:
    assert refused(parse_event, data) in {"NOT_JSON", "NOT_CANONICAL", "UNKNOWN_VERSION"}


# chains


def test_a_chain() -> None:
    chain = Chain("run:r1")
    previous = "0" * 64
    for seq in range(3):
        event = EVENT | {"seq": seq, "prev": previous}
        previous = leaf(canonical(event))
        chain.see(event, previous)
    assert (chain.seq, chain.hash, chain.log, chain.tenant) == (3, previous, EVENT["log"], "acme")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"seq": 2}, "CHAIN_GAP"),
        ({"seq": 0}, "CHAIN_FORK"),
        ({"prev": "1" * 64}, "CHAIN_BROKEN"),
        ({"at": "2026-11-23T11:59:59.999999Z"}, "CHAIN_BROKEN"),
        ({"stream": "run:r2"}, "CHAIN_BROKEN"),
        ({"log": "log.example/other"}, "CHAIN_BROKEN"),
        ({"tenant": "other"}, "CHAIN_BROKEN"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else case,
)
def test_links_that_are_refused(changed: dict[str, Any], code: str) -> None:
    chain, first = Chain("run:r1"), leaf(canonical(EVENT))
    chain.see(EVENT, first)
    following = EVENT | {"seq": 1, "prev": first} | changed
    assert refused(chain.see, following, leaf(canonical(following))) == code


def test_whose_a_stream_is_can_be_given() -> None:
    for chain in (Chain("run:r1", "other"), Chain("run:r1", None, "other"), Chain("run:r2")):
        assert refused(chain.see, EVENT, "") == "CHAIN_BROKEN"


# payloads


@given(st.binary(max_size=40), st.none() | st.binary(min_size=32, max_size=32))
def test_payload_files(value: bytes, salt: bytes | None) -> None:
    named, data = payload_file(value, salt)
    if salt is None and value.startswith(b'"') and b'","value":' in value:
        return
    assert verify._payload_hash(data) == named


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"value":1',
        b'{"salt":"00","value":1}',
        b'{"salt":"' + b"G" * 64 + b'","value":1}',
    ],
    ids=["empty", "no value", "cut off", "a short salt", "a salt that is not hex"],
)
def test_files_that_are_no_payload(data: bytes) -> None:
    assert verify._payload_hash(data) is None


def test_the_defaults_of_trust() -> None:
    key = VerifierKey(KEY.name, KEY.key_hash, 1, KEY.public)
    assert (key.text, key.keyid) == (KEY.vkey, KEY.keyid)
    assert Trust((key,), (key,)).witnesses == ()
