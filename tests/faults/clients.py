"""Clients of the HTTP API that want something, remember what they were told, and never give up.

Each is a thread with a script. Whatever happens to the server, a client asks again, with the same
idempotency key, until it has its answer; at a deadline it says what it was waiting for.
"""

import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from tests.api_helpers import bearer
from tests.faults.invariants import Acknowledged, shown
from tests.faults.outside import Outside
from tests.faults.workload import NEXT_BUNDLE, WORKFLOWS

__all__ = ["SCRIPTS", "Client", "Shared", "Waited"]

Json = dict[str, Any]
_PAUSE_S = 0.02
_GRACE_S = 5.0
_FINAL = frozenset({"completed", "failed", "cancelled"})


class Waited(AssertionError):
    """Something did not come to its end in time."""


class Shared:
    """What all clients of a test know together. `urls` are the servers that listen now."""

    def __init__(self, outside: Outside, deadline: float) -> None:
        self.outside, self.deadline = outside, deadline
        self.urls: list[str] = []
        self.acknowledged: set[Acknowledged] = set()
        self.checkpoints: list[bytes] = []
        self.packs: list[bytes] = []
        self.runs: dict[str, str] = {}
        self.asked = 0
        self._lock = threading.Lock()

    def take(self, body: Any) -> None:
        events = set(shown(body))
        with self._lock:
            self.asked += 1
            self.acknowledged |= events


class Client(threading.Thread):
    """Plays one script."""

    def __init__(self, name: str, shared: Shared, script: "Script", seed: str) -> None:
        super().__init__(name=name, daemon=True)
        self.rng = random.Random(seed)
        self.shared = shared
        self.error: BaseException | None = None
        self._script = script
        self._token = bearer(roles=["finance", "operator"])
        self._http = httpx.Client(timeout=15, trust_env=False)

    def run(self) -> None:
        try:
            self._script(self)
        except BaseException as e:  # the harness tells it
            self.error = e
        finally:
            self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        actor: str = "anna",
        wait: bool = False,
    ) -> httpx.Response:
        """The answer, from whichever server is there: any but `503` and `429`."""
        headers = {"Authorization": f"Bearer {self._token}", "X-Actor-Id": actor}
        if key is not None:
            headers["X-Idempotency-Key"] = key
        if wait:
            headers["Prefer"] = "wait=1"
        while time.monotonic() < self.shared.deadline + _GRACE_S:
            urls = self.shared.urls
            if not urls:
                time.sleep(_PAUSE_S)
                continue
            url = self.rng.choice(urls) + path
            try:
                answer = self._http.request(method, url, json=body, headers=headers)
            except httpx.TransportError:
                time.sleep(_PAUSE_S)
                continue
            if answer.status_code in {429, 503} or _asks_again(answer):
                time.sleep(_PAUSE_S)
                continue
            assert answer.status_code < 500, answer.text
            if answer.is_success and answer.headers["content-type"].startswith("application/json"):
                self.shared.take(answer.json())
            return answer
        raise Waited(f"{self.name}: nobody answers {method} {path}")

    def create(self, name: str, workflow: str, risk: str = "low") -> str:
        """A new run; returns its id."""
        given = {"url": self.shared.outside.url, "risk": risk}
        body = {"workflow_id": workflow, "input_payload": given, "tags": ["fault"]}
        answer = self.ask("POST", "/workflows/runs", body, key=f"{self.name} {name}")
        assert answer.status_code == 201, answer.text
        run_id: str = answer.json()["run"]["run_id"]
        self.shared.runs[run_id] = workflow
        return run_id

    def look(self, run_id: str) -> Json:
        """The run with all that belongs to it."""
        answer = self._look(run_id)
        assert answer.status_code == 200, answer.text
        told: Json = answer.json()
        return told

    def _look(self, run_id: str) -> httpx.Response:
        path = f"/workflows/runs/{run_id}?include_logs=true&include_gates=true&include_steps=true"
        return self.ask("GET", path, wait=True)

    def end(self, run_id: str, decision: str = "approve") -> Json:
        """The run once it has ended, everybody having given this answer, and told the truth."""
        while time.monotonic() < self.shared.deadline:
            now = self.look(run_id)
            if now["run"]["status"] in _FINAL:
                return now
            for child in [step["child_run_id"] for step in now["steps"] if step["child_run_id"]]:
                answer = self._look(child)
                assert answer.status_code in {200, 404}, answer.text  # it may be still unborn
                if answer.is_success:
                    self._answer_all(answer.json(), decision)
            self._answer_all(now, decision)
        raise Waited(f"{self.name}: run {run_id} has no end: {json.dumps(self.look(run_id))}")

    def _answer_all(self, now: Json, decision: str) -> None:
        for gate in now["gates"]:
            if gate["status"] == "pending":
                self._answer(gate, now, decision)

    def _answer(self, gate: Json, now: Json, decision: str) -> None:
        given: Json = {"answer": "yes"}
        if gate["gate_type"] == "in_doubt":
            [attempt] = [s["attempt"] for s in now["steps"] if s["step_id"] == gate["step_id"]]
            had = self.shared.outside.settle(f"{gate['run_id']}:{gate['step_id']}:{attempt}")
            given = {"happened": had, **({"output": {"told": True}} if had else {})}
            decision = "approve"
        for actor in ("anna", "boris")[: gate["quorum"]]:
            body = {"gate_id": gate["gate_id"], "decision": decision, "input": given}
            key = f"{gate['gate_id']} {actor}"
            path = f"/workflows/runs/{gate['run_id']}:resume"
            answer = self.ask("POST", path, body, key=key, actor=actor)
            assert answer.status_code in {200, 409}, answer.text  # it may have ended meanwhile


