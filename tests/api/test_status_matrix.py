"""Every transition that there could be: six states, six wishes."""

import pytest
from tests.api_helpers import Family, Http

STATES = ("pending", "running", "paused", "completed", "failed", "cancelled")
WAY = {
    "pending": [],
    "running": ["running"],
    "paused": ["running", "paused"],
    "completed": ["running", "completed"],
    "failed": ["running", "failed"],
    "cancelled": ["cancelled"],
}
ALLOWED = {
    "pending": {"running", "cancelled", "failed"},
    "running": {"paused", "completed", "failed", "cancelled"},
    "paused": {"running", "failed", "cancelled"},
    "completed": set(),
    "failed": set(),
    "cancelled": set(),
}


@pytest.mark.parametrize("wish", STATES)
@pytest.mark.parametrize("state", STATES)
def test_the_state_machine(paths: Family, http: Http, state: str, wish: str) -> None:
    run_id = http.run()["run_id"]
    for step in WAY[state]:
        http.become(run_id, step)
    before = http.whole(run_id)
    answer = paths(http, "status", {"status": wish}, run_id=run_id)
    after = http.whole(run_id)
    if wish in ALLOWED[state]:
        assert answer.status_code == 200, answer.text
        assert answer.json()["run"] == after["run"]
        assert after["run"]["status"] == wish
    else:
        assert answer.status_code == 409
        assert answer.json()["code"] == "invalid_transition"
        assert after == before


def test_progress_is_running_at_another_step(paths: Family, http: Http) -> None:
    run_id = http.running(tags=["t"])
    body = {"status": "running", "current_step": "act", "step_index": 2}
    answer = paths(http, "status", body, run_id=run_id)
    assert answer.status_code == 200
    run = answer.json()["run"]
    assert (run["current_step"], run["step_index"]) == ("act", 2)
    assert paths(http, "status", body, run_id=run_id).status_code == 409


def test_a_pause_at_a_gate_ends_only_through_the_gate(paths: Family, http: Http) -> None:
    run_id = http.running()
    gate = http.gate(run_id)
    answer = paths(http, "status", {"status": "running"}, run_id=run_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "gate_pending")
    assert gate["gate_id"] in answer.json()["detail"]
    assert http.get("/workflows/gates").json() == [gate]
