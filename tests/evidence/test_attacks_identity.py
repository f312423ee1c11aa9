"""Packs of another tenant, run or log; keys that are not the log's, or not any more."""

import hashlib
import json
from base64 import b64decode, b64encode

import pytest
from tests.evidence.attack_worlds import (
    Attacker,
    assert_refused,
    assert_valid,
    path_of,
    rotated,
    small,
    verdict,
    world,
)
from tests.evidence.pack_forge import Key, canonical, dsse, repack, sign_note, unpack

from federation_core.evidence import verify

# what the pack is about


def test_the_pack_of_another_run_is_presented() -> None:
    packs, runs = world().packs, world().runs
    assert_valid(packs["main"], world().trust, run=runs["main"])
    assert_refused(packs["other"], world().trust, "ORIGIN", "manifest.json", run=runs["main"])


def test_the_pack_of_another_tenant_is_presented() -> None:
    packs, runs = world().packs, world().runs
    assert_valid(packs["foreign"], world().trust, tenant="other", run=runs["foreign"])
    assert_valid(packs["main"], world().trust, tenant="default")
    file = path_of(runs["foreign"])
    assert_refused(packs["foreign"], world().trust, "ORIGIN", file, 1, tenant="default")
    main = path_of(runs["main"])
    assert_refused(packs["main"], world().trust, "ORIGIN", main, 1, tenant="other")


def test_the_manifest_names_another_run() -> None:
    run_id = world().runs["main"]
    pack = repack(world().packs["foreign"], {}, about={"run_id": run_id})
    assert_refused(pack, world().trust, "FILE_MISSING", path_of(run_id), run=run_id)


def test_the_manifest_and_the_files_name_another_run() -> None:
    """Everything in the pack is called after the run that is asked for, but the signed events."""
    mine, theirs = world().runs["main"], world().runs["foreign"]
    files = unpack(world().packs["foreign"])
    index = json.loads(files["index.json"])
    changes = {
        path_of(theirs): None,
        path_of(mine): files[path_of(theirs)],
        "index.json": canonical({f"run:{mine}": index[f"run:{theirs}"]}),
    }
    pack = repack(world().packs["foreign"], changes, about={"run_id": mine})
    assert_refused(pack, world().trust, "CHAIN_BROKEN", path_of(mine), 1, run=mine)
    whose = {"run": mine, "tenant": "default"}
    assert_refused(pack, world().trust, "ORIGIN", path_of(mine), 1, **whose)


def test_the_events_name_another_tenant() -> None:
    attacker = Attacker(world(), holds_key=False)
    lines = unpack(attacker.pack)[path_of(attacker.run_id)].splitlines(keepends=True)
    for line in (1, 2, len(lines)):
        changed = lines.copy()
        changed[line - 1] = lines[line - 1].replace(b'"tenant":"default"', b'"tenant":"other"')
        pack = repack(attacker.pack, {path_of(attacker.run_id): b"".join(changed)})
        broken = 2 if line == 1 else line
        assert_refused(pack, world().trust, "CHAIN_BROKEN", path_of(attacker.run_id), broken)


# which log


def test_the_pack_of_another_log_is_presented() -> None:
    pack = small().packs["main"]
    assert_valid(pack, small().trust)
    assert_refused(pack, world().trust, "ORIGIN", "log/checkpoint")


def test_a_log_of_the_same_name_has_another_key() -> None:
    attacker = Attacker(world(), holds_key=True)
    stolen = attacker.forge.key
    attacker.forge.key = Key(world().log, b"\7" * 32)
    assert attacker.forge.key.name == stolen.name
    pack = attacker.made()
    own = attacker.forge.trust().replace(stolen.vkey, attacker.forge.key.vkey)
    history = canonical({"from": 0, "key": attacker.forge.key.vkey, "to": None}) + b"\n"
    pack = repack(pack, {"keys/history.jsonl": history})
    assert_valid(pack, own)
    assert_refused(pack, world().trust, "UNKNOWN_KEY", "log/checkpoint")


