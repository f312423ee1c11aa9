"""Restate, or the node, goes away: what was acknowledged is done, and nothing is done twice."""

import shutil
import signal
from pathlib import Path

from tests.api_helpers import bearer
from tests.ports import free_ports
from tests.restate.outside import Outside
from tests.restate.restate_helpers import (
    Node,
    RestateServer,
    approve,
    ask,
    eventually,
    gate_of,
    register,
    start,
    step,
    until,
)

from federation_core.evidence.audit import audit


def test_a_restate_that_starts_after_the_server(
    tmp_path: Path, restate: RestateServer, outside: Outside
) -> None:
    """What comes before is accepted, durable, and done when it is there."""
    with Node(tmp_path, restate) as node, node.client() as http:
        assert node.ready()["engine"] == "unavailable"
        run_id = start(http, step("a", outside), ask("ask"), step("b", outside))
        external = http.running()
        gate = http.gate(external)
        approve(http, external, gate["gate_id"])  # people and clients are not kept waiting
        assert http.whole(run_id)["run"]["status"] == "pending"
        assert outside.names() == []
        restate.start()
        approve(http, run_id, gate_of(http, run_id))
        assert until(http, run_id)["run"]["status"] == "completed"
        assert outside.names() == ["a", "b"]
        assert node.ready()["engine"] == "available"


def test_restate_is_killed_and_comes_back(
    tmp_path: Path, restate: RestateServer, outside: Outside
) -> None:
    """Runs in every state there is: a step that executes, a wait for people, a timer, and runs
    that are created, answered and cancelled while it is away."""
    restate.start()
    retry = {"max_attempts": 2, "backoff": "2500ms", "max_backoff": "2500ms"}
    with Node(tmp_path, restate) as node, node.client() as http:
        node.until_engine("available")
        outside.hold("slow")
        slow = start(http, step("slow", outside), step("then", outside), name="slow")
        asks = start(http, ask("ask"), step("asked", outside), name="asks")
        timer = start(
            http, step("late", outside, "flaky", with_={"good_at": 2}, retry=retry), name="timer"
        )
        doomed = start(http, step("slow", outside), step("never", outside), name="doomed")
        gate_id = gate_of(http, asks)
        outside.seen("slow", 2)
        outside.seen("late")
        eventually(lambda: restate.invocations(timer))
        restate.kill()
        born = start(http, step("born", outside), name="born")
        approve(http, asks, gate_id)
        http.become(doomed, "cancelled")
        outside.let_go("slow")
        assert until(http, slow)["run"]["status"] == "completed"  # whoever drives it goes on
        node.until_engine("unavailable")
        assert outside.names().count("asked") == 0
        restate.start()
        for run_id in (asks, timer, born):
            assert until(http, run_id)["run"]["status"] == "completed"
        assert until(http, doomed)["run"]["status"] == "cancelled"
    told = sorted(outside.names())
    assert told == ["asked", "born", "late", "late", "slow", "slow", "then"]
    assert len({e.key for e in outside.effects}) == len(told)
    assert audit(tmp_path / "fedcore.db").error is None


def test_a_restate_that_lost_its_disk_is_told_everything_again(
    tmp_path: Path, restate: RestateServer, outside: Outside
) -> None:
    restate.start()
    with Node(tmp_path, restate) as node, node.client() as http:
        node.until_engine("available")
        run_id = start(http, step("a", outside), ask("ask"), step("b", outside))
        gate_id = gate_of(http, run_id)
        restate.kill()
        shutil.rmtree(restate.folder / "data")
        restate.start()
        approve(http, run_id, gate_id)
        assert until(http, run_id)["run"]["status"] == "completed"
    assert outside.names() == ["a", "b"]


def test_a_node_is_killed_in_the_middle_of_steps(
    tmp_path: Path, restate: RestateServer, outside: Outside
) -> None:
    """Restate calls the one that is there again. It runs again what may be run again, with its
    key; of what may not, people say what happened."""
    restate.start()
    [port] = free_ports(1)
    outside.hold("again", "once")
    with Node(tmp_path, restate, port=port) as node, node.client() as http:
        node.until_engine("available")
        again = start(http, step("again", outside, idempotent=True), name="again")
        once = start(http, step("once", outside), step("after", outside), name="once")
        first = [outside.seen("again"), outside.seen("once")]
        node.kill()
    outside.let_go("again", "once")
    with Node(tmp_path, restate, port=port) as node, node.client() as http:
        assert until(http, again)["run"]["status"] == "completed"
        gate_id = gate_of(http, once)
        assert [e.name for e in outside.effects] == ["again", "once", "again"]
        assert outside.seen("again", 2).key == first[0].key
        answer = http.post(
            f"/workflows/runs/{once}:resume",
            json={
                "gate_id": gate_id,
                "decision": "approve",
                "input": {"happened": True, "output": None},
            },
        )
        assert answer.is_success, answer.text
        assert until(http, once)["run"]["status"] == "completed"
    assert outside.names() == ["again", "once", "again", "after"]


def test_a_node_that_is_told_to_stop_ends_what_executes(
    tmp_path: Path, restate: RestateServer, outside: Outside
) -> None:
    """SIGTERM is the server's own still, after Restate has called it. The step under way is
    recorded; the one after it is another life's, without anybody asking."""
    restate.start()
    [port] = free_ports(1)
    outside.hold("slow")
    with Node(tmp_path, restate, port=port) as node, node.client() as http:
        node.until_engine("available")
        run_id = start(http, step("slow", outside), step("after", outside))
        outside.seen("slow")
        node.process.send_signal(signal.SIGTERM)
        eventually(lambda: not restate.invocations(run_id))  # the call was let go
        outside.let_go("slow")
        assert node.process.wait(timeout=20) == 0
    assert outside.names() == ["slow"]
    assert restate.invocations(run_id)  # handed over
    with Node(tmp_path, restate, port=port) as node, node.client() as http:
        assert until(http, run_id)["run"]["status"] == "completed"
    assert outside.names() == ["slow", "after"]


def test_another_secret_is_registered_anew(
    tmp_path: Path, restate: RestateServer, outside: Outside
) -> None:
    """The same URL with another token: what Restate had queued for the old one is not stuck."""
    restate.start()
    [port] = free_ports(1)
    with Node(tmp_path, restate, port=port) as node, node.client() as http:
        node.until_engine("available")
        register(http, step("a", outside))
        node.kill()
    with Node(tmp_path, restate, port=port, secret_key="another secret") as node:
        node.until_engine("available")
        with node.client(token=bearer("another secret")) as http:
            run_id = start(http)
            assert until(http, run_id)["run"]["status"] == "completed"


def test_two_installations_share_a_restate(
    tmp_path: Path, restate: RestateServer, outside: Outside
) -> None:
    """Neither is called for the other's runs, whichever came last."""
    restate.start()
    with Node(tmp_path / "one", restate) as one, one.client() as http:
        one.until_engine("available")
        first = start(http, step("a", outside), ask("ask"), step("b", outside))
        gate_id = gate_of(http, first)
        with Node(tmp_path / "two", restate) as two, two.client() as other:
            two.until_engine("available")
            second = start(other, step("a", outside), step("c", outside))
            approve(http, first, gate_id)
            assert until(http, first)["run"]["status"] == "completed"
            assert until(other, second)["run"]["status"] == "completed"
        mine = {e.name: e.pid for e in outside.effects if e.key.startswith(first)}
        assert mine == {"a": one.process.pid, "b": one.process.pid}
