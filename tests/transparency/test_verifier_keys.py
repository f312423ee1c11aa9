"""Verifier keys: one spelling each, and no key whose hash is another's."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.transparency.note_vectors import ENOCH, LOG_KEY, PETER, PETER_SEED

from federation_core.errors import InvalidInput
from federation_core.transparency import SigningKey, VerifierKey
from federation_core.transparency.errors import KeyMalformed
from federation_core.transparency.keys import COSIGNATURE, ED25519, is_key_name

PUBLIC = LOG_KEY.public
NO_NAMES = {
    "empty": "",
    "space": "a b",
    "plus": "a+b",
    "tab": "a\tb",
    "newline": "a\n",
    "no-break-space": "a\u00a0b",
    "line-separator": "a\u2028b",
    "ideographic-space": "a\u3000b",
    "next-line": "a\u0085b",
    "nul": "a\x00b",
    "unit-separator": "a\x1fb",
    "lone-surrogate": "a\ud800b",
}
NO_KEYS = {
    "empty": "",
    "no-parts": "PeterNeumann",
    "two-parts": "PeterNeumann+c74f20a3",
    "no-name": PETER.removeprefix("PeterNeumann"),
    "other-name": PETER.replace("Peter", "Pieter"),
    "space-in-name": PETER.replace("Peter", "Peter "),
    "other-hash": PETER.replace("c74f20a3", "c74f20a4"),
    "upper-case-hash": PETER.replace("c74f20a3", "C74F20A3"),
    "short-hash": PETER.replace("c74f20a3", "c74f20a"),
    "long-hash": PETER.replace("c74f20a3", "c74f20a300"),
    "spaced-hash": PETER.replace("c74f20a3", "c74f20 3"),
    "other-key": PETER.replace("ARpc", "ARpd"),
    "other-algorithm": PETER.replace("+ARpc", "+BBpc"),
    "short-key": PETER[:-4],
    "long-key": PETER + "AAAA",
    "padded": PETER + "=",
    "no-base64": PETER[:-1] + "!",
    "base64url": PETER.replace("qq/L", "qq_L"),
    "newline": PETER + "\n",
    "space-before": " " + PETER,
    "no-ascii": PETER[:-1] + "é",
}


@pytest.mark.parametrize("text", [PETER, ENOCH], ids=["peter", "enoch"])
def test_published_keys(text: str) -> None:
    key = VerifierKey.parse(text)
    assert key.text == text
    assert (key.name, key.algorithm) == (text.partition("+")[0], ED25519)
    assert key.key_hash.hex() == text.split("+")[1]
    assert VerifierKey.of(key.name, key.public) == key


def test_the_published_seed_has_the_published_key() -> None:
    assert VerifierKey.of("PeterNeumann", SigningKey.from_seed(PETER_SEED).public).text == PETER


@pytest.mark.parametrize("text", NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(KeyMalformed) as caught:
        VerifierKey.parse(text)
    assert caught.value.code == "KEY_MALFORMED"
    assert isinstance(caught.value, InvalidInput)


def test_no_part_of_a_key_is_a_key() -> None:
    for start in range(len(PETER)):
        for end in range(start, len(PETER) + (start > 0)):
            with pytest.raises(KeyMalformed):
                VerifierKey.parse(PETER[start:end])


@pytest.mark.parametrize("place", range(len(PETER)))
def test_no_character_of_a_key_can_be_another(place: int) -> None:
    for other in {chr(ord(PETER[place]) + 1), PETER[place].swapcase(), " ", "+"} - {PETER[place]}:
        with pytest.raises(KeyMalformed):
            VerifierKey.parse(PETER[:place] + other + PETER[place + 1 :])


@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES)
def test_what_is_no_name(name: str) -> None:
    assert not is_key_name(name)
    with pytest.raises(KeyMalformed):
        VerifierKey.of(name, PUBLIC)


def test_names_that_are_not_ascii() -> None:
    key = VerifierKey.of("übung.example/日本", PUBLIC)
    assert VerifierKey.parse(key.text) == key


def test_a_witness_and_a_log_with_the_same_key_have_two_hashes() -> None:
    log = VerifierKey.of("both.example", PUBLIC)
    witness = VerifierKey.of("both.example", PUBLIC, COSIGNATURE)
    assert witness.key_hash == sha256(b"both.example\n\x04" + PUBLIC).digest()[:4]
    assert log.key_hash == sha256(b"both.example\n\x01" + PUBLIC).digest()[:4]
    assert VerifierKey.parse(witness.text) == witness


@pytest.mark.parametrize(
    "algorithm", [-1, 0, 2, 3, 5, 6, 255, 256, 10**5000], ids=lambda n: n % 997
)
def test_unknown_algorithms(algorithm: int) -> None:
    with pytest.raises(KeyMalformed):
        VerifierKey.of("log.example", PUBLIC, algorithm)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_key_of_another_length(size: int) -> None:
    with pytest.raises(KeyMalformed):
        VerifierKey.of("log.example", bytes(size))


def test_a_low_order_key_is_refused_before_anything_is_verified() -> None:
    with pytest.raises(KeyMalformed):
        VerifierKey.of("log.example", bytes(32))


def test_there_is_no_key_with_the_hash_of_another() -> None:
    with pytest.raises(KeyMalformed):
        VerifierKey("log.example", b"\x00" * 4, ED25519, PUBLIC)


@given(st.text(min_size=1, max_size=20).filter(is_key_name), st.binary(min_size=32, max_size=32))
def test_every_key_comes_back(name: str, seed: bytes) -> None:
    key = VerifierKey.of(name, SigningKey.from_seed(seed).public)
    assert VerifierKey.parse(key.text) == key


pieces = st.sampled_from([*PETER.split("+"), *ENOCH.split("+"), "+", "=", " ", "\n", "a"])


@given(st.text(max_size=60) | st.lists(pieces, max_size=8).map("".join))
def test_any_text_is_refused_or_the_only_spelling(text: str) -> None:
    try:
        key = VerifierKey.parse(text)
    except KeyMalformed:
        return
    assert key.text == text