def _asks_again(answer: httpx.Response) -> bool:
    """Whether the ledger went on while it was read, and the client is told to ask once more."""
    codes = ("key_rotated", "checkpoint_pending")
    return answer.status_code == 409 and answer.json()["code"] in codes


Script = Callable[[Client], None]


def register(client: Client) -> None:
    """The workflows, before everything else."""
    for name, text in WORKFLOWS.items():
        answer = client.ask("POST", "/workflows/register", {"workflow_yaml": text}, key=name)
        assert answer.status_code in {200, 201}, answer.text


def work(client: Client) -> None:
    """Runs of every kind of step; each is to be completed."""
    for number in range(2):
        risk = client.rng.choice(["low", "high"])
        told = client.end(client.create(f"work {number}", "work", risk))
        assert told["run"]["status"] == "completed", told
        assert told["run"]["output_payload"] == 42, told


def short(client: Client) -> None:
    """Runs of one step that must not happen twice."""
    for number in range(4):
        told = client.end(client.create(f"short {number}", "short"))
        assert told["run"]["status"] == "completed", told


def fans(client: Client) -> None:
    """Runs of a step that fans out; no item may happen twice."""
    for number in range(2):
        told = client.end(client.create(f"fans {number}", "fan"))
        assert told["run"]["status"] == "completed", told


def parents(client: Client) -> None:
    """Runs that start others, which must not do their work twice."""
    for number in range(2):
        told = client.end(client.create(f"parents {number}", "parent"))
        assert told["run"]["status"] == "completed", told


def asks(client: Client) -> None:
    """Runs that ask, and are told yes or no; or nobody answers before the clock has stepped."""
    for number in range(2):
        run_id = client.create(f"asks {number}", "asks")
        client.end(run_id, client.rng.choice(["approve", "deny"]))


def reported(client: Client) -> None:
    """A run whose work the client does itself."""
    run_id = client.create("reported", "elsewhere")

    def change(body: Json) -> None:
        path = f"/workflows/runs/{run_id}/status"
        answer = client.ask("PATCH", path, body, key=f"{run_id} {body['status']}")
        assert answer.status_code == 200, answer.text

    change({"status": "running"})
    for status in ("running", "completed"):
        body = {"step_id": "one", "status": status, "input": {"n": 1}, "output": [1]}
        answer = client.ask(
            "POST", f"/workflows/runs/{run_id}/steps", body, key=f"{run_id} step {status}"
        )
        assert answer.status_code == 200, answer.text
    change({"status": "completed", "output_payload": {"done": True}})


def administer(client: Client) -> None:
    """Another bundle, another key, another workflow."""
    files = {"files": NEXT_BUNDLE}
    answer = client.ask("POST", "/policies", files, key="bundle", actor="boss")
    assert answer.status_code == 201, answer.text
    answer = client.ask("POST", "/ledger/keys", {"reason": "yearly"}, key="key", actor="boss")
    given = answer.status_code == 409 and answer.json()["code"] == "key_from_settings"
    assert answer.status_code == 201 or given, answer.text


def audit(client: Client) -> None:
    """Checkpoints are seen, packs are fetched, a run's values are erased."""
    run_id = client.create("audited", "short")
    client.end(run_id)
    for erase in (False, True):
        if erase:
            body = {"run_id": run_id, "reason": "a legal demand"}
            answer = client.ask("POST", "/erasures", body, key=f"erase {run_id}", actor="boss")
            assert answer.status_code in {200, 404}, answer.text
        answer = client.ask("GET", f"/workflows/runs/{run_id}/evidence")
        assert answer.status_code == 200, answer.text
        client.shared.packs.append(answer.content)
        answer = client.ask("GET", "/ledger/checkpoint")
        assert answer.status_code == 200, answer.text
        client.shared.checkpoints.append(answer.content)


SCRIPTS: tuple[Script, ...] = (
    *(work, work, short, short, fans, parents, asks),
    *(reported, administer, audit),
)
