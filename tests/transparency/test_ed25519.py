"""RFC 8032's vectors, and the signatures that libraries disagree about: all of them refused."""

from hashlib import sha512

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.transparency.edwards import (
    BASE,
    ZERO,
    L,
    P,
    challenge,
    encode,
    encode_as,
    low_order_points,
    point,
    times,
)

from federation_core.transparency.ed25519 import SigningKey, check_public, verify
from federation_core.transparency.errors import KeyMalformed

# RFC 8032 section 7.1: seed, public key, message, signature
VECTORS = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
            "1cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
            "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
            "984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    "TEST SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23"
            "a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c6"
            "6431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
}
KEY = SigningKey.from_seed(bytes(range(32)))
MESSAGE = b"a checkpoint"
SIGNATURE = KEY.sign(MESSAGE)
_DIGEST = int.from_bytes(sha512(KEY.seed).digest()[:32], "little")
KEY_SCALAR = (_DIGEST & (1 << 254) - 8) | 1 << 254
"""The secret scalar of KEY, section 5.1.5."""
LOW_ORDER = low_order_points()

# Every encoding of those eight: their own, and the spellings that are not canonical. A y of 0 or 1
# may be spelled as p or p + 1; an x of 0 with either sign.
SPELLINGS = sorted(
    {
        encode_as(y, odd=odd)
        for x, low_y in LOW_ORDER
        for y in (low_y, low_y + P)
        if y < 2**255
        for odd in ((False, True) if x == 0 else (bool(x & 1),))
    }
)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_rfc_8032(vector: tuple[str, str, str, str]) -> None:
    seed, public, message, signature = map(bytes.fromhex, vector)
    key = SigningKey.from_seed(seed)
    assert (key.seed, key.public, key.sign(message)) == (seed, public, signature)
    assert verify(public, message, signature)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_what_a_key_signs_is_its_own(seed: bytes, message: bytes) -> None:
    key = SigningKey.from_seed(seed)
    signature = key.sign(message)
    assert verify(key.public, message, signature)
    assert key.sign(message) == signature
    assert not verify(key.public, message + b"\x00", signature)
    assert not verify(KEY.public, message, signature) or seed == KEY.seed


@pytest.mark.parametrize("bit", range(0, 512, 3))
def test_a_changed_bit_of_the_signature(bit: int) -> None:
    changed = (int.from_bytes(SIGNATURE, "little") ^ 1 << bit).to_bytes(64, "little")
    assert not verify(KEY.public, MESSAGE, changed)


@pytest.mark.parametrize("bit", range(0, 256, 3))
def test_a_changed_bit_of_the_key(bit: int) -> None:
    changed = (int.from_bytes(KEY.public, "little") ^ 1 << bit).to_bytes(32, "little")
    assert not verify(changed, MESSAGE, SIGNATURE)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_lengths_of_seed_and_key(size: int) -> None:
    with pytest.raises(KeyMalformed) as caught:
        SigningKey.from_seed(bytes(size))
    assert caught.value.code == "KEY_MALFORMED"
    with pytest.raises(KeyMalformed):
        check_public(bytes(size))
    assert not verify(KEY.public[:size] + bytes(max(0, size - 32)), MESSAGE, SIGNATURE)


@pytest.mark.parametrize("size", [0, 32, 63, 65, 128])
def test_lengths_of_a_signature(size: int) -> None:
    assert not verify(KEY.public, MESSAGE, (SIGNATURE * 2)[:size])


def test_s_plus_l_is_not_a_second_signature() -> None:
    r, s = SIGNATURE[:32], int.from_bytes(SIGNATURE[32:], "little")
    assert s < L
    for more in range(L, 2**256 - s, L):
        assert not verify(KEY.public, MESSAGE, r + (s + more).to_bytes(32, "little"))


