"""Cosignatures: a witness's word about one checkpoint at one time, and about nothing else."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.transparency.note_vectors import (
    LOG,
    LOG_KEY,
    LOG_VERIFIER,
    OTHER_KEY,
    SOFA,
    SOFA_TEXT,
    WITNESS,
    WITNESS_KEY,
)
from tests.transparency.transparency_helpers import flipped, mth

from federation_core.errors import IntegrityError
from federation_core.transparency import (
    Checkpoint,
    Note,
    NoteSignature,
    VerifierKey,
    cosign,
    open_checkpoint,
    parse_note,
    sign_checkpoint,
    sign_note,
    verify_cosignature,
    verify_note,
)
from federation_core.transparency.errors import (
    BadSignature,
    KeyMalformed,
    NoteMalformed,
    UnknownKey,
)
from federation_core.transparency.keys import COSIGNATURE

AT = 1679315147
WITNESS_VERIFIER = VerifierKey.of(WITNESS, WITNESS_KEY.public, COSIGNATURE)
CHECKPOINT = Checkpoint(LOG, 100, mth(0, 100))
TEXT = CHECKPOINT.text()
LINE = cosign(TEXT, WITNESS, WITNESS_KEY, AT)


def changed(signature: bytes) -> NoteSignature:
    return NoteSignature(LINE.name, LINE.key_hash, signature)


def test_the_message_of_the_specification() -> None:
    """Byte for byte as C2SP tlog-cosignature shows it, signed apart from our own code."""
    message = f"cosignature/v1\ntime 1679315147\n{SOFA_TEXT}".encode()
    signature = Ed25519PrivateKey.from_private_bytes(WITNESS_KEY.seed).sign(message)
    line = cosign(SOFA_TEXT, WITNESS, WITNESS_KEY, AT)
    assert line.signature == bytes.fromhex("00000000641850cb") + signature
    assert verify_cosignature(SOFA_TEXT, line, WITNESS_VERIFIER) == AT


def test_the_published_line_has_this_time() -> None:
    line = parse_note(SOFA).signatures[1]
    assert (line.name, len(line.signature)) == ("witness.example.com/w1", 72)
    assert int.from_bytes(line.signature[:8], "big") == AT


def test_log_and_witness_under_one_checkpoint() -> None:
    note = sign_checkpoint(CHECKPOINT, LOG_KEY)
    both = Note(note.text, (*note.signatures, LINE))
    assert verify_note(both, [WITNESS_VERIFIER, LOG_VERIFIER]) == [LOG_VERIFIER, WITNESS_VERIFIER]
    assert open_checkpoint(both.encode(), LOG_VERIFIER) == CHECKPOINT
    assert parse_note(both.encode()).signatures[1] == LINE


def test_a_checkpoint_that_the_witness_did_not_see() -> None:
    with pytest.raises(BadSignature) as caught:
        verify_cosignature(Checkpoint(LOG, 101, mth(0, 101)).text(), LINE, WITNESS_VERIFIER)
    assert caught.value.code == "BAD_SIGNATURE"
    assert isinstance(caught.value, IntegrityError)
    forged = Note(Checkpoint(LOG, 101, mth(0, 101)).text(), (LINE,))
    with pytest.raises(BadSignature):
        verify_note(forged, [WITNESS_VERIFIER])


def test_another_time_than_the_signed_one() -> None:
    later = (AT + 1).to_bytes(8, "big") + LINE.signature[8:]
    with pytest.raises(BadSignature):
        verify_cosignature(TEXT, changed(later), WITNESS_VERIFIER)


@pytest.mark.parametrize("bit", [0, 100, 511, 512, 575])
def test_a_changed_bit(bit: int) -> None:
    with pytest.raises(BadSignature):
        verify_cosignature(TEXT, changed(flipped(LINE.signature, bit)), WITNESS_VERIFIER)


@pytest.mark.parametrize("size", [1, 8, 64, 71, 73, 144])
def test_a_signature_of_another_length(size: int) -> None:
    with pytest.raises(BadSignature, match="72 bytes"):
        verify_cosignature(TEXT, changed((LINE.signature * 2)[:size]), WITNESS_VERIFIER)


def test_a_time_beyond_the_last() -> None:
    """Signed as it should be, with the highest bit of the time set."""
    at = 2**63
    message = f"cosignature/v1\ntime {at}\n{TEXT}".encode()
    line = changed(at.to_bytes(8, "big") + WITNESS_KEY.sign(message))
    with pytest.raises(BadSignature):
        verify_cosignature(TEXT, line, WITNESS_VERIFIER)


@pytest.mark.parametrize("at", [-1, 2**63, 10**5000], ids=["negative", "over", "huge"])
def test_times_that_nobody_signs(at: int) -> None:
    with pytest.raises(NoteMalformed):
        cosign(TEXT, WITNESS, WITNESS_KEY, at)


def test_a_plain_signature_is_no_cosignature() -> None:
    """The same key, the same text, the other algorithm: it has another key hash."""
    plain = sign_note(TEXT, WITNESS, WITNESS_KEY)
    with pytest.raises(UnknownKey):
        verify_cosignature(TEXT, plain, WITNESS_VERIFIER)
    dressed = changed(AT.to_bytes(8, "big") + plain.signature)
    with pytest.raises(BadSignature):
        verify_cosignature(TEXT, dressed, WITNESS_VERIFIER)


def test_a_cosignature_is_no_plain_signature() -> None:
    plain_key = VerifierKey.of(WITNESS, WITNESS_KEY.public)
    assert verify_note(Note(TEXT, (LINE,)), [plain_key]) == []
    dressed = NoteSignature(WITNESS, plain_key.key_hash, LINE.signature[8:])
    with pytest.raises(BadSignature):
        verify_note(Note(TEXT, (dressed,)), [plain_key])


def test_the_key_of_a_log_is_no_witness() -> None:
    with pytest.raises(KeyMalformed):
        verify_cosignature(TEXT, LINE, LOG_VERIFIER)


def test_the_line_of_another_witness() -> None:
    for other in (
        cosign(TEXT, "witness.example/w2", WITNESS_KEY, AT),
        cosign(TEXT, WITNESS, OTHER_KEY, AT),
    ):
        with pytest.raises(UnknownKey) as caught:
            verify_cosignature(TEXT, other, WITNESS_VERIFIER)
        assert caught.value.code == "UNKNOWN_KEY"


def test_one_witness_counts_once() -> None:
    later = cosign(TEXT, WITNESS, WITNESS_KEY, AT + 60)
    with pytest.raises(NoteMalformed):
        verify_note(Note(TEXT, (LINE, later)), [WITNESS_VERIFIER])


@pytest.mark.parametrize("text", ["", "no newline", "a\rb\n"], ids=["empty", "line", "control"])
def test_texts_that_nobody_cosigns(text: str) -> None:
    with pytest.raises(NoteMalformed):
        cosign(text, WITNESS, WITNESS_KEY, AT)


def test_a_name_that_nobody_cosigns_with() -> None:
    with pytest.raises(KeyMalformed):
        cosign(TEXT, "two words", WITNESS_KEY, AT)


@given(st.integers(0, 2**63 - 1))
def test_every_time_comes_back(at: int) -> None:
    assert verify_cosignature(TEXT, cosign(TEXT, WITNESS, WITNESS_KEY, at), WITNESS_VERIFIER) == at


@given(st.binary(min_size=1, max_size=80))
def test_any_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        verify_cosignature(TEXT, changed(signature), WITNESS_VERIFIER)