def test_the_key_is_claimed_and_another_signed() -> None:
    """The signature line names the trusted key, by its hash."""
    attacker = Attacker(world(), holds_key=True)
    own = Key(world().log, b"\7" * 32)
    note = unpack(attacker.pack)["log/checkpoint"]
    text = note.decode().partition("\n\n")[0] + "\n"
    signature = b64encode(attacker.forge.key.key_hash + own.sign(text.encode())).decode()
    forged = f"{text}\n— {own.name} {signature}\n".encode()
    pack = repack(attacker.pack, {"log/checkpoint": forged})
    assert_refused(pack, world().trust, "BAD_SIGNATURE", "log/checkpoint")


def test_the_manifest_names_another_log() -> None:
    pack = repack(world().packs["main"], {}, about={"log": small().log})
    assert_refused(pack, world().trust, "ORIGIN", "log/checkpoint")
    both = world().trust + small().trust
    assert_refused(pack, both, "ORIGIN", "log/checkpoint")


def test_the_events_are_of_another_log_that_is_trusted_as_well() -> None:
    note = unpack(small().packs["main"])
    kept = {name: note[name] for name in ("log/checkpoint", "keys/history.jsonl")}
    pack = repack(world().packs["main"], kept, about={"log": small().log})
    both = world().trust + small().trust
    found = verdict(pack, both)
    assert found.verdict == "INVALID"
    assert_refused(pack, both, "CHAIN_BROKEN", path_of(world().runs["main"]), 1)


@pytest.mark.parametrize(
    "harm",
    [
        lambda note: note + b"\n",
        lambda note: note[:-1],
        lambda note: note.replace(b"\n\n", b"\n"),
        lambda note: note.replace(b"\n\n", b"\nan extension\n\n"),
        lambda note: note.replace("—".encode(), b"-"),
        lambda note: note + note.splitlines(keepends=True)[-1],
        lambda note: note.replace(b"\n", b"\n0", 1),
        lambda note: note.replace(b"\n", b"\r\n"),
        lambda note: b"",
    ],
    ids=["newline", "cut", "blank", "extension", "dash", "twice", "zero", "crlf", "empty"],
)
def test_a_checkpoint_that_is_none(harm) -> None:  # type: ignore[no-untyped-def]
    note = unpack(world().packs["main"])["log/checkpoint"]
    pack = repack(world().packs["main"], {"log/checkpoint": harm(note)})
    assert_refused(pack, world().trust, "NOTE_MALFORMED", "log/checkpoint")


def test_the_signature_of_the_checkpoint_is_stripped() -> None:
    """A stranger's is left, so that it is a note."""
    note = unpack(world().packs["main"])["log/checkpoint"]
    text = note.decode().partition("\n\n")[0] + "\n"
    pack = repack(
        world().packs["main"], {"log/checkpoint": sign_note(text, Key("stranger", b"\3" * 32))}
    )
    assert_refused(pack, world().trust, "UNKNOWN_KEY", "log/checkpoint")


# the trust text


@pytest.mark.parametrize(
    "trust",
    [
        *(None, "", "# nobody\n", "quorum 0\n", "\0\0\0", "PK\3\4"),
        *("log x\n", "log a+b+c\n", "believe everything\n", "quorum 1\nquorum 1\n"),
    ],
)
def test_a_trust_text_that_trusts_nobody(trust: str | None) -> None:
    found = verdict(world().packs["main"], trust)
    assert (found.verdict, found.exit_status) == ("UNTRUSTED", 3)
    assert found.error is not None
    assert (found.error["code"], found.error["file"], found.events) == ("NO_TRUST", None, 0)


def test_a_trust_text_without_log_or_issuer() -> None:
    for kind in ("log", "issuer"):
        kept = "\n".join(li for li in world().trust.splitlines() if not li.startswith(kind))
        found = verdict(world().packs["main"], kept)
        assert (found.verdict, found.error and found.error["code"]) == ("UNTRUSTED", "NO_TRUST")


