"""Restate on three machines, of which one is lost."""

from contextlib import ExitStack
from pathlib import Path

from tests.restate.balancer import Balancer
from tests.restate.outside import Outside
from tests.restate.restate_helpers import (
    Node,
    approve,
    ask,
    cluster,
    eventually,
    gate_of,
    start,
    step,
    until,
)


def test_a_cluster_that_loses_a_server_goes_on(tmp_path: Path, outside: Outside) -> None:
    """Whichever server led, and whatever runs were doing when it was killed."""
    with ExitStack() as stack:
        servers = [stack.enter_context(server) for server in cluster(tmp_path)]
        for server in servers:
            server.begin()
        for server in servers:
            eventually(server.answers)
        ingress = stack.enter_context(Balancer([s.ingress for s in servers]))
        admin = stack.enter_context(Balancer([s.admin for s in servers]))
        urls = {"restate_url": ingress.url, "restate_admin_url": admin.url}
        node = stack.enter_context(Node(tmp_path / "node", servers[0], **urls))
        http = stack.enter_context(node.client())
        node.until_engine("available")
        outside.hold("slow")
        retry = {"max_attempts": 2, "backoff": "2500ms", "max_backoff": "2500ms"}
        flaky = step("late", outside, "flaky", with_={"good_at": 2}, retry=retry)
        start(http, step("slow", outside), step("then", outside), name="slow")
        slow = [start(http, name="slow") for _ in range(5)]
        asks = start(http, ask("ask"), step("asked", outside), name="asks")
        timer = start(http, flaky, name="timer")
        gate_id = gate_of(http, asks)
        outside.seen("slow", 6)
        outside.seen("late")
        for number in (0,):
            servers[number].kill()
        born = [start(http, step("born", outside), name="born")]
        born += [start(http, name="born") for _ in range(5)]
        approve(http, asks, gate_id)
        outside.let_go("slow")
        for run_id in (*slow, asks, timer, *born):
            assert until(http, run_id)["run"]["status"] == "completed"
        keys = [e.key for e in outside.effects]
        assert len(keys) == len(set(keys))
        assert outside.names().count("born") == 6
        assert node.ready()["engine"] == "available"
