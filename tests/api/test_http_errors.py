"""Refusals: each row of the contract's table, and what every answer carries."""

import asyncio
import re
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from tests.api_helpers import SECRET, Http, Server, bearer, serving

from federation_core.api import Auth, build_app
from federation_core.service import FederationCore

NOBODY = str(uuid.UUID(int=7))
PROBLEM = {"type", "title", "status", "detail", "instance", "code"}


def problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The body of a refusal, which must be what RFC 9457 and the contract ask for."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) >= PROBLEM
    assert body["status"] == status
    assert body["detail"].endswith(".")
    assert "Traceback" not in answer.text
    if code is not None:
        assert body["code"] == code
    return body


@pytest.mark.parametrize(
    "path", ["/health", "/nowhere", "/workflows/runs", "/workflows/runs/x", "/metrics", "/schema"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD", "OPTIONS"])
def test_every_answer_carries_its_ids(dev: Server, method: str, path: str) -> None:
    with httpx.Client(base_url=dev.url) as anyone:
        answer = anyone.request(method, path)
        assert re.fullmatch(r"t:default\|c:[0-9a-f-]{36}", answer.headers["X-Correlation-Id"])
        assert uuid.UUID(answer.headers["X-Request-Id"]).version == 7
        assert answer.status_code < 500
        assert method != "HEAD" or answer.content == b""


def test_a_made_correlation_id_names_the_tenant(http: Http, tenant: str) -> None:
    answer = http.get("/workflows/runs")
    assert answer.headers["X-Correlation-Id"].startswith(f"t:{tenant}|c:")


@pytest.mark.parametrize("given", ["t:acme|c:1", "any other value", "Zürich → 世界"])
def test_a_correlation_id_is_kept(http: Http, given: str) -> None:
    sent = {b"X-Correlation-Id": given.encode()}
    answer = http.post("/workflows/runs", json={"workflow_id": "x"}, headers=sent)
    assert answer.headers["X-Correlation-Id"] == given
    assert answer.json()["run"]["correlation_id"] == given


@pytest.mark.parametrize("given", [b"", b"a" * 201, b"\xff\xfe", "a\u202eb".encode(), b"a\tb"])
def test_a_correlation_id_that_spoils_a_log_is_replaced(
    http: Http, tenant: str, given: bytes
) -> None:
    sent = {b"X-Correlation-Id": given}
    run = http.post("/workflows/runs", json={"workflow_id": "x"}, headers=sent).json()["run"]
    assert run["correlation_id"].startswith(f"t:{tenant}|c:")


@pytest.mark.parametrize("path", ["/workflows/runs", f"/workflows/runs/{NOBODY}/logs"])
def test_no_token(dev: Server, path: str) -> None:
    with httpx.Client(base_url=dev.url) as anyone:
        answer = anyone.get(path)
    problem(answer, 401, "token_missing")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "value",
    [
        "Basic YTpi",
        "Bearer",
        "Bearer nonsense",
        f"Bearer {bearer('another secret')}",
        f"Bearer {bearer(exp=1)}",
        f"Bearer {bearer(iat=2**40, exp=2**41)}",
        f"Bearer {bearer()}x",
        f"Bearer {bearer(scopes='all')}",
        "Bearer \xff\xfe",
    ],
)
def test_a_bad_token(dev: Server, value: str) -> None:
    with httpx.Client(base_url=dev.url) as anyone:
        sent = {b"Authorization": value.encode("latin-1")}
        answer = anyone.get("/workflows/runs", headers=sent)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_two_tokens_are_none(dev: Server) -> None:
    two = [("Authorization", f"Bearer {bearer()}"), ("Authorization", f"Bearer {bearer()}")]
    with httpx.Client(base_url=dev.url) as anyone:
        problem(anyone.get("/workflows/runs", headers=two), 422, "invalid_header")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/workflows/runs/{NOBODY}", None),
        ("GET", f"/workflows/runs/{NOBODY}/logs", None),
        ("GET", f"/workflows/runs/{NOBODY}/events", None),
        ("PATCH", f"/workflows/runs/{NOBODY}/status", {"status": "running"}),
        ("POST", f"/workflows/runs/{NOBODY}/steps", {"step_id": "a", "status": "running"}),
        ("POST", f"/workflows/runs/{NOBODY}/gates", {"step_id": "a", "gate_name": "b"}),
        ("PATCH", f"/workflows/runs/{NOBODY}/gates/{NOBODY}", {"status": "approved"}),
        ("POST", f"/api/fc/gates/{NOBODY}", {"status": "approved"}),
        ("POST", f"/workflows/runs/{NOBODY}:resume", {"gate_id": NOBODY, "decision": "deny"}),
        ("POST", f"/workflows/runs/{NOBODY}/gates/{NOBODY}:bypass", {"reason": "an emergency"}),
        ("GET", "/workflows/runs/not-an-id", None),
        ("GET", "/workflows/runs/%00%ff%0a", None),
        ("GET", "/workflows/runs/" + "a" * 300, None),
        ("POST", f"/workflows/runs/{NOBODY}:explode", {}),
        ("GET", "/workflows/run", None),
    ],
)
def test_what_is_not_there(http: Http, method: str, path: str, body: Any) -> None:
    problem(http.request(method, path, json=body), 404)