def test_trust_is_never_read_from_the_pack() -> None:
    pack = repack(world().packs["main"], {"trust.txt": world().trust.encode()})
    assert verdict(pack, None).verdict == "UNTRUSTED"
    assert_refused(pack, world().trust, "FILE_EXTRA", "trust.txt")


# points and numbers of Ed25519


P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
LOW_ORDER = {
    "neutral": 1,
    "order 2": P - 1,
    "order 4": 0,
    "order 4, negative": 1 << 255,
    "order 8": ORDER_8,
    "order 8, negative": ORDER_8 | 1 << 255,
    "order 8, other": P - ORDER_8,
    "order 8, other, negative": P - ORDER_8 | 1 << 255,
}
"""All points whose order divides eight: whoever has such a key has signed everything."""
NOT_CANONICAL = {
    "neutral, y+p": P + 1,
    "neutral, signed": 1 | 1 << 255,
    "order 2, signed": P - 1 | 1 << 255,
    "order 4, y+p": P,
    "order 4, y+p, signed": P | 1 << 255,
    "neutral, y+p, signed": P + 1 | 1 << 255,
    "y+p of high order": P + 3,
    "all ones": 2**256 - 1,
}
POINTS = LOW_ORDER | NOT_CANONICAL


def point(name: str) -> bytes:
    return POINTS[name].to_bytes(32, "little")


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("kind", ["log", "issuer", "witness"])
def test_a_key_for_which_anybody_can_sign_is_not_trusted(kind: str, name: str) -> None:
    material = bytes([4 if kind == "witness" else 1]) + point(name)
    hashed = hashlib.sha256(b"weak\n" + material).hexdigest()[:8]
    line = f"{kind} weak+{hashed}+{b64encode(material).decode()}\n"
    found = verdict(world().packs["main"], world().trust + line)
    assert (found.verdict, found.error and found.error["code"]) == ("UNTRUSTED", "NO_TRUST")


def _scalar(seed: bytes) -> int:
    number = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return number & (1 << 254) - 8 | 1 << 254


def signed(key: Key, seed: bytes, message: bytes, how: str) -> bytes:
    """A signature that some libraries take: with R a point of which [S]B = R + [k]A still holds
    (up to its low order), or with S + L in the place of S."""
    if how == "S+L":
        whole = key.sign(message)
        s = int.from_bytes(whole[32:], "little") + L
        return whole[:32] + s.to_bytes(32, "little")
    r = point(how)
    k = int.from_bytes(hashlib.sha512(r + key.public + message).digest(), "little") % L
    return r + (k * _scalar(seed) % L).to_bytes(32, "little")


@pytest.mark.parametrize("how", ["S+L", *POINTS])
def test_a_checkpoint_signed_in_a_way_that_libraries_do_not_agree_on(how: str) -> None:
    w = world()
    key = Key(w.log, w.seed)
    text = unpack(w.packs["main"])["log/checkpoint"].decode().partition("\n\n")[0] + "\n"
    signature = b64encode(key.key_hash + signed(key, w.seed, text.encode(), how)).decode()
    note = f"{text}\n— {key.name} {signature}\n".encode()
    pack = repack(w.packs["main"], {"log/checkpoint": note})
    assert_refused(pack, w.trust, "BAD_SIGNATURE", "log/checkpoint")


@pytest.mark.parametrize("how", ["S+L", *POINTS])
def test_a_receipt_signed_in_a_way_that_libraries_do_not_agree_on(how: str) -> None:
    w = world()
    key = Key(w.log, w.seed)
    envelope = json.loads(unpack(w.packs["main"])["receipt.dsse.json"])
    payload, kind = b64decode(envelope["payload"]), envelope["payloadType"]
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    assert b64decode(envelope["signatures"][0]["sig"]) == key.sign(message)
    envelope["signatures"][0]["sig"] = b64encode(signed(key, w.seed, message, how)).decode()
    pack = repack(w.packs["main"], {"receipt.dsse.json": canonical(envelope)})
    assert_refused(pack, w.trust, "RECEIPT_SIGNATURE", "receipt.dsse.json")


