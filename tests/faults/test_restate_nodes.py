"""Two nodes on one database, behind a load balancer, with Restate as the engine."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.restate.balancer import Balancer
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
from tests.stores import postgres

SEED = "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8="


class Nodes:
    """Nodes on the database `url`; Restate reaches them through one balancer."""

    def __init__(self, folder: Path, restate: RestateServer, url: str, stack: ExitStack) -> None:
        self._folder, self._restate, self._stack = folder, restate, stack
        self._balancer = stack.enter_context(Balancer())
        self._settings = {
            "database_url": url,
            "signing_key": SEED,
            "node_lease": 3,
            "restate_endpoint": f"{self._balancer.url}/restate",
        }

    def begin(self, name: str) -> Node:
        """One more node."""
        node = Node(self._folder / name, self._restate, **self._settings)
        self._stack.enter_context(node)
        self._balancer.targets.append(node.port)
        node.until_engine("available")
        return node


@pytest.fixture
def nodes(tmp_path: Path, shared_restate: RestateServer) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(tmp_path, shared_restate, postgres().fresh_ledger(), stack)


def test_both_drive_and_nothing_is_driven_twice(nodes: Nodes, outside: Outside) -> None:
    one, two = nodes.begin("one"), nodes.begin("two")
    with one.client() as http, two.client() as other:
        register(http, step("a", outside), ask("ask"), step("b", outside))
        runs = [start(each) for each in (http, other) * 10]
        for number, run_id in enumerate(runs):
            answering = (http, other)[number // 2 % 2]
            approve(answering, run_id, gate_of(answering, run_id))
        for run_id in runs:
            assert until(http, run_id)["run"]["status"] == "completed"
    keys = [e.key for e in outside.effects]
    assert sorted(keys) == sorted(f"{run_id}:{name}:1" for run_id in runs for name in "ab")
    assert {e.pid for e in outside.effects} == {one.process.pid, two.process.pid}


def test_people_at_one_node_reach_what_the_other_executes(nodes: Nodes, outside: Outside) -> None:
    """A cancellation cuts a step off, and an approval lets a branch beside it go on."""
    one, two = nodes.begin("one"), nodes.begin("two")
    with one.client() as http, two.client() as other:
        clients = {one.process.pid: other, two.process.pid: http}  # never the one that executes
        outside.hold("long", "slow")
        cancelled = start(http, step("long", outside), step("never", outside), name="long")
        clients[outside.seen("long").pid].become(cancelled, "cancelled")
        one.until_idle()
        two.until_idle()
        beside = start(
            http,
            step("slow", outside, needs=[]),
            ask("ask", needs=[]),
            step("quick", outside, needs=["ask"]),
            name="beside",
        )
        far = clients[outside.seen("slow").pid]
        [gate] = eventually(lambda: far.whole(beside)["gates"])
        approve(far, beside, gate["gate_id"])
        outside.seen("quick")
        outside.let_go("slow")
        assert until(far, beside)["run"]["status"] == "completed"
    assert sorted(outside.names()) == ["long", "quick", "slow"]


def test_a_node_that_dies_is_followed_by_the_other(nodes: Nodes, outside: Outside) -> None:
    """What may be repeated is, with its key; of what may not, people are asked."""
    one = nodes.begin("one")
    outside.hold("again", "once")
    with one.client() as http:
        again = start(http, step("again", outside, idempotent=True), name="again")
        once = start(http, step("once", outside), step("after", outside), name="once")
        first = outside.seen("again")
        outside.seen("once")
    two = nodes.begin("two")
    one.kill()
    outside.let_go("again", "once")
    with two.client() as http:
        assert until(http, again)["run"]["status"] == "completed"
        gate_of(http, once)
    assert outside.seen("again", 2).key == first.key
    assert sorted(outside.names()) == ["again", "again", "once"]
    assert [e.pid for e in outside.effects].count(two.process.pid) == 1


def test_a_node_that_stops_hands_over(
    nodes: Nodes, shared_restate: RestateServer, outside: Outside
) -> None:
    one = nodes.begin("one")
    outside.hold("slow")
    with one.client() as http:
        run_id = start(http, step("slow", outside), step("after", outside))
        outside.seen("slow")
    two = nodes.begin("two")
    one.process.terminate()
    eventually(lambda: not shared_restate.invocations(run_id))  # the call was let go
    outside.let_go("slow")
    assert one.process.wait(timeout=20) == 0
    with two.client() as http:
        assert until(http, run_id)["run"]["status"] == "completed"
    assert outside.names() == ["slow", "after"]
    assert outside.seen("after").pid == two.process.pid
