"""Tokens: vectors computed beside the implementation, and every way to forge one by name."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from federation_core.errors import InvalidInput, Unauthenticated
from federation_core.identity import Claims, issue_token, verify_token

SECRET = "c2VjcmV0LXRoYXQtbG9va3MtbGlrZS1iYXNlNjQ="
NOW = 1_700_000_000
FACTS: dict[str, Any] = {
    "server_id": "titan-1",
    "scopes": ["workflow:read", "gate:write"],
    "iat": NOW - 10,
    "exp": NOW + 3600,
    "jti": "0192d3c4",
}
VECTOR = (
    "omega_eyJzZXJ2ZXJfaWQiOiJ0aXRhbi0xIiwic2NvcGVzIjpbIndvcmtmbG93OnJlYWQiLCJnYXRlOndyaXRlIl0s"
    "ImlhdCI6MTY5OTk5OTk5MCwiZXhwIjoxNzAwMDAzNjAwLCJqdGkiOiIwMTkyZDNjNCJ9"
    ".Zm_jhGSREjdARG87RkuYqH7hGQXbyvVt388DjNtkvYs"
)
"""Made by `base64` and `openssl dgst -sha256 -hmac` in a shell."""


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(payload: str, secret: str = SECRET) -> str:
    mac = hmac.new(secret.encode(), payload.encode("ascii"), hashlib.sha256)
    return f"omega_{payload}.{b64(mac.digest())}"


def forged(facts: Any, secret: str = SECRET) -> str:
    """What anyone who has the secret can make with nothing but the standard library."""
    return signed(b64(json.dumps(facts, separators=(",", ":")).encode()), secret)


def claims(**changes: Any) -> Claims:
    facts = {**FACTS, "scopes": tuple(FACTS["scopes"]), **changes}
    return Claims(**facts)


def refusal(token: str, now: int = NOW, secret: str = SECRET) -> str:
    with pytest.raises(Unauthenticated) as caught:
        verify_token(secret, token, now)
    return caught.value.detail


GOOD = forged(FACTS)


def test_vector() -> None:
    assert forged(FACTS) == issue_token(SECRET, claims()) == VECTOR
    assert verify_token(SECRET, VECTOR, NOW) == claims()


def test_all_claims_are_read() -> None:
    more = {"tenant_id": "acme", "actor_id": "ann", "roles": ["finance"], "unknown": [1]}
    found = verify_token(SECRET, forged({**FACTS, **more}), NOW)
    assert found == claims(tenant_id="acme", actor_id="ann", roles=("finance",))
    assert verify_token(SECRET, issue_token(SECRET, found), NOW) == found


def test_payload_with_spaces_is_the_signers_own_affair() -> None:
    assert verify_token(SECRET, signed(b64(json.dumps(FACTS).encode())), NOW) == claims()


def test_secret_is_taken_as_it_stands_not_decoded() -> None:
    decoded = base64.b64decode(SECRET)
    assert issue_token(SECRET.encode(), claims()) == GOOD
    assert issue_token(decoded, claims()) != GOOD
    with pytest.raises(Unauthenticated):
        verify_token(decoded, GOOD, NOW)


def test_secret_that_is_no_utf8_keeps_its_bytes() -> None:
    assert issue_token("\udcff", claims()) == issue_token(b"\xff", claims())


@given(
    st.lists(st.text(max_size=20), max_size=5),
    st.integers(0, NOW),
    st.integers(NOW + 1, 2**53 - 1),
    st.binary(min_size=1),
)
def test_what_is_issued_is_verified(scopes: list[str], iat: int, exp: int, secret: bytes) -> None:
    made = claims(scopes=tuple(scopes), iat=iat, exp=exp)
    assert verify_token(secret, issue_token(secret, made), NOW) == made


# Time


@pytest.mark.parametrize("late", [0, 1, 3600])
def test_expired(late: int) -> None:
    assert refusal(GOOD, NOW + 3600 + late) == (
        f"The token expired {late} seconds ago; get a new one."
    )


def test_last_second_is_valid() -> None:
    verify_token(SECRET, GOOD, NOW + 3599)


def test_clocks_may_differ_by_a_minute() -> None:
    verify_token(SECRET, GOOD, FACTS["iat"] - 60)
    assert "not valid for another 61 seconds" in refusal(GOOD, FACTS["iat"] - 61)


# Signatures


def test_other_secret() -> None:
    assert "signature does not match" in refusal(forged(FACTS, "other"))


def test_empty_signature() -> None:
    assert "signature does not match" in refusal(GOOD.partition(".")[0] + ".")


def test_signature_of_another_token() -> None:
    other = forged({**FACTS, "scopes": ["admin"]})
    assert "signature" in refusal(f"{other.partition('.')[0]}.{GOOD.partition('.')[2]}")


def test_signature_over_the_decoded_payload() -> None:
    payload = GOOD.removeprefix("omega_").partition(".")[0]
    raw = base64.urlsafe_b64decode(payload + "==")
    mac = hmac.new(SECRET.encode(), raw, hashlib.sha256).digest()
    assert "signature" in refusal(f"omega_{payload}.{b64(mac)}")


@pytest.mark.parametrize("tail", ["=", "==", "A", "\n", " "])
def test_padded_or_longer_signature(tail: str) -> None:
    assert "signature does not match" in refusal(GOOD + tail)


def test_every_other_character_at_every_place_is_refused() -> None:
    """Stray bits at the end of the signature's base64url included."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.+/ \0é"
    for place, old in enumerate(GOOD):
        for new in alphabet if place > len(GOOD) - 3 else "A.é":
            if new != old:
                refusal(GOOD[:place] + new + GOOD[place + 1 :])


