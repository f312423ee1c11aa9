"""The world outside, and watching it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from federation_core.client import Client, ServerUnreachable
from federation_core.errors import OperatorError
from federation_core.proofs.effects import EffectService
from federation_core.proofs.given import Given
from federation_core.proofs.venue import EFFECTS, require_token, venue
from federation_core.proofs.watching import Silent, follow


@pytest.fixture
def service() -> Iterator[EffectService]:
    with EffectService() as entered:
        yield entered


def post(service: EffectService, key: str, body: object = None) -> httpx.Response:
    told = body if body is not None else {"run_id": "r", "machines": 3}
    return httpx.post(service.url, json=told, headers={"Idempotency-Key": key}, trust_env=False)


def test_it_counts_and_remembers(service: EffectService) -> None:
    assert post(service, "r:act:1").json() == {"effect": 1, "machines": 3}
    assert post(service, "s:act:1").json() == {"effect": 2, "machines": 3}
    taken = service.of("r")
    assert [(t["effect"], t["idempotency_key"], t["body"]["machines"]) for t in taken] == [
        (1, "r:act:1", 3),
        (2, "s:act:1", 3),
    ]
    assert service.of("other") == []
    assert httpx.get(service.url, trust_env=False).json() == {"effects": service.of()}


def test_a_repeated_key_is_one_effect_and_two_requests(service: EffectService) -> None:
    assert post(service, "r:act:1").json() == post(service, "r:act:1").json()
    assert [t["effect"] for t in service.of()] == [1, 1]
    assert post(service, "r:act:2").json()["effect"] == 2


def test_what_is_no_request_has_no_effect(service: EffectService) -> None:
    assert post(service, "k", [1]).status_code == 400
    assert httpx.post(service.url, content=b"{", trust_env=False).status_code == 400
    assert post(service, "k", {"x": "y" * 70_000}).status_code == 404
    assert httpx.post(service.url + "/x", json={}, trust_env=False).status_code == 404
    assert service.of() == []


def test_an_address_in_use(service: EffectService, tmp_path: Path) -> None:
    environ = {EFFECTS: service.address, "FEDCORE_TOKEN": "t"}
    with (
        pytest.raises(OperatorError, match=EFFECTS),
        venue("http://127.0.0.1:1", environ, tmp_path, Given.read()),
    ):
        pass


def test_another_server_needs_a_token() -> None:
    require_token(None, {})
    with pytest.raises(OperatorError, match="FEDCORE_TOKEN"):
        require_token("http://127.0.0.1:1", {})


def test_a_stream_that_falls_silent_is_an_error_and_no_wait() -> None:
    over = threading.Event()

    class Mute(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b'data: {"seq": 0}\n\n')
            self.wfile.flush()
            over.wait(10)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mute)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{server.server_address[1]}", "token") as client:
            told = follow(client, "run", 0.5)
            assert next(told) == {"seq": 0}
            with pytest.raises(Silent, match=r"0\.5 seconds"):
                next(told)
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_is_not_there() -> None:
    with Client("http://127.0.0.1:1", "token") as client, pytest.raises(ServerUnreachable):
        list(follow(client, "run", 5))
