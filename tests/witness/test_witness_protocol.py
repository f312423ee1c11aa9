"""The bytes of C2SP tlog-witness: one spelling each."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.witness.witness_helpers import LOG

from federation_core.errors import CallerError, IntegrityError
from federation_core.transparency import parse_checkpoint
from federation_core.transparency.tree import MAX_SIZE
from federation_core.witness.errors import AnswerMalformed, RequestMalformed
from federation_core.witness.protocol import (
    MAX_PROOF,
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    encode_cosignatures,
    encode_size,
    parse_cosignatures,
    parse_request,
    parse_size,
)

# The examples of C2SP tlog-witness.
REQUEST = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGz\
Gku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEj\
w6QUXTS5Rovnzv++qbSzm9Q=
"""
ANSWER = """\
— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXD\
qI5G2HgLatVs0pWh6Up69HVOw==
— witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+U\
fzuOBMh9ChdMkP1vi/lCAsmlw==
— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm\
/kWl7oJlqU3rXXvpysAdyP3wQ==
"""
HASH = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"


def test_the_published_request() -> None:
    request = parse_request(REQUEST.encode())
    assert request.old_size == 20852014
    assert [len(value) for value in request.proof] == [32] * 4
    assert parse_checkpoint(request.note.text).size == 20852163
    assert len(request.note.signatures) == 2
    assert request.encode() == REQUEST.encode()


def test_the_published_answer() -> None:
    lines = parse_cosignatures(ANSWER.encode())
    assert [line.name for line in lines] == ["witness.example/w1"] * 2 + ["witness.example/w2"]
    assert [len(line.signature) for line in lines] == [72] * 3
    assert encode_cosignatures(lines) == ANSWER.encode()


def test_a_first_request_has_no_proof() -> None:
    request = LOG.request(0, 5)
    assert request.encode().startswith(b"old 0\n\nlog.example/a\n5\n")
    assert parse_request(request.encode()) == request


def old(line: str) -> str:
    return REQUEST.replace("old 20852014", line)


MALFORMED: dict[str, str] = {
    "empty": "",
    "no empty line": REQUEST.replace("\n\n", "\n"),
    "no checkpoint": REQUEST.partition("example.com")[0],
    "no signature": REQUEST.partition("—")[0],
    "no old size": REQUEST.partition("\n")[2],
    "an empty line first": "\n" + REQUEST,
    "upper case": old("OLD 20852014"),
    "no space": old("old20852014"),
    "two spaces": old("old  20852014"),
    "a tab": old("old\t20852014"),
    "a space at the end": old("old 20852014 "),
    "no size": old("old "),
    "leading zero": old("old 020852014"),
    "two zeros": old("old 00"),
    "a sign": old("old +1"),
    "negative": old("old -1"),
    "hex": old("old 0x1"),
    "underscores": old("old 20_852_014"),
    "other digits": old("old \u0661"),
    "a size of 2⁶³": old(f"old {MAX_SIZE + 1}"),
    "a size of a thousand digits": old("old " + "1" * 1000),
    "carriage returns": REQUEST.replace("\n", "\r\n"),
    "a hash without padding": REQUEST.replace("kaw=\n", "kaw\n"),
    "a hash with other spare bits": REQUEST.replace("kaw=\n", "kax=\n"),
    "a hash in another alphabet": REQUEST.replace("5+pK", "5-pK"),
    "a short hash": REQUEST.replace(HASH, "AAAA\n"),
    "a long hash": REQUEST.replace(HASH, HASH[:-2] + "A=\n"),
    "a hash with a space": REQUEST.replace(HASH, " " + HASH),
    "64 hashes": REQUEST.replace(HASH, HASH * 61),
    "no newline at the end": REQUEST[:-1],
    "a line after the end": REQUEST + "old 1\n",
    "a control character": REQUEST.replace("sofa", "so\x00fa", 1),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_request(what: str) -> None:
    assert MALFORMED[what] != REQUEST
    with pytest.raises(RequestMalformed) as caught:
        parse_request(MALFORMED[what].encode())
    assert caught.value.code == "malformed"
    assert isinstance(caught.value, CallerError)
    assert len(caught.value.detail) < 400


def test_bytes_that_are_no_utf_8() -> None:
    for place in (b"old", b"PlRN", b"sofa"):
        with pytest.raises(RequestMalformed):
            parse_request(REQUEST.encode().replace(place, place + b"\xff", 1))


def test_as_many_hashes_as_there_may_be() -> None:
    request = AddCheckpoint(1, (bytes(32),) * MAX_PROOF, LOG.note(5))
    assert parse_request(request.encode()) == request


def test_a_request_over_its_limit() -> None:
    with pytest.raises(RequestMalformed, match="at most"):
        parse_request(REQUEST.encode() + b"\n" * MAX_REQUEST_BYTES)


@pytest.mark.parametrize("size", [0, 1, 20852014, MAX_SIZE])
def test_a_size_is_read_back(size: int) -> None:
    assert parse_size(encode_size(size)) == size


@pytest.mark.parametrize(
    "answer",
    [b"", b"1", b"\n", b"01\n", b"-1\n", b"1\n\n", b" 1\n", b"1\r\n", b"\xd9\xa1\n", b"9" * 1000],
    ids=repr,
)
def test_what_is_no_size(answer: bytes) -> None:
    with pytest.raises(AnswerMalformed) as caught:
        parse_size(answer)
    assert isinstance(caught.value, IntegrityError)


@pytest.mark.parametrize(
    "answer",
    [b"", b"\n", ANSWER[:-1].encode(), ANSWER.encode() + b"\n", b"\xff\n", b"ok\n", b"\r\n"],
    ids=["empty", "newline", "no-newline", "blank-line", "no-utf-8", "text", "cr"],
)
def test_what_is_no_cosignature(answer: bytes) -> None:
    with pytest.raises(AnswerMalformed):
        parse_cosignatures(answer)


pieces = st.sampled_from(["old 5\n", HASH, "\n", "\n\n", REQUEST, ANSWER, "— a AAAAAAA=\n", " "])
near = st.lists(pieces, max_size=6).map("".join).map(str.encode)
whole = REQUEST.encode()
changed = st.builds(
    lambda place, byte: whole[:place] + bytes([byte]) + whole[place + 1 :],
    st.integers(0, len(whole) - 1),
    st.integers(0, 255),
)


@given(st.binary(max_size=100) | near | changed)
def test_any_bytes_are_refused_or_the_one_spelling(data: bytes) -> None:
    try:
        request = parse_request(data)
    except RequestMalformed:
        return
    assert request.encode() == data


@pytest.mark.parametrize(
    "again",
    [
        lambda data: encode_cosignatures(parse_cosignatures(data)),
        lambda data: encode_size(parse_size(data)),
    ],
    ids=["cosignatures", "size"],
)
@given(data=st.binary(max_size=100) | near | st.integers().map(lambda n: b"%d\n" % n))
def test_any_answer_is_refused_or_the_one_spelling(
    again: Callable[[bytes], bytes], data: bytes
) -> None:
    try:
        same = again(data)
    except AnswerMalformed:
        return
    assert same == data
