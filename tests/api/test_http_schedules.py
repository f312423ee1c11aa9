"""Schedules over HTTP."""

from typing import Any

import pytest
from tests.api_helpers import Http, Server, bearer

WAITS = """\
workflow: waits
version: 1.0.0
steps:
  - {id: ask, type: GATE, gate: {name: Go on}}
"""
REQUEST = {
    "schedule_id": "nightly",
    "workflow_id": "waits",
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
    "input_payload": {"n": 1},
}


@pytest.fixture(autouse=True)
def registered(http: Http) -> None:
    answer = http.post("/workflows/register", json={"workflow_yaml": WAITS})
    assert answer.status_code == 200, answer.text


def added(http: Http, **more: Any) -> dict[str, Any]:
    answer = http.post("/schedules", json=REQUEST | more)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/schedules/{answer.json()['schedule_id']}"
    return dict(answer.json())


def test_a_schedule_from_end_to_end(http: Http) -> None:
    schedule = added(http)
    assert (schedule["status"], schedule["actor_id"], schedule["last_tick"]) == (
        "active",
        "alice",
        None,
    )
    assert schedule["next_at"].endswith(("00:30:00.000000Z", "01:30:00.000000Z"))
    assert http.get("/schedules").json() == [schedule]
    answer = {"schedule": schedule, "ticks": []}
    assert http.get("/schedules/nightly").json() == answer
    paused = http.post("/schedules/nightly:pause")
    assert (paused.status_code, paused.json()["next_at"]) == (200, None)
    assert http.post("/schedules/nightly:pause").status_code == 409
    resumed = http.post("/schedules/nightly:resume").json()
    assert (resumed["status"], resumed["next_at"]) == ("active", schedule["next_at"])
    removed = http.delete("/schedules/nightly")
    assert (removed.status_code, removed.json()["status"]) == (200, "removed")
    assert http.get("/schedules").json() == []
    gone = http.delete("/schedules/nightly")
    assert (gone.status_code, gone.json()["code"]) == (404, "schedule_not_found")


def test_the_same_request_again_is_answered_again(http: Http) -> None:
    headers = {"X-Idempotency-Key": "once"}
    first = http.post("/schedules", json=REQUEST, headers=headers)
    again = http.post("/schedules", json=REQUEST, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    taken = http.post("/schedules", json=REQUEST)
    assert (taken.status_code, taken.json()["code"]) == (409, "schedule_exists")


@pytest.mark.parametrize(
    ("wrong", "path", "told"),
    [
        ({"cron": "0 25 * * *"}, "/cron", "its hour is '25'"),
        ({"cron": "@daily"}, "/cron", "has 1; 0 6 * * 1-5"),
        ({"timezone": "CEST"}, "/timezone", "Europe/Berlin"),
        ({"catch_up": "some"}, "/catch_up", "some"),
        ({"schedule_id": "a/b"}, "/schedule_id", "matching regex"),
        ({"interval": "1h"}, "/interval", "unknown"),
        ({"metadata": {"schedule": 1}}, "/metadata/schedule", "the server says here"),
    ],
)
def test_a_mistake_is_named(http: Http, wrong: dict[str, Any], path: str, told: str) -> None:
    answer = http.post("/schedules", json=REQUEST | wrong)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["path"] == path
    assert told in answer.text


def test_another_tenants_schedule_is_not_there(dev: Server, http: Http, tenant: str) -> None:
    schedule = added(http)
    with dev.client(tenant=f"{tenant}-other", actor="mallory") as other:
        assert other.get("/schedules").json() == []
        for method, path in (
            ("GET", "/schedules/nightly"),
            ("DELETE", "/schedules/nightly"),
            ("POST", "/schedules/nightly:pause"),
            ("POST", "/schedules/nightly:resume"),
        ):
            assert other.request(method, path).status_code == 404
    assert http.get("/schedules").json() == [schedule]


def test_scopes(prod: Server) -> None:
    reader = bearer(scopes=["workflow:read"], actor_id="ann")
    with prod.client(token=reader, actor=None) as http:
        assert http.get("/schedules").status_code == 200
        for method, path in (
            ("POST", "/schedules"),
            ("DELETE", "/schedules/x"),
            ("POST", "/schedules/x:pause"),
        ):
            answer = http.request(method, path, json=REQUEST if path == "/schedules" else None)
            assert (answer.status_code, "workflow:write" in answer.text) == (403, True)


def test_what_is_not_known_is_refused_here_too(http: Http) -> None:
    """An action takes no field and a list no filter, so who sends one is mistaken."""
    schedule = added(http)
    for method, path, body in (
        ("POST", "/schedules/nightly:pause", {"x": 1}),
        ("POST", "/schedules/nightly:resume", {"until": "monday"}),
        ("POST", "/schedules/nightly:pause?x=1", None),
        ("POST", "/schedules/nightly:pause", []),
        ("GET", "/schedules?foo=1", None),
        ("GET", "/schedules?limit=0", None),
        ("GET", "/schedules/nightly?ticks=5", None),
        ("DELETE", "/schedules/nightly?force=1", None),
    ):
        answer = http.request(method, path, json=body)
        assert answer.status_code == 422, (method, path, answer.text)
    answer = http.post("/schedules/nightly:pause", json={"x": 1})
    assert answer.json()["errors"] == [{"path": "/x", "message": "unknown"}]
    assert http.get("/schedules").json() == [schedule]
    form = {"content-type": "application/x-www-form-urlencoded"}  # curl -d ""
    assert http.post("/schedules/nightly:pause", content=b"", headers=form).status_code == 200
    assert http.post("/schedules/nightly:resume", json={}).status_code == 200
