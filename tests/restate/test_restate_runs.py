"""Runs that Restate has driven, from their creation to their end."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.api_helpers import Http
from tests.restate.outside import Outside
from tests.restate.restate_helpers import (
    Impatient,
    Node,
    RestateServer,
    approve,
    ask,
    eventually,
    gate_of,
    start,
    step,
    until,
)


@pytest.fixture(scope="module")
def node(shared_restate: RestateServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """It holds calls for a moment only: the steps of these tests outlast it."""
    with Impatient(tmp_path_factory.mktemp("node"), shared_restate) as server:
        server.until_engine("available")
        yield server


@pytest.fixture
def http(node: Node) -> Iterator[Http]:
    with node.client() as client:
        yield client


def test_a_run_with_retries_a_timer_and_a_gate(
    node: Node, http: Http, shared_restate: RestateServer, outside: Outside
) -> None:
    retry = {"max_attempts": 3, "backoff": "50ms"}
    total = {"id": "sum", "type": "TRANSFORM", "run": "expression", "value": "${ {'n': 1} }"}
    run_id = start(
        http,
        step("a", outside),
        step("b", outside, "flaky", with_={"good_at": 3}, retry=retry),
        ask("ask"),
        step("c", outside),
        total,
        name="retries",
    )
    approve(http, run_id, gate_of(http, run_id))
    assert until(http, run_id)["run"]["status"] == "completed"
    assert outside.names() == ["a", "b", "b", "b", "c"]
    assert [e.key for e in outside.effects[1:4]] == [f"{run_id}:b:{n}" for n in (1, 2, 3)]
    # Nothing of it stays with Restate, and nothing is driven any more.
    eventually(lambda: not shared_restate.invocations(run_id))
    node.until_idle()


def test_a_moment_far_away_is_kept_by_restate(
    node: Node, http: Http, shared_restate: RestateServer, outside: Outside
) -> None:
    """However often it is named, it is there once; and it is no hindrance to what comes before."""
    people = ["bob", "carol", "dan"]
    asked = {"name": "ask", "approvers": people, "quorum": 3, "expires": "1h"}
    gate_step = {"id": "ask", "type": "GATE", "gate": asked}
    run_id = start(http, gate_step, step("c", outside), name="far")
    gate_id = gate_of(http, run_id)
    for name in people:
        eventually(lambda: shared_restate.invocations(run_id))
        node.until_idle()
        [kept] = eventually(lambda: _quiet(shared_restate.invocations(run_id)))
        assert kept["status"] == "scheduled"
        approve(http, run_id, gate_id, name)
    assert until(http, run_id)["run"]["status"] == "completed"
    assert outside.names() == ["c"]


def _quiet(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is there once nothing is under way."""
    return found if all(i["status"] == "scheduled" for i in found) else []


def test_an_approval_reaches_a_run_while_a_step_of_it_executes(
    http: Http, shared_restate: RestateServer, outside: Outside
) -> None:
    outside.hold("slow")
    run_id = start(
        http,
        step("slow", outside, needs=[]),
        ask("ask", needs=[]),
        step("quick", outside, needs=["ask"]),
        name="beside",
    )
    outside.seen("slow")
    # Restate has its answer already: the step outlasts the call.
    eventually(lambda: not shared_restate.invocations(run_id))
    [gate] = eventually(lambda: http.whole(run_id)["gates"])
    approve(http, run_id, gate["gate_id"])
    outside.seen("quick")
    outside.let_go("slow")
    assert until(http, run_id)["run"]["status"] == "completed"
    assert sorted(outside.names()) == ["quick", "slow"]


def test_a_cancel_reaches_a_run_while_a_step_of_it_executes(
    node: Node, http: Http, outside: Outside
) -> None:
    outside.hold("slow")
    run_id = start(http, step("slow", outside), step("after", outside), name="cancelled")
    outside.seen("slow")
    http.become(run_id, "cancelled")
    node.until_idle()  # the step was cut off: it is held outside still
    assert until(http, run_id)["run"]["status"] == "cancelled"
    assert outside.names() == ["slow"]


def test_a_call_for_a_run_that_is_not_there_is_not_made_again(
    node: Node, shared_restate: RestateServer
) -> None:
    service = shared_restate.service_at(node.url)
    for key in ("nobody", "%2e%2e%2fetc", "x" * 300):
        url = f"{shared_restate.ingress}/{service}/{key}/drive"
        answer = httpx.post(url, trust_env=False)  # and wait for its end
        assert answer.is_success, answer.text
    assert node.ready()["driving"] == 0


def test_many_runs_at_once(node: Node, http: Http, outside: Outside) -> None:
    first = start(http, step("a", outside), step("b", outside), name="many")
    runs = [first, *(start(http, name="many") for _ in range(39))]
    for run_id in runs:
        assert until(http, run_id)["run"]["status"] == "completed"
    assert sorted(e.key for e in outside.effects) == sorted(
        f"{run_id}:{name}:1" for run_id in runs for name in ("a", "b")
    )
