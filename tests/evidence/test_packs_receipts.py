"""The workflow receipt in its envelope."""

from base64 import b64decode
from pathlib import Path

import pytest
from tests.evidence.packs_helpers import bench, long_run

from federation_core.errors import Conflict, IntegrityError
from federation_core.evidence.receipts import PAYLOAD_TYPE, envelope, pae, workflow_receipt_of
from federation_core.ledger import queries
from federation_core.spine.canonical import canonical, parse
from federation_core.spine.envelope import decode
from federation_core.spine.events import RUN_EVENTS
from federation_core.spine.fold import replay
from federation_core.spine.receipts import receipt_hash
from federation_core.transparency import SigningKey, TransparencyError, VerifierKey
from federation_core.transparency.ed25519 import verify

KEY = SigningKey.from_seed(bytes(32))


def test_the_published_vector() -> None:
    """github.com/secure-systems-lab/dsse, protocol.md and envelope.md: the first bytes are fixed,
    and lengths count bytes, not characters."""
    found = pae("http://example.com/HelloWorld", b"hello world")
    assert found == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("é", "é".encode()) == "DSSEv1 2 é 2 é".encode()


def test_an_envelope_is_canonical_and_always_the_same() -> None:
    receipt = {"v": 1, "run_id": "é", "policy_hashes": []}
    data = envelope(receipt, KEY, "log.example/a")
    assert envelope(receipt, KEY, "log.example/a") == data
    opened = parse(data)
    assert canonical(opened) == data
    assert opened.keys() == {"payload", "payloadType", "signatures"}
    payload = b64decode(opened["payload"])
    assert payload == canonical(receipt)
    [signature] = opened["signatures"]
    vkey = VerifierKey.of("log.example/a", KEY.public)
    assert signature["keyid"] == vkey.text.rsplit("+", 1)[0] == f"{vkey.name}+{vkey.key_hash.hex()}"
    assert verify(KEY.public, pae(PAYLOAD_TYPE, payload), b64decode(signature["sig"]))
    assert not verify(KEY.public, payload, b64decode(signature["sig"]))


def test_a_name_that_no_key_has_is_refused() -> None:
    with pytest.raises(TransparencyError):
        envelope({}, KEY, "a name")


async def test_the_receipt_is_the_one_that_the_run_ended_with(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "r", 4)
        bodies = await b.ledger.read(queries.bodies, "run:r")
        run = replay((decode(body, RUN_EVENTS) for body in bodies), None)
        receipt = await b.ledger.read(workflow_receipt_of, "r")
    assert receipt_hash(receipt) == run.workflow_receipt_hash
    assert receipt["receipt_chain"] == run.receipts
    assert receipt["event_count"] == len(bodies) - 1


async def test_a_run_that_has_not_ended_has_none(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "r", 1, end=False)
        with pytest.raises(Conflict) as caught:
            await b.ledger.read(workflow_receipt_of, "r")
    assert caught.value.error_code == "run_not_ended"
    assert not isinstance(caught.value, IntegrityError)