def test_the_smallest_s_that_is_refused() -> None:
    r = SIGNATURE[:32]
    for s in (L, L + 1, 2**253, 2**256 - 1):
        assert not verify(KEY.public, MESSAGE, r + s.to_bytes(32, "little"))


def test_there_are_eight_points_of_low_order() -> None:
    assert len(set(LOW_ORDER)) == 8
    assert all(times(8, low) == ZERO for low in LOW_ORDER)
    assert sorted(min(n for n in (1, 2, 4, 8) if times(n, low) == ZERO) for low in LOW_ORDER) == [
        *[1, 2, 4, 4],
        *[8, 8, 8, 8],
    ]
    assert len(SPELLINGS) == 14


@pytest.mark.parametrize("public", SPELLINGS, ids=bytes.hex)
def test_no_low_order_point_is_a_key(public: bytes) -> None:
    """Anybody can sign under one: with R = [s]B and S = s the equation [S]B = R + [k]A of section
    5.1.7 holds wherever [k]A = 0, which is so for at least one message in eight."""
    with pytest.raises(KeyMalformed):
        check_public(public)
    y, sign = (int.from_bytes(public, "little") & (1 << 255) - 1) % P, public[31] >> 7
    a = next(low for low in LOW_ORDER if low[1] == y and low[0] & 1 in {sign, low[0]})
    s = 4711
    r = encode(times(s, BASE))
    messages = [b"anything %d" % n for n in range(100)]
    forged = [m for m in messages if times(challenge(r, public, m), a) == ZERO]
    assert forged
    for message in forged:
        assert not verify(public, message, r + s.to_bytes(32, "little"))


@pytest.mark.parametrize("r", SPELLINGS, ids=bytes.hex)
def test_no_low_order_point_is_an_r(r: bytes) -> None:
    """Who has the secret can make S = k·a for it. With R = 0 that satisfies the equation as it
    stands, with the others the one that is multiplied by the cofactor: there libraries disagree."""
    assert encode(times(KEY_SCALAR, BASE)) == KEY.public
    s = challenge(r, KEY.public, MESSAGE) * KEY_SCALAR % L
    assert not verify(KEY.public, MESSAGE, r + s.to_bytes(32, "little"))


@pytest.mark.parametrize("odd", [False, True], ids=["even", "odd"])
@pytest.mark.parametrize("excess", range(19))
def test_a_y_that_is_not_below_p(excess: int, odd: bool) -> None:
    encoded = encode_as(P + excess, odd=odd)
    with pytest.raises(KeyMalformed):
        check_public(encoded)
    assert not verify(encoded, MESSAGE, SIGNATURE)
    assert not verify(KEY.public, MESSAGE, encoded + SIGNATURE[32:])


def test_a_key_that_is_on_no_point() -> None:
    off_the_curve = next(y for y in range(2, 100) if point(y, odd=False) is None)
    assert not verify(encode_as(off_the_curve, odd=False), MESSAGE, SIGNATURE)


def test_honest_keys_pass_the_check() -> None:
    for n in range(50):
        check_public(SigningKey.from_seed(bytes([n]) * 32).public)
    assert verify(KEY.public, MESSAGE, SIGNATURE)


def test_a_key_does_not_show_its_seed() -> None:
    assert KEY.seed.hex() not in repr(KEY)
    assert KEY.public.hex() in repr(KEY)
    assert str(KEY) == repr(KEY)


@given(st.binary(max_size=70), st.binary(max_size=10), st.binary(max_size=70))
def test_verify_never_raises(public: bytes, message: bytes, signature: bytes) -> None:
    assert verify(public, message, signature) is False


@given(
    st.binary(min_size=32, max_size=32), st.binary(max_size=10), st.binary(min_size=64, max_size=64)
)
def test_verify_never_raises_for_what_is_long_enough(
    public: bytes, message: bytes, signature: bytes
) -> None:
    assert verify(public, message, signature) is False
    assert verify(public, message, signature[:32] + bytes(32)) is False