@given(st.data())
def test_any_mutation_is_refused(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(start + 3, len(GOOD))))
    mutated = GOOD[:start] + data.draw(st.text(max_size=3)) + GOOD[end:]
    assume(mutated != GOOD)
    refusal(mutated)


# Shapes


@given(st.text())
@example("omega_.")
@example("omega_")
@example("Bearer " + GOOD)
@example("omega_a.b.c")
def test_text_that_is_no_token(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize(
    "token",
    [GOOD.removeprefix("omega_"), "OMEGA_" + GOOD[6:], GOOD + ".", "omega_" + GOOD, " " + GOOD],
)
def test_malformed_text(token: str) -> None:
    refusal(token)


def test_huge_token_is_refused_unread() -> None:
    huge = forged({**FACTS, "scopes": ["x" * 8192]})
    assert "over 8192 bytes" in refusal(huge)
    with pytest.raises(InvalidInput, match="at most 8192"):
        issue_token(SECRET, claims(scopes=("x" * 8192,)))


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "e30=",
        "e3",
        "e30\n",
        "e 30",
        "+/+/",
        "e31",  # `{}` with stray bits
        b64(b"{}") + "A",
        b64(b""),
        b64(b"\xff"),
        b64(b"null"),
        b64(b"[]"),
        b64(b"{}"),
        b64(b'{"server_id":"a","server_id":"b"}'),
        b64(json.dumps(FACTS).encode("utf-16")),
        b64(b"[" * 4000),
    ],
)
def test_malformed_payload_with_a_good_signature(payload: str) -> None:
    assert "malformed" in refusal(signed(payload))


@pytest.mark.parametrize("spelling", ["stray bits", "padding", "newline", "other alphabet"])
def test_other_spelling_of_a_good_payload_with_a_good_signature(spelling: str) -> None:
    body = json.dumps({**FACTS, "jti": "~~~???>>>"}).encode()
    body += b" " * ((2 - len(body)) % 3)  # so that padding, and bits to spare, are at the end
    payload = b64(body)
    verify_token(SECRET, signed(payload), NOW)
    other = {
        "stray bits": payload[:-1] + chr(ord(payload[-1]) + 1),
        "padding": payload + "=" * (-len(payload) % 4),
        "newline": payload[:8] + "\n" + payload[8:],
        "other alphabet": payload.replace("-", "+").replace("_", "/"),
    }[spelling]
    assert other != payload
    assert base64.urlsafe_b64decode(other + "==")
    assert "base64url" in refusal(signed(other))


@pytest.mark.parametrize("name", list(FACTS))
def test_missing_claim(name: str) -> None:
    rest = {key: value for key, value in FACTS.items() if key != name}
    assert name in refusal(forged(rest))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_id", ""),
        ("server_id", None),
        ("server_id", 7),
        ("server_id", "role:finance"),
        ("server_id", "system"),
        ("server_id", "a b"),
        ("server_id", "titan-1\n"),
        ("scopes", None),
        ("scopes", "admin"),
        ("scopes", {"admin": True}),
        ("scopes", [1]),
        ("iat", "1"),
        ("iat", float(NOW)),
        ("iat", NOW + 0.5),
        ("iat", True),
        ("iat", None),
        ("iat", -1),
        ("exp", "9999999999"),
        ("exp", float(NOW + 9)),
        ("exp", 1e300),
        ("exp", 2**63),
        ("exp", 10**400),
        ("exp", None),
        ("exp", [NOW + 9]),
        ("jti", ""),
        ("jti", None),
        ("jti", "x" * 257),
        ("tenant_id", ""),
        ("tenant_id", 7),
        ("tenant_id", "../other"),
        ("actor_id", ""),
        ("actor_id", "role:finance"),
        ("actor_id", "system"),
        ("actor_id", "a\u0000"),
        ("roles", "finance"),
        ("roles", None),
        ("roles", [None]),
    ],
)
def test_claim_of_the_wrong_kind(name: str, value: Any) -> None:
    assert "malformed" in refusal(forged({**FACTS, name: value}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "01"])
def test_number_that_is_no_json(number: str) -> None:
    body = json.dumps(FACTS).replace(str(FACTS["exp"]), number)
    assert "malformed" in refusal(signed(b64(body.encode())))


@pytest.mark.parametrize(
    "changes", [{"server_id": "role:x"}, {"actor_id": "system"}, {"jti": ""}, {"iat": -1}]
)
def test_claims_that_would_be_refused_are_not_issued(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="claims are refused"):
        issue_token(SECRET, claims(**changes))


def test_refusal_does_not_repeat_the_token_or_the_secret() -> None:
    for token in (GOOD + "x", forged({**FACTS, "exp": 1}), forged({})):
        detail = refusal(token)
        assert SECRET not in detail
        assert token[6:40] not in detail