def test_a_method_that_a_path_does_not_take(http: Http) -> None:
    answer = http.delete("/workflows/runs")
    problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "POST", "OPTIONS"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/workflows/runs/abc", "GET, OPTIONS"),
        ("POST", "/workflows/runs/abc", "GET, OPTIONS"),
        ("GET", "/workflows/runs/abc:restart", "POST, OPTIONS"),
        ("DELETE", "/workflows/runs/abc:resume", "POST, OPTIONS"),
        ("GET", "/schedules/s:pause", "POST, OPTIONS"),
        ("PUT", "/schedules/s", "DELETE, GET, OPTIONS"),
    ],
)
def test_what_a_path_takes_instead(http: Http, method: str, path: str, allowed: str) -> None:
    """What it takes is told, of the path with its verb."""
    answer = http.request(method, path)
    told = problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed
    assert f"it takes {allowed}." in told["detail"]
    assert told["instance"] == path


def test_a_verb_that_nothing_has(http: Http) -> None:
    problem(http.get("/workflows/runs/abc:explode"), 404, "no_such_path")


def test_a_gate_that_is_not_pending(http: Http) -> None:
    run_id = http.running()
    path = f"/workflows/runs/{run_id}/gates/{http.gate(run_id)['gate_id']}"
    assert http.patch(path, json={"status": "approved"}).status_code == 200
    problem(http.patch(path, json={"status": "rejected"}), 409, "gate_not_pending")


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "/limit"),
        ("limit=1001", "/limit"),
        ("limit=many", "/limit"),
        ("status=sleeping", "/status"),
        ("colour=red", "/colour"),
        ("limit=1&limit=2", "/limit"),
        ("cursor=" + "a" * 65, "/cursor"),
    ],
)
def test_a_query_that_does_not_validate(http: Http, query: str, path: str) -> None:
    answer = http.get(f"/workflows/runs?{query}")
    assert [e["path"] for e in problem(answer, 422)["errors"]] == [path]


@pytest.mark.parametrize("query", ["status=%ff", "status=%ed%a0%80", "&".join(["a=1"] * 100)])
def test_a_query_that_cannot_be_read(http: Http, query: str) -> None:
    problem(http.get(f"/workflows/runs?{query}"), 422)


def test_an_empty_parameter_is_not_given(http: Http) -> None:
    http.run()
    assert len(http.get("/workflows/runs?status=&workflow_id=&limit=&cursor=").json()["items"]) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Actor-Id", "role:finance"),
        ("X-Actor-Id", "system"),
        ("X-Actor-Id", "two words"),
        ("X-Actor-Id", ""),
        ("X-Tenant-Id", "a" * 129),
        ("X-Tenant-Id", "\xff"),
        ("X-Policy-Mode", "RELAXED"),
        ("X-Idempotency-Key", "k" * 201),
        ("X-Idempotency-Key", "a\tb"),
    ],
)
def test_a_header_that_does_not_validate(http: Http, name: str, value: str) -> None:
    sent = {name.encode(): value.encode("latin-1")}
    answer = http.post("/workflows/runs", json={"workflow_id": "x"}, headers=sent)
    problem(answer, 422)


