"""Receipts whose signature, type or content is not what it should be."""

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from tests.evidence.attack_worlds import assert_refused, assert_valid, verdict, world
from tests.evidence.pack_forge import PAYLOAD_TYPE, Key, canonical, dsse, repack, unpack

FILE = "receipt.dsse.json"
STRANGER = Key("stranger", b"\3" * 32)


def envelope() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(unpack(world().packs["main"])[FILE])
    return told


def payload() -> bytes:
    return b64decode(envelope()["payload"])


def key() -> Key:
    return Key(world().log, world().seed)


def refused(data: bytes, code: str, trust: str | None = None) -> None:
    pack = repack(world().packs["main"], {FILE: data})
    assert_refused(pack, trust or world().trust, code, FILE)


def test_made_anew_by_the_key_it_is_the_same() -> None:
    assert dsse(payload(), key()) == unpack(world().packs["main"])[FILE]
    assert_valid(world().packs["main"], world().trust)


def test_the_signature_is_stripped() -> None:
    refused(canonical(envelope() | {"signatures": []}), "RECEIPT_SIGNATURE")


def test_a_signature_that_does_not_hold() -> None:
    signature = envelope()["signatures"][0]
    for sig in (b64encode(bytes(64)).decode(), b64encode(b"short").decode(), "", "no base64"):
        told = envelope() | {"signatures": [signature | {"sig": sig}]}
        refused(canonical(told), "RECEIPT_SIGNATURE")


def test_a_signature_by_somebody_who_is_no_issuer() -> None:
    refused(dsse(payload(), STRANGER), "RECEIPT_SIGNATURE")


def test_a_stranger_signs_in_the_name_of_the_log() -> None:
    same_name = Key(world().log, b"\3" * 32)
    refused(dsse(payload(), same_name), "RECEIPT_SIGNATURE")
    told = json.loads(dsse(payload(), same_name))
    told["signatures"][0]["keyid"] = key().keyid
    refused(canonical(told), "RECEIPT_SIGNATURE")


def test_the_key_of_the_log_is_not_trusted_to_issue_receipts() -> None:
    kept = [line for line in world().trust.splitlines() if not line.startswith("issuer")]
    trust = "\n".join([*kept, f"issuer {STRANGER.vkey}"])
    refused(unpack(world().packs["main"])[FILE], "RECEIPT_SIGNATURE", trust)


def test_an_issuer_who_is_trusted_and_never_was_a_key_of_the_log() -> None:
    trust = world().trust + f"issuer {STRANGER.vkey}\n"
    refused(dsse(payload(), STRANGER), "RECEIPT_SIGNATURE", trust)


def test_a_stranger_beside_the_issuer_changes_nothing() -> None:
    pack = repack(world().packs["main"], {FILE: dsse(payload(), STRANGER, key())})
    assert verdict(pack, world().trust).verdict == "VALID"


def test_the_issuer_is_named_and_did_not_sign_beside_one_who_did() -> None:
    told = json.loads(dsse(payload(), key()))
    bad = {"keyid": key().keyid, "sig": b64encode(bytes(64)).decode()}
    for signatures in ([bad, *told["signatures"]], [*told["signatures"], bad]):
        refused(canonical(told | {"signatures": signatures}), "RECEIPT_SIGNATURE")


@pytest.mark.parametrize("kind", ["application/json", "", PAYLOAD_TYPE.replace("v1", "v2")])
def test_the_type_is_changed(kind: str) -> None:
    """Whether or not the key signed it so."""
    refused(canonical(envelope() | {"payloadType": kind}), "RECEIPT_TYPE")
    refused(dsse(payload(), key(), kind=kind), "RECEIPT_TYPE")


@pytest.mark.parametrize(
    "fact",
    [
        *("definition_hash", "event_count", "first_event_hash", "last_event_hash", "outcome"),
        *("policy_hashes", "receipt_chain", "run_id", "tenant", "workflow_id", "workflow_version"),
    ],
)
def test_a_receipt_tells_something_else(fact: str) -> None:
    """Without the key its signature does not hold; with it, it is not what the events say."""
    receipt = json.loads(payload())
    value = receipt[fact]
    receipt[fact] = [] if isinstance(value, list) else 7 if isinstance(value, int) else "other"
    changed = canonical(receipt)
    told = envelope() | {"payload": b64encode(changed).decode()}
    refused(canonical(told), "RECEIPT_SIGNATURE")
    refused(dsse(changed, key()), "RECEIPT_MISMATCH")


def test_a_receipt_with_more_or_less_in_it() -> None:
    receipt = json.loads(payload())
    less = {name: value for name, value in receipt.items() if name != "outcome"}
    for changed in (receipt | {"more": 1}, less, receipt | {"v": True}, receipt | {"v": 2}):
        refused(dsse(canonical(changed), key()), "RECEIPT_MISMATCH")
    refused(dsse(payload() + b" ", key()), "RECEIPT_MISMATCH")
    refused(dsse(b"", key()), "RECEIPT_MISMATCH")


def test_a_checkpoint_is_not_taken_for_a_receipt() -> None:
    """What the key signs as the one is never the other."""
    note = unpack(world().packs["main"])["log/checkpoint"]
    text, _, lines = note.partition(b"\n\n")
    signature = b64decode(lines.split()[-1])[4:]
    told = {
        "payload": b64encode(text + b"\n").decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key().keyid, "sig": b64encode(signature).decode()}],
    }
    refused(canonical(told), "RECEIPT_SIGNATURE")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "NOT_JSON"),
        (b"receipt", "NOT_JSON"),
        (b"[]", "NOT_CANONICAL"),
        (b"{}", "NOT_CANONICAL"),
        (b'{ "payload":"","payloadType":"","signatures":[]}', "NOT_CANONICAL"),
        (b'{"payload":"*","payloadType":"","signatures":[]}', "NOT_CANONICAL"),
        (b'{"payload":"","payloadType":7,"signatures":[]}', "RECEIPT_TYPE"),
        (b'{"payload":"","payloadType":"","signatures":[7]}', "NOT_CANONICAL"),
    ],
    ids=["empty", "text", "list", "object", "spaced", "base64", "type", "signature"],
)
def test_an_envelope_that_is_none(data: bytes, code: str) -> None:
    refused(data, code)
