"""Signed notes: published ones verify, and every other reading of the bytes is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.transparency.note_vectors import (
    ENOCH,
    ENOCH_LINE,
    LOG,
    LOG_KEY,
    LOG_VERIFIER,
    OTHER_KEY,
    PETER,
    PETER_LINE,
    PETER_SEED,
    POEM,
    SIGNED,
    SOFA,
    TEXT,
    signed,
)
from tests.transparency.transparency_helpers import flipped

from federation_core.errors import IntegrityError
from federation_core.transparency import (
    Note,
    NoteSignature,
    SigningKey,
    VerifierKey,
    parse_note,
    sign_note,
    verify_note,
)
from federation_core.transparency.errors import BadSignature, KeyMalformed, NoteMalformed
from federation_core.transparency.note import MAX_NOTE_BYTES, MAX_SIGNATURES

PETER_KEY, ENOCH_KEY = VerifierKey.parse(PETER), VerifierKey.parse(ENOCH)
NAME_AND_SIGNATURE = PETER_LINE.removeprefix("— ")
SIGNATURE_TEXT = NAME_AND_SIGNATURE.split()[1]
NO_NOTES = {
    "empty": "",
    "newline": "\n",
    "two-newlines": "\n\n",
    "text-alone": TEXT,
    "no-signatures": f"{TEXT}\n",
    "no-blank-line": TEXT + PETER_LINE,
    "no-text": f"\n{PETER_LINE}",
    "no-last-newline": f"{TEXT}\n{PETER_LINE}"[:-1],
    "blank-line-after": f"{TEXT}\n{PETER_LINE}\n",
    "blank-line-between": f"{TEXT}\n{PETER_LINE}\n\n",
    "text-after": f"{TEXT}\n{PETER_LINE}and more\n",
    "hyphen": f"{TEXT}\n- {NAME_AND_SIGNATURE}",
    "en-dash": f"{TEXT}\n– {NAME_AND_SIGNATURE}",
    "no-space": f"{TEXT}\n—{NAME_AND_SIGNATURE}",
    "two-spaces": f"{TEXT}\n—  {NAME_AND_SIGNATURE}",
    "no-break-space": f"{TEXT}\n—\u00a0{NAME_AND_SIGNATURE}",
    "indented": f"{TEXT}\n {PETER_LINE}",
    "no-name": f"{TEXT}\n— {SIGNATURE_TEXT}\n",
    "empty-name": f"{TEXT}\n—  {SIGNATURE_TEXT}\n",
    "plus-in-name": f"{TEXT}\n— Peter+Neumann {SIGNATURE_TEXT}\n",
    "space-in-name": f"{TEXT}\n— Peter Neumann {SIGNATURE_TEXT}\n",
    "wide-space-in-name": f"{TEXT}\n— Peter\u3000Neumann {SIGNATURE_TEXT}\n",
    "no-signature": f"{TEXT}\n— PeterNeumann\n",
    "empty-signature": f"{TEXT}\n— PeterNeumann \n",
    "hash-alone": f"{TEXT}\n— PeterNeumann x08gow==\n",
    "short-hash": f"{TEXT}\n— PeterNeumann x08g\n",
    "trailing-space": f"{TEXT}\n{PETER_LINE[:-1]} \n",
    "carriage-return": f"{TEXT}\n{PETER_LINE[:-1]}\r\n",
    "no-base64": f"{TEXT}\n{PETER_LINE.replace('x08g', 'x08!')}",
    "base64url": f"{TEXT}\n{PETER_LINE.replace('/', '_')}",
    "no-padding": f"{TEXT}\n{PETER_LINE.replace('=', '')}",
    "stray-bits": f"{TEXT}\n{PETER_LINE.replace('nAM=', 'nAN=')}",
    "control-in-text": f"a\tb\n\n{PETER_LINE}",
    "nul-in-text": f"a\x00b\n\n{PETER_LINE}",
    "unit-separator-in-text": f"a\x1fb\n\n{PETER_LINE}",
    "carriage-return-in-text": f"a\r\n\n{PETER_LINE}",
}


def test_published_note() -> None:
    note = parse_note(SIGNED)
    assert note.text == TEXT
    assert note.encode() == SIGNED
    assert verify_note(note, [ENOCH_KEY, PETER_KEY]) == [PETER_KEY, ENOCH_KEY]


def test_the_published_signature_is_made_again() -> None:
    line = sign_note(TEXT, "PeterNeumann", SigningKey.from_seed(PETER_SEED))
    assert Note(TEXT, (line,)).encode() == f"{TEXT}\n{PETER_LINE}".encode()


@pytest.mark.parametrize("data", [POEM, SOFA], ids=["poem", "checkpoint"])
def test_published_notes_of_unknown_signers(data: bytes) -> None:
    note = parse_note(data)
    assert note.encode() == data
    assert verify_note(note, [PETER_KEY]) == []


def test_the_last_blank_line_ends_the_text() -> None:
    assert parse_note(POEM).text.endswith(":\n\ned è subito sera.\n")
    text = "first\n\n— somebody said\n\n\n"
    assert parse_note(signed(text, LOG).encode()) == signed(text, LOG)


def test_signatures_inside_the_text_are_text() -> None:
    """Whoever signs a text that ends like a note has not signed that note."""
    outer = signed(SIGNED.decode(), LOG)
    assert verify_note(parse_note(outer.encode()), [PETER_KEY, ENOCH_KEY, LOG_VERIFIER]) == [
        LOG_VERIFIER
    ]


@pytest.mark.parametrize("text", NO_NOTES.values(), ids=NO_NOTES)
def test_what_is_no_note(text: str) -> None:
    with pytest.raises(NoteMalformed) as caught:
        parse_note(text.encode())
    assert caught.value.code == "NOTE_MALFORMED"
    assert isinstance(caught.value, IntegrityError)


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xc0\x80", b"\xef\xbb\xbf\xff"],
    ids=["ff", "cut", "surrogate", "overlong", "after-bom"],
)
def test_what_is_not_utf_8(data: bytes) -> None:
    with pytest.raises(NoteMalformed):
        parse_note(data + b"\n\n" + PETER_LINE.encode())


def test_a_note_over_its_size() -> None:
    tail = f"\n\n{PETER_LINE}"
    fits = "a" * (MAX_NOTE_BYTES - len(tail.encode())) + tail
    assert len(parse_note(fits.encode()).encode()) == MAX_NOTE_BYTES
    with pytest.raises(NoteMalformed):
        parse_note(b"a" + fits.encode())
    with pytest.raises(NoteMalformed):
        signed("a" * MAX_NOTE_BYTES + "\n", LOG).encode()


def test_a_hundred_signatures_and_one_more() -> None:
    names = [f"witness.example/{n}" for n in range(MAX_SIGNATURES + 1)]
    fits = signed(TEXT, *names[:-1])
    assert parse_note(fits.encode()) == fits
    over = signed(TEXT, *names)
    with pytest.raises(NoteMalformed):
        over.encode()
    with pytest.raises(NoteMalformed):
        parse_note(fits.encode() + f"{over.signatures[-1].line}\n".encode())


def test_a_note_without_a_signature_has_no_bytes() -> None:
    with pytest.raises(NoteMalformed):
        Note(TEXT, ()).encode()


@pytest.mark.parametrize(
    "text", ["", "no newline", "a\tb\n", "a\x00\n", "a\r\n", "\ud800\n"], ids=ascii
)
def test_texts_that_nobody_signs(text: str) -> None:
    with pytest.raises(NoteMalformed):
        sign_note(text, LOG, LOG_KEY)
    with pytest.raises(NoteMalformed):
        Note(text, signed(TEXT, LOG).signatures).encode()


def test_a_name_that_nobody_signs_with() -> None:
    with pytest.raises(KeyMalformed):
        sign_note(TEXT, "two words", LOG_KEY)


@pytest.mark.parametrize(
    ("name", "key_hash", "signature"),
    [("two words", b"hash", b"s"), ("", b"hash", b"s"), ("a", b"has", b"s"), ("a", b"hash", b"")],
    ids=["name", "no-name", "hash", "no-signature"],
)
def test_signatures_that_no_line_holds(name: str, key_hash: bytes, signature: bytes) -> None:
    with pytest.raises(NoteMalformed):
        NoteSignature(name, key_hash, signature)


def test_nobody_known_signed() -> None:
    assert verify_note(parse_note(SIGNED), []) == []
    assert verify_note(parse_note(SIGNED), [LOG_VERIFIER]) == []


def test_a_changed_text() -> None:
    changed = SIGNED.replace(b"cryptography", b"Cryptography")
    with pytest.raises(BadSignature) as caught:
        verify_note(parse_note(changed), [PETER_KEY])
    assert caught.value.code == "BAD_SIGNATURE"
    assert isinstance(caught.value, IntegrityError)
    assert verify_note(parse_note(changed), [LOG_VERIFIER]) == []


@pytest.mark.parametrize("bit", [0, 7, 255, 256, 300, 511])
def test_a_changed_signature(bit: int) -> None:
    note = signed(TEXT, LOG)
    line = note.signatures[0]
    wrong = NoteSignature(line.name, line.key_hash, flipped(line.signature, bit))
    with pytest.raises(BadSignature):
        verify_note(Note(TEXT, (wrong,)), [LOG_VERIFIER])


@pytest.mark.parametrize("size", [1, 63, 65, 72])
def test_a_signature_of_another_length(size: int) -> None:
    line = signed(TEXT, LOG).signatures[0]
    wrong = NoteSignature(line.name, line.key_hash, (line.signature * 2)[:size])
    with pytest.raises(BadSignature):
        verify_note(Note(TEXT, (wrong,)), [LOG_VERIFIER])


def test_a_good_signature_does_not_excuse_a_bad_one() -> None:
    good, other = signed(TEXT, LOG).signatures[0], sign_note("other\n", "b.example", OTHER_KEY)
    keys = [LOG_VERIFIER, VerifierKey.of("b.example", OTHER_KEY.public)]
    for lines in ((good, other), (other, good)):
        with pytest.raises(BadSignature):
            verify_note(Note(TEXT, lines), keys)


def test_the_name_or_the_hash_alone_is_an_unknown_key() -> None:
    """C2SP signed-note: verifiers must ignore these, and may not fail because of them."""
    same_name = sign_note(TEXT, LOG, OTHER_KEY)
    same_hash = NoteSignature("b.example", LOG_VERIFIER.key_hash, b"x" * 64)
    assert verify_note(Note(TEXT, (same_name, same_hash)), [LOG_VERIFIER]) == []


def test_another_signer_under_a_known_name_and_hash() -> None:
    forged = NoteSignature(LOG, LOG_VERIFIER.key_hash, OTHER_KEY.sign(TEXT.encode()))
    with pytest.raises(BadSignature):
        verify_note(Note(TEXT, (forged,)), [LOG_VERIFIER])


def test_one_key_counts_once() -> None:
    with pytest.raises(NoteMalformed):
        verify_note(parse_note(f"{TEXT}\n{PETER_LINE}{PETER_LINE}".encode()), [PETER_KEY])
    twice_unknown = parse_note(f"{TEXT}\n{ENOCH_LINE}{PETER_LINE}{ENOCH_LINE}".encode())
    assert verify_note(twice_unknown, [PETER_KEY]) == [PETER_KEY]


def test_the_same_key_may_be_given_twice() -> None:
    assert verify_note(parse_note(SIGNED), [PETER_KEY, PETER_KEY]) == [PETER_KEY]


def test_keys_that_a_line_cannot_tell_apart() -> None:
    """Two keys of one name with the same 32-bit hash, found by trying some 160,000 seeds."""
    first, second = (
        VerifierKey.of("c.example", SigningKey.from_seed(n.to_bytes(32, "big")).public)
        for n in (162390, 166167)
    )
    assert first.key_hash == second.key_hash
    assert first.public != second.public
    with pytest.raises(KeyMalformed):
        verify_note(parse_note(SIGNED), [first, second])


@pytest.mark.parametrize("line", ["", NAME_AND_SIGNATURE[:-1], PETER_LINE, f" {PETER_LINE[:-1]}"])
def test_what_is_no_signature_line(line: str) -> None:
    with pytest.raises(NoteMalformed):
        NoteSignature.parse(line)


names = st.text("abc./-é日", min_size=1, max_size=8)
lines = st.builds(
    NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
)
texts = st.text("ab— \n\u2028é", max_size=30).map("{}\n".format)


@given(texts, st.lists(lines, min_size=1, max_size=5))
@example("\n", [NoteSignature("a", b"hash", b"s")])
@example("\n\n", [NoteSignature("a", b"hash", b"s")])
def test_every_note_comes_back(text: str, signatures: list[NoteSignature]) -> None:
    note = Note(text, tuple(signatures))
    assert parse_note(note.encode()) == note


words = [*NAME_AND_SIGNATURE.split(), TEXT, PETER_LINE, ENOCH_LINE]
parts = st.sampled_from([*words, "\n", "\n\n", "a", " ", "+", "\r", "\x00", "—", "— ", "AQ=="])


@given(st.binary(max_size=80) | st.lists(parts, max_size=9).map("".join).map(str.encode))
def test_any_bytes_are_refused_or_the_only_spelling(data: bytes) -> None:
    try:
        note = parse_note(data)
    except NoteMalformed:
        return
    assert note.encode() == data


@given(st.text(max_size=60) | st.lists(parts, max_size=5).map("".join))
def test_any_line_is_refused_or_the_only_spelling(line: str) -> None:
    try:
        signature = NoteSignature.parse(line)
    except NoteMalformed:
        return
    assert signature.line == line


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_any_changed_byte_of_a_note_is_found(place: int, change: int) -> None:
    data = bytearray(SIGNED)
    data[place] ^= change
    try:
        found = verify_note(parse_note(bytes(data)), [PETER_KEY, ENOCH_KEY])
    except (NoteMalformed, BadSignature):
        return
    assert len(found) < 2  # a changed name or key hash is an unknown key's
