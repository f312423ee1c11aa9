"""Checkpoints: three lines in one spelling, and opened only for the log's own key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.transparency.note_vectors import (
    LOG,
    LOG_KEY,
    LOG_VERIFIER,
    OTHER_KEY,
    SOFA,
    SOFA_TEXT,
)
from tests.transparency.transparency_helpers import LEAVES, mth

from federation_core.errors import IntegrityError
from federation_core.transparency import (
    EMPTY_ROOT,
    Checkpoint,
    Note,
    TransparencyError,
    VerifierKey,
    cosign,
    open_checkpoint,
    parse_checkpoint,
    parse_note,
    sign_checkpoint,
    sign_note,
    verify_note,
)
from federation_core.transparency.errors import (
    BadSignature,
    IndexRange,
    KeyMalformed,
    NoteMalformed,
    OriginMismatch,
    ProofShape,
    RootMismatch,
    UnknownKey,
)
from federation_core.transparency.keys import COSIGNATURE
from federation_core.transparency.tree import MAX_SIZE

CHECKPOINT = Checkpoint(LOG, 100, mth(0, 100))
EMPTY = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
ROOT = SOFA_TEXT.split("\n")[2]
NO_CHECKPOINTS = {
    "empty": "",
    "newlines": "\n\n\n",
    "two-lines": "log.example\n5\n",
    "no-last-newline": f"log.example\n5\n{ROOT}",
    "extension-line": f"log.example\n5\n{ROOT}\nextension\n",
    "blank-line": f"log.example\n5\n{ROOT}\n\n",
    "no-origin": f"\n5\n{ROOT}\n",
    "control-in-origin": f"log\texample\n5\n{ROOT}\n",
    "surrogate-in-origin": f"log\ud800\n5\n{ROOT}\n",
    "no-size": f"log.example\n\n{ROOT}\n",
    "leading-zero": f"log.example\n05\n{ROOT}\n",
    "zeros": f"log.example\n00\n{EMPTY}\n",
    "plus": f"log.example\n+5\n{ROOT}\n",
    "minus": f"log.example\n-5\n{ROOT}\n",
    "minus-zero": f"log.example\n-0\n{EMPTY}\n",
    "space": f"log.example\n 5\n{ROOT}\n",
    "underscore": f"log.example\n1_000\n{ROOT}\n",
    "hexadecimal": f"log.example\n0x5\n{ROOT}\n",
    "exponent": f"log.example\n1e3\n{ROOT}\n",
    "other-digits": f"log.example\n\u0665\n{ROOT}\n",
    "superscript": f"log.example\n\u2075\n{ROOT}\n",
    "size-over": f"log.example\n{2**63}\n{ROOT}\n",
    "size-huge": f"log.example\n{'9' * 5000}\n{ROOT}\n",
    "carriage-return": f"log.example\r\n5\r\n{ROOT}\r\n",
    "no-root": "log.example\n5\n\n",
    "stray-bits": f"log.example\n5\n{ROOT[:-2]}J=\n",
    "no-padding": f"log.example\n5\n{ROOT[:-1]}\n",
    "short-root": "log.example\n5\nAAAA\n",
    "long-root": f"log.example\n5\n{ROOT[:-4]}AAAAAAAA\n",
    "root-twice": f"log.example\n5\n{ROOT}{ROOT}\n",
    "hexadecimal-root": f"log.example\n5\n{EMPTY_ROOT.hex()}!\n",
    "base64url": f"log.example\n5\n{ROOT.replace('/', '_')}\n",
    "space-after-root": f"log.example\n5\n{ROOT} \n",
}


def code_of(data: bytes, key: VerifierKey = LOG_VERIFIER) -> str | None:
    try:
        open_checkpoint(data, key)
    except TransparencyError as e:
        return e.code
    return None


def test_published_checkpoint() -> None:
    note = parse_note(SOFA)
    checkpoint = parse_checkpoint(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex().startswith("0ac5186a9186")
    assert checkpoint.text() == note.text == SOFA_TEXT


def test_a_signed_checkpoint_is_opened() -> None:
    note = sign_checkpoint(CHECKPOINT, LOG_KEY)
    assert note.signatures[0].name == LOG
    assert verify_note(note, [LOG_VERIFIER]) == [LOG_VERIFIER]
    assert open_checkpoint(note.encode(), LOG_VERIFIER) == CHECKPOINT


@pytest.mark.parametrize("text", NO_CHECKPOINTS.values(), ids=NO_CHECKPOINTS)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(NoteMalformed) as caught:
        parse_checkpoint(text)
    assert caught.value.code == "NOTE_MALFORMED"
    assert isinstance(caught.value, IntegrityError)


def test_the_empty_log() -> None:
    empty = Checkpoint(LOG, 0, EMPTY_ROOT)
    assert empty.text() == f"{LOG}\n0\n{EMPTY}\n"
    assert parse_checkpoint(empty.text()) == empty


def test_an_empty_log_with_another_root() -> None:
    with pytest.raises(RootMismatch):
        parse_checkpoint(f"{LOG}\n0\n{ROOT}\n")


def test_checkpoints_that_cannot_be() -> None:
    with pytest.raises(IndexRange):
        Checkpoint(LOG, -1, EMPTY_ROOT)
    with pytest.raises(IndexRange):
        Checkpoint(LOG, MAX_SIZE + 1, EMPTY_ROOT)
    with pytest.raises(ProofShape):
        Checkpoint(LOG, 1, b"")
    with pytest.raises(NoteMalformed):
        Checkpoint("two\nlines", 1, LEAVES[0])


def test_an_origin_that_is_no_key_name_is_read_and_not_signed() -> None:
    """C2SP tlog-checkpoint: readers must not assume that an origin has no spaces."""
    checkpoint = Checkpoint("the log of acme", 5, mth(0, 5))
    assert parse_checkpoint(checkpoint.text()) == checkpoint
    with pytest.raises(KeyMalformed):
        sign_checkpoint(checkpoint, LOG_KEY)


def test_a_checkpoint_that_another_key_signed() -> None:
    other = sign_checkpoint(CHECKPOINT, OTHER_KEY)
    with pytest.raises(UnknownKey):
        open_checkpoint(other.encode(), LOG_VERIFIER)


def test_a_checkpoint_of_another_log_under_this_key() -> None:
    text = Checkpoint("log.example/other", 100, mth(0, 100)).text()
    note = Note(text, (sign_note(text, LOG, LOG_KEY),))
    with pytest.raises(OriginMismatch) as caught:
        open_checkpoint(note.encode(), LOG_VERIFIER)
    assert caught.value.code == "ORIGIN"


def test_a_checkpoint_changed_after_it_was_signed() -> None:
    data = sign_checkpoint(CHECKPOINT, LOG_KEY).encode()
    for changed in (data.replace(b"\n100\n", b"\n101\n"), data.replace(b"acme\n", b"acma\n")):
        with pytest.raises(BadSignature):
            open_checkpoint(changed, LOG_VERIFIER)


def test_a_signed_text_that_is_no_checkpoint() -> None:
    text = f"{CHECKPOINT.text()}extension\n"
    assert code_of(Note(text, (sign_note(text, LOG, LOG_KEY),)).encode()) == "NOTE_MALFORMED"


def test_a_witness_is_no_log() -> None:
    text = CHECKPOINT.text()
    assert code_of(Note(text, (cosign(text, LOG, LOG_KEY, 7),)).encode()) == "UNKNOWN_KEY"
    key = VerifierKey.of(LOG, LOG_KEY.public, COSIGNATURE)
    assert code_of(sign_checkpoint(CHECKPOINT, LOG_KEY).encode(), key) == "KEY_MALFORMED"


origins = st.text("abc./ é", min_size=1, max_size=12)


@given(origins, st.integers(1, MAX_SIZE), st.binary(min_size=32, max_size=32))
def test_every_checkpoint_comes_back(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert parse_checkpoint(checkpoint.text()) == checkpoint


pieces = st.sampled_from(["\n", "0", "5", "-", "log", " ", ROOT, EMPTY, "=", "é", "\r"])


@given(st.text(max_size=60) | st.lists(pieces, max_size=8).map("".join))
def test_any_text_is_refused_or_the_only_spelling(text: str) -> None:
    try:
        checkpoint = parse_checkpoint(text)
    except (NoteMalformed, RootMismatch):
        return
    assert checkpoint.text() == text


@given(st.data())
def test_any_changed_byte_of_a_signed_checkpoint_is_found(data: st.DataObject) -> None:
    whole = bytearray(sign_checkpoint(CHECKPOINT, LOG_KEY).encode())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    assert code_of(bytes(whole)) in {"NOTE_MALFORMED", "BAD_SIGNATURE", "UNKNOWN_KEY"}
