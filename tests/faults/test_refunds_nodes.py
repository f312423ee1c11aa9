"""The refunds job on two nodes over PostgreSQL and Restate, while one node after the other is
killed: the totals are still those of the CSV."""

import os
import signal
from collections import Counter
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import httpx
from tests.examples.test_refunds import (
    ENVIRON,
    EXAMPLE,
    Server,
    ended,
    is_forbidden,
    job,
    payment_service,
    rows,
    shell,
    token,
    totals,
)
from tests.ports import free_port
from tests.restate.balancer import Balancer
from tests.restate.restate_helpers import RestateServer
from tests.stores import postgres

from federation_core.client import Client

LIMIT = int(os.environ.get("REFUNDS_LIMIT", "60"))
KILL_EVERY = int(os.environ.get("REFUNDS_KILL_EVERY", "15"))
"""Settlements between two kills."""

_SHARED = {
    "FEDCORE_SECRET_KEY": "the same on every node",
    "FEDCORE_SIGNING_KEY": "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=",
    "FEDCORE_NODE_LEASE": "2",
}


class Nodes:
    """Two nodes behind a balancer; one can be killed, and comes back at once."""

    def __init__(self, folder: Path, url: str, service: Server, stack: ExitStack) -> None:
        restate = stack.enter_context(RestateServer(folder / "restate"))
        restate.start()
        self._stack, self._folder, self._service = stack, folder, service
        self._where = {"FEDCORE_DATABASE_URL": url, "FEDCORE_RESTATE_URL": restate.ingress}
        self._where["FEDCORE_RESTATE_ADMIN_URL"] = restate.admin
        self.balancer = stack.enter_context(Balancer())
        self._where["FEDCORE_RESTATE_ENDPOINT"] = f"{self.balancer.url}/restate"
        self._nodes = [(f"node{n}", free_port()) for n in range(2)]
        self._running = {name: self._start(name, port) for name, port in self._nodes}
        self._turns = cycle(self._nodes)
        self.kills = 0

    def _start(self, name: str, port: int) -> Server:
        ENVIRON.update(_SHARED | self._where)
        server = Server(
            *("fedcore", "serve", "--dev", "--engine", "restate", "--port", str(port)),
            *("--data-dir", self._folder / name, "--policy-dir", EXAMPLE / "policy"),
            *("--python-allow", "refunds_scoring"),
            *("--http-allow", f"127.0.0.1:{self._service.port}"),
        )
        self._stack.callback(server.stop, signal.SIGKILL)
        if port not in self.balancer.targets:
            self.balancer.targets.append(port)
        return server

    def kill_one(self) -> None:
        name, port = next(self._turns)
        self._running[name].stop(signal.SIGKILL)
        self._running[name] = self._start(name, port)
        self.kills += 1


def test_two_nodes_of_which_one_is_killed_again_and_again(tmp_path: Path) -> None:
    before = dict(ENVIRON)
    asked = rows(LIMIT)
    paying = sum(not is_forbidden(row) for row in asked)
    database = postgres().fresh()
    try:
        with ExitStack() as stack:
            data = tmp_path / "service.db"
            service = stack.enter_context(payment_service(data, "--fail-every", "0"))
            nodes = Nodes(tmp_path, database, service, stack)
            where = ("--url", nodes.balancer.url, "--service", service.url)
            options = (*where, "--data-dir", tmp_path / "node0", "--limit", str(LIMIT))
            process = stack.enter_context(job(*options, "--in-flight", "16"))
            for settled in range(KILL_EVERY, paying - 4, KILL_EVERY):
                url = f"{service.url}/summary?at_least={settled}"
                httpx.get(url, timeout=90).raise_for_status()
                nodes.kill_one()
            summary, _ = ended(process)
            with Client(nodes.balancer.url, token(tmp_path / "node0")) as client:
                runs = list(client.list_runs())
            paid = httpx.get(f"{service.url}/summary").json()
            verified = shell(f"fedcore ledger verify --data-dir {tmp_path / 'node0'}")
    finally:
        ENVIRON.clear()
        ENVIRON.update(before)
    assert nodes.kills >= 2
    assert summary["problems"] == []
    assert summary["asked"] == totals(asked)
    assert sorted(Counter(run["input_payload"]["request_id"] for run in runs).items()) == [
        (row["request_id"], 1) for row in asked
    ]
    assert {run["status"] for run in runs} == {"completed", "failed"}
    assert paid["settled_twice"] == []
    assert paid["totals"] == summary["totals"]["settled"]
    assert "The record holds" in verified