def test_the_weak_signatures_hold_by_the_equation() -> None:
    """Which shows that it is the points that are refused, and not a mistake of this test."""
    w = world()
    key = Key(w.log, w.seed)
    whole = signed(key, w.seed, b"x", "neutral")
    k = int.from_bytes(hashlib.sha512(whole[:32] + key.public + b"x").digest(), "little") % L
    base, of_key = verify._multiples(verify._BASE), verify._multiples(key.public)
    assert base is not None
    assert of_key is not None
    x, y, z, t = verify._times(k, of_key)
    s = int.from_bytes(whole[32:], "little")
    r = verify._add(verify._times(s, base), (P - x, y, z, P - t))
    assert verify._encode_point(r) == point("neutral")
    assert not verify.verify_signature(key.public, b"x", whole)
    assert verify.verify_signature(key.public, b"x", key.sign(b"x"))


# keys and their epochs


def old_key() -> Key:
    return Key(rotated().before.log, rotated().before.seed)


def checkpoint_by(pack: bytes, *keys: Key) -> bytes:
    text = unpack(pack)["log/checkpoint"].decode().partition("\n\n")[0] + "\n"
    return sign_note(text, *keys)


def test_both_packs_are_valid_and_so_is_the_one_from_before() -> None:
    before, after = rotated().before, rotated().after
    assert before.seed != after.seed
    for pack in (*after.packs.values(), *before.packs.values()):
        assert_valid(pack, after.trust)
    assert_valid(before.packs["first"], before.trust)


def test_a_key_that_was_rotated_out_signs_a_later_tree() -> None:
    after = rotated().after
    for pack in after.packs.values():
        forged = repack(pack, {"log/checkpoint": checkpoint_by(pack, old_key())})
        assert_refused(forged, after.trust, "KEY_EPOCH", "log/checkpoint")


def test_a_new_key_signs_an_earlier_tree() -> None:
    before, after = rotated().before, rotated().after
    pack = after.packs["first"]
    new = Key(after.log, after.seed)
    files = unpack(before.packs["first"])
    forged = repack(
        pack,
        {
            "log/checkpoint": checkpoint_by(before.packs["first"], new),
            "log/proofs.json": files["log/proofs.json"],
            "index.json": files["index.json"],
            "events/log.jsonl": None,
        },
    )
    assert_refused(forged, after.trust, "KEY_EPOCH", "keys/history.jsonl")
    alone = {"keys/history.jsonl": files["keys/history.jsonl"]}
    assert_refused(repack(forged, alone), after.trust, "KEY_EPOCH", "log/checkpoint")


def test_a_key_that_was_rotated_out_signs_a_receipt() -> None:
    after = rotated().after
    pack = after.packs["second"]
    payload = b64decode(json.loads(unpack(pack)["receipt.dsse.json"])["payload"])
    forged = repack(pack, {"receipt.dsse.json": dsse(payload, old_key())})
    assert_refused(forged, after.trust, "RECEIPT_SIGNATURE", "receipt.dsse.json")


@pytest.mark.parametrize("harm", ["longer", "shifted", "one", "exchanged", "third", "empty"])
def test_the_history_of_keys_is_not_what_the_log_tells(harm: str) -> None:
    after = rotated().after
    pack = after.packs["second"]
    one, two = (json.loads(line) for line in unpack(pack)["keys/history.jsonl"].splitlines())
    lines = {
        "longer": [one | {"to": None}, two],
        "shifted": [one | {"to": one["to"] + 3}, two | {"from": two["from"] + 3}],
        "one": [one | {"to": None}],
        "exchanged": [one | {"key": two["key"]}, two | {"key": one["key"]}],
        "third": [one, two, two],
        "empty": [],
    }[harm]
    told = b"".join(canonical(line) + b"\n" for line in lines)
    code = "KEY_EPOCH" if lines else "NOT_CANONICAL"
    forged = repack(pack, {"keys/history.jsonl": told})
    assert_refused(forged, after.trust, code, "keys/history.jsonl")


