"""Over HTTP: which status, which type, which body. The application is called as Granian does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.witness.witness_helpers import LOG, ORIGIN, Log, witness_at

from federation_core.transparency import verify_cosignature
from federation_core.witness import AddCheckpoint, Home, WitnessApp
from federation_core.witness.protocol import MAX_REQUEST_BYTES, PATH, parse_cosignatures


class Door:
    """The application, and a client that calls it."""

    def __init__(self, home: Home, app: WitnessApp, http: httpx.AsyncClient) -> None:
        self.home, self.app, self.http = home, app, http

    async def ask(self, request: AddCheckpoint) -> httpx.Response:
        return await self.http.post(PATH, content=request.encode())


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    home, witness = witness_at(tmp_path)
    app = WitnessApp(witness)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://witness") as http:
        yield Door(home, app, http)
    home.store.close()


async def test_a_cosignature(door: Door) -> None:
    response = await door.ask(LOG.request(0, 5))
    assert response.status_code == 200
    [line] = parse_cosignatures(response.content)
    verify_cosignature(LOG.checkpoint(5).text(), line, door.home.verifier)


async def test_another_old_size_is_answered_with_the_size(door: Door) -> None:
    await door.ask(LOG.request(0, 5))
    response = await door.ask(LOG.request(0, 9))
    assert (response.status_code, response.content) == (409, b"5\n")
    assert response.headers["content-type"] == "text/x.tlog.size"


async def test_two_trees_of_one_size_are_answered_with_a_sentence(door: Door) -> None:
    await door.ask(LOG.request(0, 9))
    response = await door.ask(Log(fork=6).request(9, 9))
    assert response.status_code == 409
    assert response.headers["content-type"].startswith("text/plain")
    assert "At size 9" in response.text


REFUSED = {
    "malformed": (400, b"old 05\n\n"),
    "empty": (400, b""),
    "no checkpoint": (400, b"old 0\n\na\n\n\xe2\x80\x94 a AAAAAAA=\n"),
    "old size above": (400, AddCheckpoint(6, (), LOG.note(5)).encode()),
    "another key": (403, Log(seed=2).request(0, 5).encode()),
    "unknown log": (404, Log("log.example/b").request(0, 5).encode()),
    "proof from nothing": (422, AddCheckpoint(0, (bytes(32),), LOG.note(5)).encode()),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_refusal_has_its_status_and_a_sentence(door: Door, what: str) -> None:
    status, body = REFUSED[what]
    response = await door.http.post(PATH, content=body)
    assert response.status_code == status
    assert response.text.endswith(".\n")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert door.home.store.latest(ORIGIN) is None


async def test_a_proof_that_does_not_hold(door: Door) -> None:
    await door.ask(LOG.request(0, 9))
    assert (await door.ask(Log(fork=6).request(9, 12))).status_code == 422
    assert (await door.ask(AddCheckpoint(9, (), LOG.note(12)))).status_code == 422
    assert (await door.ask(LOG.request(9, 12))).status_code == 200


@pytest.mark.parametrize("path", ["/", "/add-checkpoint/", "/add-checkpoints", "/metrics", "//"])
async def test_another_path(door: Door, path: str) -> None:
    response = await door.http.post(httpx.URL(f"http://witness{path}"), content=b"")
    assert response.status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_another_method(door: Door, method: str) -> None:
    response = await door.http.request(method, PATH)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_a_body_over_its_limit_is_not_read_to_its_end(door: Door) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield bytes(65_536)

    response = await door.http.post(PATH, content=endless())
    assert response.status_code == 413
    assert sent <= MAX_REQUEST_BYTES + 2 * 65_536


async def test_a_client_that_goes_away_leaves_nothing_behind(door: Door) -> None:
    body = LOG.request(0, 5).encode()
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": body[:-9], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await door.app({"type": "http", "path": PATH, "method": "POST"}, receive, send)
    assert sent[0]["status"] == 400
    assert door.home.store.latest(ORIGIN) is None


async def test_a_body_that_comes_in_pieces(door: Door) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in LOG.request(0, 5).encode():
            yield bytes([byte])

    assert (await door.http.post(PATH, content=pieces())).status_code == 200


async def test_a_memory_that_fails_is_the_operators(door: Door) -> None:
    door.home.store.close()
    response = await door.ask(LOG.request(0, 5))
    assert response.status_code == 503
    assert "operator" in response.text
    assert "witness.db" not in response.text


async def test_many_at_once_are_answered_one_after_the_other(door: Door) -> None:
    """Thirty requests from the same size: each is granted or told the size, and none goes back."""
    responses = await asyncio.gather(*(door.ask(LOG.request(0, size)) for size in range(1, 31)))
    granted = [r for r in responses if r.status_code == 200]
    assert len(granted) == 1
    seen = door.home.store.latest(ORIGIN)
    assert seen is not None
    assert {r.content for r in responses if r.status_code == 409} == {b"%d\n" % seen.size}


async def test_what_is_not_http_is_left_alone(door: Door) -> None:
    async def nothing(*_: object) -> None:
        raise AssertionError

    await door.app({"type": "websocket", "path": PATH}, nothing, nothing)
    assert door.home.store.latest(ORIGIN) is None
