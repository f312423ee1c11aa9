"""Quorums that are not reached, however many signatures there are."""

import base64

import pytest
from tests.evidence.attack_worlds import assert_refused, assert_valid, verdict, world
from tests.evidence.pack_forge import Key, repack, unpack

A, B, C = (Key(f"witness.{n}", n.encode() * 32, 4) for n in "abc")
STRANGER = Key("witness.stranger", b"s" * 32, 4)


def trust(*witnesses: Key, quorum: int | None = None) -> str:
    lines = [f"witness {key.vkey}" for key in witnesses]
    lines += [] if quorum is None else [f"quorum {quorum}"]
    return world().trust + "\n".join(lines) + "\n"


def text() -> str:
    note = unpack(world().packs["main"])["log/checkpoint"].decode()
    return note.partition("\n\n")[0] + "\n"


def cosigned(*lines: str) -> bytes:
    note = unpack(world().packs["main"])["log/checkpoint"]
    return repack(world().packs["main"], {"log/checkpoint": note + "".join(lines).encode()})


def refused(pack: bytes, given: str, code: str = "QUORUM") -> None:
    assert_refused(pack, given, code, "log/checkpoint")


def test_a_quorum_that_is_reached() -> None:
    pack = cosigned(A.line(text()), B.line(text()))
    assert assert_valid(pack, trust(A, B, C, quorum=2)).witnesses == (A.name, B.name)
    assert assert_valid(pack, trust(A)).witnesses == (A.name,)
    assert assert_valid(world().packs["main"], trust(A, B, quorum=0)).witnesses == ()


def test_a_quorum_that_is_not_reached() -> None:
    refused(world().packs["main"], trust(A, B, quorum=1))
    refused(cosigned(A.line(text())), trust(A, B, quorum=2))
    refused(cosigned(A.line(text()), B.line(text())), trust(A, B, quorum=3))


def test_the_cosignatures_are_stripped() -> None:
    whole = cosigned(A.line(text()))
    assert_valid(whole, trust(A, quorum=1))
    note = unpack(world().packs["main"])["log/checkpoint"]
    refused(repack(whole, {"log/checkpoint": note}), trust(A, quorum=1))


def test_one_witness_that_signed_twice_is_not_two() -> None:
    """Twice at one time, or at two times."""
    for at in (1_795_435_200, 1_795_435_201):
        twice = cosigned(A.line(text()), A.line(text(), at))
        refused(twice, trust(A, B, quorum=2), "NOTE_MALFORMED")


def test_one_key_under_two_names_is_counted_once() -> None:
    again = Key("witness.again", b"a" * 32, 4)
    assert again.public == A.public
    pack = cosigned(A.line(text()), again.line(text()))
    refused(pack, trust(A, again, quorum=2))
    assert_valid(pack, trust(A, again, quorum=1))


def test_a_witness_that_is_not_known_does_not_count() -> None:
    pack = cosigned(STRANGER.line(text()))
    refused(pack, trust(A, quorum=1))
    assert assert_valid(pack, trust(A, quorum=0)).witnesses == ()


def test_a_witness_who_is_called_like_a_known_one_does_not_count() -> None:
    other = Key(A.name, b"x" * 32, 4)
    refused(cosigned(other.line(text())), trust(A, quorum=1))


def test_a_cosignature_of_another_checkpoint() -> None:
    other = unpack(world().packs["other"])["log/checkpoint"].decode().partition("\n\n")[0] + "\n"
    assert other != text()
    refused(cosigned(A.line(other)), trust(A, quorum=1), "BAD_SIGNATURE")
    refused(cosigned(A.line(other)), trust(A, quorum=0), "BAD_SIGNATURE")


@pytest.mark.parametrize("kind", ["time", "plain"])
def test_a_cosignature_that_is_over_something_else_than_the_page_says(kind: str) -> None:
    """Its time is not the one that was signed; or it is a plain signature of the note."""
    line = A.line(text())
    data = bytearray(base64.b64decode(line.split()[-1]))
    if kind == "time":
        data[11] ^= 1
    else:
        data[12:] = A.sign(text().encode())
    forged = f"— {A.name} {base64.b64encode(bytes(data)).decode()}\n"
    refused(cosigned(forged), trust(A, quorum=1), "BAD_SIGNATURE")


def test_the_log_is_no_witness_of_its_own() -> None:
    """Its key, given as a witness's, would count what the operator says twice."""
    log = Key(world().log, world().seed)
    found = verdict(world().packs["main"], world().trust + f"witness {log.vkey}\nquorum 1\n")
    assert found.verdict == "UNTRUSTED"
    own = Key(world().log, world().seed, 4)
    refused(world().packs["main"], trust(own, quorum=1))


def test_witnesses_do_not_sign_for_the_log() -> None:
    note = text() + "\n" + A.line(text()) + B.line(text())
    pack = repack(world().packs["main"], {"log/checkpoint": note.encode()})
    refused(pack, trust(A, B, quorum=2), "UNKNOWN_KEY")