def test_the_rotation_is_left_out() -> None:
    """Events and history; the checkpoint is by the new key, which nothing then explains."""
    after = rotated().after
    pack = after.packs["second"]
    files = unpack(pack)
    index, proofs = json.loads(files["index.json"]), json.loads(files["log/proofs.json"])
    for leaf in index.pop("log"):
        del proofs[str(leaf)]
    one = json.loads(files["keys/history.jsonl"].splitlines()[0]) | {"to": None}
    forged = repack(
        pack,
        {
            "events/log.jsonl": None,
            "index.json": canonical(index),
            "log/proofs.json": canonical(proofs),
            "keys/history.jsonl": canonical(one) + b"\n",
        },
    )
    assert_refused(forged, after.trust, "KEY_EPOCH", "log/checkpoint")


@pytest.mark.parametrize("name", ["key_signature", "previous_signature"])
def test_a_rotation_that_one_of_the_keys_did_not_sign(name: str) -> None:
    attacker = Attacker(rotated().after, "second", holds_key=True)
    own = b64encode(Key("mallory", b"\5" * 32).sign(b"x")).decode()

    def edit(events: list[dict[str, object]]) -> list[dict[str, object]]:
        events[0]["data"][name] = own  # type: ignore[index]
        return events

    forged = attacker.edit(edit, stream="log", relink=False)
    assert_refused(forged.made(), rotated().after.trust, "BAD_SIGNATURE", "events/log.jsonl")


def test_a_rotation_to_the_key_of_an_intruder() -> None:
    """Who has the database and not the key cannot hand the log over to a key of his own."""
    attacker = Attacker(rotated().after, "second", holds_key=False)
    own = Key(rotated().after.log, b"\5" * 32)

    def edit(events: list[dict[str, object]]) -> list[dict[str, object]]:
        events[0]["data"]["key"] = own.vkey  # type: ignore[index]
        return events

    forged = attacker.edit(edit, stream="log", relink=False).made()
    note = checkpoint_by(attacker.pack, own)
    pack = repack(forged, {"log/checkpoint": note})
    assert_refused(pack, rotated().after.trust, "UNKNOWN_KEY", "log/checkpoint")
    trusting = rotated().after.trust + f"log {own.vkey}\n"
    found = verdict(pack, trusting)
    assert found.error is not None
    assert (found.verdict, found.error["code"]) == ("INVALID", "BAD_SIGNATURE")


def test_a_stolen_old_key_hides_its_rotation_until_the_auditor_removes_its_line() -> None:
    """Nothing in a pack without the rotation tells that there was one. What helps is the page's
    advice: the line of the old key is removed, and the packs that the new key signed stay valid."""
    after = rotated().after
    files = unpack(after.packs["second"])
    index, proofs = json.loads(files["index.json"]), json.loads(files["log/proofs.json"])
    for leaf in index.pop("log"):
        del proofs[str(leaf)]
    one = json.loads(files["keys/history.jsonl"].splitlines()[0]) | {"to": None}
    payload = b64decode(json.loads(files["receipt.dsse.json"])["payload"])
    forged = repack(
        after.packs["second"],
        {
            "events/log.jsonl": None,
            "index.json": canonical(index),
            "log/proofs.json": canonical(proofs),
            "keys/history.jsonl": canonical(one) + b"\n",
            "log/checkpoint": checkpoint_by(after.packs["second"], old_key()),
            "receipt.dsse.json": dsse(payload, old_key()),
        },
    )
    assert_valid(forged, after.trust)
    without = "\n".join(li for li in after.trust.splitlines() if old_key().vkey not in li)
    assert_refused(forged, without, "UNKNOWN_KEY", "log/checkpoint")
    for pack in after.packs.values():
        assert_valid(pack, without)
