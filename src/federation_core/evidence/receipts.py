"""The workflow receipt in its envelope: DSSE v1 (github.com/secure-systems-lab/dsse).

    {"payload": base64, "payloadType": "application/vnd.federation-core.workflow-receipt.v1+json",
     "signatures": [{"keyid": "federation-core/5f…+1f2e3d4c", "sig": base64}]}

Signed is not the payload but its pre-authentication encoding, which no checkpoint begins as, so
that one key may sign both.
"""

from base64 import b64encode
from typing import Any

from sqlalchemy import Connection

from ..errors import Conflict
from ..spine.canonical import sorted_json
from ..transparency import SigningKey, VerifierKey
from .scan import scan_run

__all__ = ["PAYLOAD_TYPE", "envelope", "pae", "workflow_receipt_of"]

PAYLOAD_TYPE = "application/vnd.federation-core.workflow-receipt.v1+json"


def envelope(receipt: dict[str, Any], key: SigningKey, key_name: str) -> bytes:
    """The RFC 8785 form of the envelope of `receipt`, signed by the key called `key_name`.

    The same receipt under the same key gives the same bytes. Raises `KeyMalformed` for a name that
    no key may have.
    """
    payload = sorted_json(receipt)
    vkey = VerifierKey.of(key_name, key.public)
    signature = key.sign(pae(PAYLOAD_TYPE, payload))
    signed = {"keyid": f"{vkey.name}+{vkey.key_hash.hex()}", "sig": _base64(signature)}
    return sorted_json(
        {"payload": _base64(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signed]}
    )


def workflow_receipt_of(c: Connection, run_id: str) -> dict[str, Any]:
    """The workflow receipt of a run, made again from its events. Raises `Conflict` where the run
    has not ended, `IntegrityError` where it is not the one whose hash the run ended with."""
    receipt = scan_run(c, run_id).receipt
    if receipt is None:
        raise Conflict("A run has a receipt once it has ended.", code="run_not_ended")
    return receipt


def pae(payload_type: str, payload: bytes) -> bytes:
    """`DSSEv1 <length of type> <type> <length of payload> <payload>`, lengths in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
