"""What a log hears: from witnesses that speak the protocol, and from everything else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.witness.witness_helpers import AT, LOG, NAME

from federation_core.errors import OperatorError
from federation_core.transparency import SigningKey, cosign, verify_cosignature
from federation_core.transparency.errors import NoteMalformed
from federation_core.transparency.keys import COSIGNATURE, VerifierKey
from federation_core.witness.client import StaleSize, WitnessError, submit
from federation_core.witness.errors import AnswerMalformed, WitnessRefused, WitnessUnreachable
from federation_core.witness.protocol import MAX_ANSWER_BYTES, parse_request

KEY = SigningKey(bytes(32))
NOTE = LOG.note(9)
LINE = cosign(NOTE.text, NAME, KEY, AT).line.encode() + b"\n"


@asynccontextmanager
async def answering(answer: bytes, *, close: bool = True) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says this whatever it hears: its address, and what it heard."""
    heard: list[bytes] = []
    talks: list[asyncio.Task[object] | None] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        heard.append(head + await reader.readexactly(length))
        writer.write(answer)
        if not close:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}", heard
    finally:
        server.close()
        await asyncio.gather(*filter(None, talks), return_exceptions=True)


def http(status: int, body: bytes, content_type: str = "text/plain") -> bytes:
    lines = f"HTTP/1.1 {status} x", f"content-type: {content_type}", f"content-length: {len(body)}"
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + body


async def ask(answer: bytes, old: int = 4) -> object:
    async with answering(answer) as (url, _):
        return await submit(url, old, LOG.proof(old, 9), NOTE.encode())


async def test_a_cosignature_is_handed_over() -> None:
    async with answering(http(200, LINE)) as (url, heard):
        [line] = await submit(f"{url}/", 4, LOG.proof(4, 9), NOTE.encode())
    key = VerifierKey.of(NAME, KEY.public, COSIGNATURE)
    assert verify_cosignature(NOTE.text, line, key) == AT
    head, _, body = heard[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /add-checkpoint HTTP/1.1\r\n")
    assert parse_request(body) == LOG.request(4, 9)


async def test_a_witness_under_a_path() -> None:
    async with answering(http(200, LINE)) as (url, heard):
        await submit(f"{url}/one/", 4, LOG.proof(4, 9), NOTE.encode())
    assert heard[0].startswith(b"POST /one/add-checkpoint HTTP/1.1\r\n")


async def test_the_size_that_the_witness_has() -> None:
    with pytest.raises(StaleSize) as caught:
        await ask(http(409, b"7\n", "text/x.tlog.size"))
    assert caught.value.size == 7


async def test_the_type_may_have_parameters() -> None:
    with pytest.raises(StaleSize):
        await ask(http(409, b"7\n", "Text/X.tlog.size; charset=utf-8"))


async def test_the_size_that_was_asked_with_is_no_news() -> None:
    """So a witness says that it saw another tree of this size; asking again would not end."""
    with pytest.raises(WitnessRefused) as caught:
        await ask(http(409, b"4\n", "text/x.tlog.size"))
    assert caught.value.status == 409


@pytest.mark.parametrize("status", [301, 400, 403, 404, 405, 409, 413, 422, 429])
async def test_a_refusal(status: int) -> None:
    with pytest.raises(WitnessRefused, match="Because") as caught:
        await ask(http(status, b"Because.\n"))
    assert caught.value.status == status
    assert isinstance(caught.value, WitnessError)
    assert not isinstance(caught.value, StaleSize)


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_witness_that_cannot_work(status: int) -> None:
    with pytest.raises(WitnessUnreachable) as caught:
        await ask(http(status, b"x" * 10_000))
    assert isinstance(caught.value, OperatorError)
    assert len(caught.value.detail) < 400


BROKEN = {
    "no lines": http(200, b""),
    "a page": http(200, b"<html></html>\n"),
    "no utf-8": http(200, b"\xff\n"),
    "no newline": http(200, LINE[:-1]),
    "a blank line": http(200, LINE + b"\n"),
    "no size": http(409, b"many\n", "text/x.tlog.size"),
    "a size with zeros": http(409, b"07\n", "text/x.tlog.size"),
    "endless": http(200, LINE * (MAX_ANSWER_BYTES // len(LINE) + 1)),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_an_answer_that_is_none(what: str) -> None:
    with pytest.raises(AnswerMalformed):
        await ask(BROKEN[what])


@pytest.mark.parametrize(
    "answer", [b"", b"SMTP\r\n", b"HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n"]
)
async def test_a_server_that_does_not_speak_http(answer: bytes) -> None:
    with pytest.raises(WitnessUnreachable):
        await ask(answer)


async def test_a_witness_that_does_not_answer_in_time() -> None:
    async with answering(b"HTTP/1.1 200 x\r\n", close=False) as (url, _):
        with pytest.raises(WitnessUnreachable, match="does not answer"):
            await submit(url, 0, (), NOTE.encode(), timeout_s=0.05)


@pytest.mark.parametrize(
    "address",
    [
        lambda port: f"http://127.0.0.1:{port}",
        lambda _: "http://[",
        lambda _: "ftp://x",
        lambda _: "",
    ],
    ids=["nobody", "no-address", "no-http", "empty"],
)
async def test_an_address_where_nobody_is(address: Callable[[int], str]) -> None:
    async with answering(b"") as (url, _):
        port = int(url.rpartition(":")[2])
    with pytest.raises(WitnessUnreachable):
        await submit(address(port), 0, (), NOTE.encode())


async def test_a_note_that_is_none_is_not_sent() -> None:
    async with answering(http(200, LINE)) as (url, heard):
        with pytest.raises(NoteMalformed):
            await submit(url, 0, (), b"no note")
    assert heard == []
