"""Server-sent events, and answers that wait."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from tests.api_helpers import Http, Server, bearer

from federation_core.api.events import told
from federation_core.service.views import LogEntry

YAML = """\
workflow: waits
version: 1.0.0
steps:
  - {id: ask, type: GATE, gate: {name: Go on}}
"""


def events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """The events of a stream, as the HTML standard reads them."""
    event: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def path(run_id: str) -> str:
    return f"/workflows/runs/{run_id}/events"


def test_an_ended_run_is_told_whole(http: Http) -> None:
    run_id = http.running()
    http.become(run_id, "completed")
    with http.stream("GET", path(run_id)) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["X-Request-Id"]
        found = list(events(answer.iter_lines()))
    logs = http.get(f"/workflows/runs/{run_id}/logs").json()
    assert [json.loads(e["data"]) for e in found] == logs
    assert [e["id"] for e in found] == [str(entry["seq"]) for entry in logs]
    assert [e["event"] for e in found] == [entry["event_type"] for entry in logs]


def test_a_stream_goes_on_where_it_broke_off(http: Http) -> None:
    run_id = http.running()
    with http.stream("GET", path(run_id)) as answer:
        first = next(events(answer.iter_lines()))
    assert first["id"] == "0"
    http.become(run_id, "completed")
    with http.stream("GET", path(run_id), headers={"Last-Event-ID": first["id"]}) as answer:
        seqs = [int(e["id"]) for e in events(answer.iter_lines())]
    assert seqs == list(range(1, len(http.whole(run_id)["logs"])))
    with http.stream("GET", path(run_id), headers={"Last-Event-ID": "999999"}) as answer:
        assert list(events(answer.iter_lines())) == []


def test_events_come_as_they_happen(dev: Server, http: Http, tenant: str) -> None:
    run_id = http.run()["run_id"]
    with dev.client(tenant=tenant) as other, http.stream("GET", path(run_id)) as answer:
        stream = events(answer.iter_lines())
        seen = [next(stream)["event"], next(stream)["event"]]
        assert seen == ["FC-RUN-001", "FC-POLICY-001"]
        other.become(run_id, "running")
        assert next(stream)["event"] == "FC-POLICY-001"
        assert json.loads(next(stream)["data"])["new_status"] == "running"
        gate = other.gate(run_id)
        assert json.loads(next(stream)["data"])["details"]["gate_id"] == gate["gate_id"]
        other.become(run_id, "cancelled")
        assert [e["event"] for e in stream][-1] == "FC-RUN-003"


@pytest.mark.parametrize("last", ["", "-1", "one", "1.5", "9" * 20])
def test_a_last_event_id_that_is_none(http: Http, last: str) -> None:
    answer = http.get(path(http.run()["run_id"]), headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_header")


def test_a_follower_who_leaves_is_forgotten(http: Http) -> None:
    run_id = http.running()
    for _ in range(3):
        with http.stream("GET", path(run_id)) as answer:
            next(events(answer.iter_lines()))
    while "fedcore_streams_open 0.0" not in http.get("/metrics").text:
        pass


def test_head_does_not_follow(http: Http) -> None:
    answer = http.head(path(http.running()))
    assert (answer.status_code, answer.content) == (200, b"")


async def test_silence_is_broken_now_and_then() -> None:
    """A heart beats where there is nothing to tell, and the end of the server is the end."""
    closing = asyncio.Event()

    async def nothing() -> AsyncIterator[LogEntry]:
        await asyncio.Event().wait()
        yield  # type: ignore[misc]

    stream = told(nothing(), closing, heartbeat_s=0.001)
    assert await anext(stream) == b"retry: 1000\n\n"
    assert await anext(stream) == b": nothing new\n\n"
    assert await anext(stream) == b": nothing new\n\n"
    closing.set()
    assert [chunk async for chunk in stream if not chunk.startswith(b":")] == []


def managed(http: Http, **headers: str) -> httpx.Response:
    http.post("/workflows/register", json={"workflow_yaml": YAML})
    return http.post("/workflows/runs", json={"workflow_id": "waits"}, headers=headers)


def test_creation_waits_until_people_are_asked(http: Http) -> None:
    answer = managed(http, Prefer="respond-async, wait=20")
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert answer.json()["run"]["status"] == "paused"
    assert [e["event_type"] for e in answer.json()["logs"]] == ["FC-RUN-001"]


def test_what_was_waited_for_is_what_the_key_answers(http: Http) -> None:
    answers = [managed(http, Prefer="wait=20", **{"X-Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert answers[1].json()["run"]["status"] == "paused"


async def test_a_get_waits_for_the_end(dev: Server, tenant: str) -> None:
    with dev.client(tenant=tenant) as http:
        run_id = managed(http, Prefer="wait=20").json()["run"]["run_id"]
        [gate] = http.get("/workflows/gates").json()
        headers = dict(http.headers)
    async with httpx.AsyncClient(base_url=dev.url, headers=headers, timeout=30) as client:
        where = f"/workflows/runs/{run_id}"
        waiting = asyncio.create_task(client.get(where, headers={"Prefer": "wait=20"}))
        answer = await client.patch(f"{where}/gates/{gate['gate_id']}", json={"status": "approved"})
        assert answer.status_code == 200
        assert (await waiting).json()["run"]["status"] == "completed"


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("wait=0", "wait=0"), ('wait="0.01"', "wait=0.01"), ("wait=soon", None), ("await=5", None)],
)
def test_preferences(http: Http, prefer: str, applied: str | None) -> None:
    run_id = http.running()
    answer = http.get(f"/workflows/runs/{run_id}", headers={"Prefer": prefer})
    assert answer.status_code == 200
    assert answer.headers.get("Preference-Applied") == applied


def test_who_may_not_read_does_not_wait(prod: Server, tenant: str) -> None:
    token = bearer(tenant_id=tenant, scopes=["workflow:write"])
    with prod.client(token=token, actor=None) as http:
        answer: Any = http.post(
            "/workflows/runs", json={"workflow_id": "x"}, headers={"Prefer": "wait=20"}
        )
    assert answer.status_code == 201
    assert "Preference-Applied" not in answer.headers