def test_a_mode_is_tightened_and_never_loosened(dev: Server, prod: Server, tenant: str) -> None:
    with dev.client(tenant=tenant) as http:
        run = http.post(
            "/workflows/runs", json={"workflow_id": "x"}, headers={"X-Policy-Mode": "strict"}
        ).json()["run"]
        [created] = http.get(f"/workflows/runs/{run['run_id']}/logs?limit=1").json()
        assert created["details"]["policy_mode"] == "strict"
    token = bearer(actor_id="alice", tenant_id=tenant, scopes=["admin"])
    with prod.client(token=token, actor=None) as http:
        run = http.post(
            "/workflows/runs", json={"workflow_id": "x"}, headers={"X-Policy-Mode": "LOOSE"}
        ).json()["run"]
        [created] = http.get(f"/workflows/runs/{run['run_id']}/logs?limit=1").json()
        assert created["details"]["policy_mode"] == "strict"


async def test_more_requests_than_the_server_takes(tmp_path: Path) -> None:
    async with FederationCore.open(tmp_path, shipped_policy="loose") as core:
        auth = Auth(secret=SECRET, mode="development", default_tenant="default")
        app = build_app(core, auth, max_requests=1)
        headers = {"Authorization": f"Bearer {bearer()}"}
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(
            transport=transport, base_url="http://server", headers=headers
        ) as http:
            answer = await http.post("/workflows/runs", json={"workflow_id": "x"})
            path = answer.headers["Location"]
            waiting = asyncio.create_task(http.get(path, headers={"Prefer": "wait=20"}))
            while "in_flight 1.0" not in (await http.get("/metrics")).text:
                await asyncio.sleep(0)
            refused = await http.patch(f"{path}/status", json={"status": "cancelled"})
            problem(refused, 429, "too_many_requests")
            assert refused.headers["Retry-After"] == "1"
            assert (await http.get("/health")).status_code == 200
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert (await http.get("/workflows/runs")).status_code == 200


async def test_more_followers_than_the_server_takes(tmp_path: Path) -> None:
    async with FederationCore.open(tmp_path, shipped_policy="loose") as core:
        auth = Auth(secret=SECRET, mode="development", default_tenant="default")
        app = build_app(core, auth, max_streams=0)
        headers = {"Authorization": f"Bearer {bearer()}"}
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(
            transport=transport, base_url="http://server", headers=headers
        ) as http:
            answer = await http.post("/workflows/runs", json={"workflow_id": "x"})
            refused = await http.get(f"{answer.headers['Location']}/events")
    problem(refused, 429, "too_many_requests")


async def test_a_bug_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FederationCore.open(tmp_path) as core:

        async def crash(*_: Any, **__: Any) -> None:
            raise RuntimeError("the password is swordfish")

        monkeypatch.setattr(core.runs, "page", crash)
        auth = Auth(secret=SECRET, mode="development", default_tenant="default")
        transport = httpx.ASGITransport(build_app(core, auth))  # type: ignore[arg-type]
        headers = {"Authorization": f"Bearer {bearer()}"}
        with structlog.testing.capture_logs() as log:
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
                answer = await http.get("/workflows/runs", headers=headers)
    problem(answer, 500, "internal")
    assert "swordfish" not in answer.text
    [line] = log
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert "swordfish" in str(line["exc_info"])


def test_a_ledger_that_cannot_be_written(tmp_path: Path) -> None:
    """Another process holds the database: 503, and nothing happened."""
    with serving(tmp_path) as server, server.client() as http:
        run_id = http.running()
        before = http.whole(run_id)
        with closing(sqlite3.connect(tmp_path / "fedcore.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = http.patch(f"/workflows/runs/{run_id}/status", json={"status": "completed"})
            assert "nothing was written" in problem(answer, 503, "ledger_unavailable")["detail"]
            assert answer.headers["Retry-After"]
            assert http.whole(run_id) == before
            assert http.get("/health").status_code == 200
        assert http.get("/health/ready").json()["status"] == "ready"
        http.become(run_id, "completed")
