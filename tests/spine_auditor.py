"""An auditor that shares no code with the spine: it walks stored bytes and asserts the promises.

Written from the contract and the evidence page alone, with `json` and `hashlib`, so that an error
in the fold cannot hide itself in its own tests. It knows who holds which role, which events do
not tell, and of the workflow what its file says.
"""

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

__all__ = ["Auditor"]

_ZERO = "0" * 64
_MEMBERS = {"actor", "at", "data", "log", "prev", "seq", "stream", "tenant", "type", "v", "via"}
_FINAL = {"completed", "failed", "cancelled"}
_TRANSITIONS = {
    "pending": {"running", "cancelled", "failed"},
    "running": {"running", "paused", "completed", "failed", "cancelled"},
    "paused": {"running", "failed", "cancelled"},
}
_STEP_RECEIPT = {
    "attempt",
    "decision_hash",
    "ended_at",
    "input_hash",
    "output_hash",
    "prev_receipt_hash",
    "run_id",
    "started_at",
    "status",
    "step_id",
    "step_type",
    "v",
}
_GATE_RECEIPT = _STEP_RECEIPT | {"gate_id", "decision", "actor_id", "via"}

Data = dict[str, Any]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class _Gate(msgspec.Struct, frozen=True):
    asked: Data
    seq: int
    status: str = "pending"
    approvers: tuple[str, ...] = ()
    passed_at: int = -1


class _Step(msgspec.Struct, frozen=True):
    """`done` is completed, skipped, failed or in_doubt; None while it has no end."""

    attempt: int = 1
    start: Data | None = None
    done: str | None = None


class Auditor:
    """`definition` is the workflow as plain values, None for an external run; `roles` maps actors
    to what their tokens assert."""

    def __init__(
        self, definition: Mapping[str, Any] | None, roles: Mapping[str, frozenset[str]]
    ) -> None:
        self.specs: dict[str, Data] = {s["id"]: s for s in (definition or {"steps": []})["steps"]}
        self.roles = roles
        self.created: Data = {}
        self.birth: Data = {}
        self.status = "pending"
        self.held = False
        self.hashes: list[str] = []
        self.last: Data = {"at": ""}
        self.decisions: dict[str, tuple[int, Data]] = {}
        self.used: set[str] = set()
        self.flagged: dict[tuple[str | None, str | None, str], int] = {}
        self.gates: dict[str, _Gate] = {}
        self.steps: dict[str, _Step] = {}
        self.items: dict[str, int] = {}
        self.next_index = len(self.specs)
        self.first_index: dict[str, int] = {}
        self.timeout_ms = (definition or {}).get("timeout_ms")
        self.started_at = ""
        self.receipts: list[str] = []
        self.policies: dict[str, None] = {}
        self.refused: str | None = None

    def fork(self) -> "Auditor":
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (dict, list, set)):
                setattr(other, name, value.copy())
        return other

    def see_turn(self, bodies: Sequence[bytes], permits: Sequence[tuple[str, int, str]]) -> None:
        """The events of one turn, and the executions (step, attempt, input hash) it gave out."""
        starts = [d for d in map(self.see, bodies) if d is not None]
        # What a run of its own executes is not executed here: its start names that run instead.
        starts = [d for d in starts if "child_run_id" not in d or not self._is_child(d["step_id"])]
        given = [(d["step_id"], d["attempt"], d["input_hash"]) for d in starts]
        assert [g for g in given if not self._is_gate_step(g[0])] == list(permits)
        pending = [g for g in self.gates.values() if g.status == "pending"]
        assert not (self.status == "running" and pending), "running with an open gate"
        if self.refused and self.status not in _FINAL:
            assert self.specs, "refused, and not ended"
            assert self._in_flight(), "refused, nothing in flight, and not ended"

    def see(self, body: bytes) -> Data | None:
        """One event; returns its data where it is the start of a step."""
        event = json.loads(body)
        self._chained(body, event)
        data = event["data"]
        if event["seq"] == 0:
            assert event["type"] == "FC-RUN-001"
        if self.status in _FINAL:
            assert event["type"] in ("FC-POLICY-001", "FC-AUTH-001"), "a final status is final"
        _SEE[event["type"]](self, event, data)
        self.hashes.append(hashlib.sha256(b"\0" + body).hexdigest())
        self.last = event
        return data if event["type"] == "FC-STEP-001" else None

    def _chained(self, body: bytes, event: Data) -> None:
        assert set(event) == _MEMBERS
        assert event["v"] == 1
        assert event["seq"] == len(self.hashes)
        assert event["prev"] == (self.hashes[-1] if self.hashes else _ZERO)
        assert event["at"] >= self.last["at"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["at"])
        text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert text.encode() == body, "not canonical"
        if self.hashes:
            for name in ("stream", "tenant", "log"):
                assert event[name] == self.birth[name]

    # the run

    def _born(self, event: Data, data: Data) -> None:
        assert event["seq"] == 0
        assert event["stream"] == f"run:{data['run_id']}"
        self.created, self.birth = data, event
        assert (data["execution"] == "managed") == bool(self.specs)

    def _moves(self, data: Data) -> None:
        old, new = data["previous_status"], data["new_status"]
        assert old == self.status
        assert new in _TRANSITIONS[old]
        if new == "running":
            assert not any(g.status == "pending" for g in self.gates.values())
        if new in ("running", "completed"):
            assert not self.refused, f"{self.refused}, yet it goes on"
        self.status = new

    def _allowed(self, event: Data, action: str, gate_id: str | None = None) -> None:
        """The event before is policy's allow of `action` for the same actor."""
        said = self.last.get("data", {})
        assert self.last["type"] == "FC-POLICY-001"
        told = (said["decision"], said["action"], said.get("gate_id"), self.last["actor"])
        assert told == ("allow", action, gate_id, event["actor"])

    def _changed(self, event: Data, data: Data) -> None:
        change = (self.status, data["new_status"])
        assert data["new_status"] not in _FINAL
        assert not (change == ("running", "running") and self.specs)
        held = self.held
        self._moves(data)
        if change == ("pending", "running"):
            self._allowed(event, "run.start")
        elif data.get("hold"):
            self._allowed(event, "run.pause")
        elif held or change == ("running", "running"):
            self._allowed(event, "run.resume")
        self.held = bool(data.get("hold"))
        if change == ("pending", "running"):
            self.started_at = event["at"]

    def _is_late(self, event: Data) -> bool:
        if self.timeout_ms is None or not self.started_at:
            return False
        passed = datetime.fromisoformat(event["at"]) - datetime.fromisoformat(self.started_at)
        return passed >= timedelta(milliseconds=self.timeout_ms)

    def _spec(self, step_id: str) -> Data:
        """Of an item, the one of the step that fans out."""
        return self.specs[step_id.partition("[")[0]]

    def _ended(self, event: Data, data: Data) -> None:
        assert data["new_status"] in _FINAL
        self._moves(data)
        assert not self._in_flight(), "ended with a step in flight"
        if data["new_status"] == "completed":
            self._allowed(event, "run.complete")
            assert not any(g.status == "pending" for g in self.gates.values())
            assert not self._is_late(event)
            for step_id in self.specs:
                assert self.steps[step_id].done in ("completed", "skipped")
        if data["new_status"] == "failed" and self.specs:
            assert self.refused or data["error_code"]
            assert data["error_code"] != "run_timeout" or self._is_late(event)
        receipt = {
            "definition_hash": self.created.get("definition_hash"),
            "event_count": len(self.hashes),
            "first_event_hash": self.hashes[0],
            "last_event_hash": self.hashes[-1],
            "outcome": data["new_status"],
            "policy_hashes": list(self.policies),
            "receipt_chain": self.receipts,
            "run_id": self.created["run_id"],
            "tenant": event["tenant"],
            "v": 1,
            "workflow_id": self.created["workflow_id"],
            "workflow_version": self.created["workflow_version"],
        }
        assert data["workflow_receipt_hash"] == _digest(receipt)

    def _told(self, _event: Data, _data: Data) -> None:
        """An attempt that was refused changes nothing."""

    # policy

    def _decided(self, event: Data, data: Data) -> None:
        self.policies[data["policy_hash"]] = None
        about = (data.get("step_id"), data.get("subject_hash"), data["action"])
        covered = data.get("covered_by", [])
        if data["decision"] == "allow":
            for flag in data.get("flags", []):
                assert any(self._covers(self.gates[g], flag, about) for g in covered)
        else:
            assert not covered
        if data["decision"] == "flag":
            assert data["flags"]
            self.flagged.setdefault(about, event["seq"])
        is_step = data["action"].startswith("step.") and data.get("gate_id") is None
        if is_step:
            assert self.status == "running"
            assert not self._is_late(event)
            if self.specs:
                self._check_may_be_asked(data["step_id"])
            self.decisions[self._next_hash(event)] = (event["seq"], data)
        fatal = {"run.create"} | ({"run.start", "run.complete"} if self.specs else set())
        if data["decision"] == "deny" and (is_step or data["action"] in fatal):
            self.refused = self.refused or f"{data['action']} was denied"

    @staticmethod
    def _next_hash(event: Data) -> str:
        text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(b"\0" + text.encode()).hexdigest()

    def _covers(self, gate: _Gate, flag: Data, about: tuple[str | None, str | None, str]) -> bool:
        """An entitled quorum passed this gate, after policy asked for it, about this very thing."""
        asked = gate.asked
        told = (asked.get("step_id"), asked.get("subject_hash"), asked.get("action"))
        if told != about or flag["rule"] not in asked.get("covers", []):
            return False
        assert self.flagged[about] < gate.seq < gate.passed_at
        assert asked.get("required_approvers", []) == flag["approvers"]
        assert asked.get("quorum", 1) == flag["quorum"]
        self._people_passed(gate)
        return True

    def _people_passed(self, gate: _Gate) -> None:
        if gate.status == "bypassed":
            return
        assert gate.status == "approved"
        assert len(set(gate.approvers)) >= gate.asked.get("quorum", 1)

    # steps

    def _check_may_be_asked(self, step_id: str) -> None:
        """Items are put to policy, never the step they are of; in their order, few at a time."""
        name, _, index = step_id.partition("[")
        assert ("foreach" in self.specs[name]) == bool(index)
        if index:
            number = int(index.removesuffix("]"))
            assert step_id == f"{name}[{number}]"
            assert number < self.items[name]
            assert number < self._done(name) + self.specs[name]["concurrency"]

    def _done(self, name: str) -> int:
        return sum(s.done == "completed" for i, s in self.steps.items() if i.startswith(f"{name}["))

    def _fanned(self, event: Data, data: Data) -> None:
        name = data["step_id"]
        assert "foreach" in self.specs[name]
        assert name not in self.items
        assert name not in self.steps
        assert self.status == "running"
        assert not self.refused
        assert not self._is_late(event)
        assert all(
            self.steps[n].done in ("completed", "skipped") for n in self._spec(name)["needs"]
        )
        self.items[name], self.first_index[name] = data["items"], self.next_index
        self.next_index += data["items"]
        self._gather(name)

    def _gather(self, name: str) -> None:
        if self._done(name) == self.items[name]:
            self.steps[name] = _Step(1, None, "completed")

    def _is_child(self, step_id: str) -> bool:
        work = self.specs.get(step_id.partition("[")[0], {}).get("work") or {}
        return bool(work.get("run") == "workflow")

    def _is_gate_step(self, step_id: str) -> bool:
        return step_id in self.specs and self.specs[step_id]["type"] == "GATE"

    def _in_flight(self) -> list[str]:
        return [
            i
            for i, s in self.steps.items()
            if s.start and s.done is None and self._own_gate(i, s.start["seq"]) is None
        ]

    def _own_gate(self, step_id: str, after: int) -> _Gate | None:
        """The gate that a GATE step, or a step in doubt, waits at since the event `after`."""
        for gate in self.gates.values():
            if gate.asked.get("step_id") != step_id or gate.seq <= after:
                continue
            if gate.asked["gate_type"] == "in_doubt" or self._is_gate_step(step_id):
                return gate
        return None

    def _started(self, event: Data, data: Data) -> None:
        assert not self.refused, f"{self.refused}, yet {data['step_id']} starts"
        step_id, attempt = data["step_id"], data["attempt"]
        at, allow = self.decisions[data["decision_hash"]]
        assert at < event["seq"]
        assert allow["decision"] == "allow"
        assert allow["action"] == f"step.{data['step_type'].lower()}"
        told = (allow["step_id"], allow["attempt"], allow["subject_hash"])
        assert told == (step_id, attempt, data["input_hash"])
        assert not self._is_late(event)
        assert data["idempotency_key"] == f"{self.created['run_id']}:{step_id}:{attempt}"
        before = self.steps.get(step_id, _Step())
        assert before.attempt == attempt
        assert before.done is None
        if data.get("again"):
            assert self._spec(step_id)["idempotent"]
            assert before.start
            assert before.start["decision_hash"] == data["decision_hash"]
            return
        assert self.status == "running"
        assert before.start is None
        assert data["decision_hash"] not in self.used
        self.used.add(data["decision_hash"])
        if self.specs:
            spec = self._spec(step_id)
            assert spec["type"] == data["step_type"]
            self._check_may_be_asked(step_id)
            name, _, index = step_id.partition("[")
            place = list(self.specs).index(name)
            first = self.first_index[name] + int(index[:-1]) if index else place
            assert data["step_index"] == first
            assert all(self.steps[n].done in ("completed", "skipped") for n in spec["needs"])
        self.steps[step_id] = _Step(attempt, data | {"seq": event["seq"], "at": event["at"]}, None)

    def _finished(self, event: Data, data: Data) -> None:
        step = self.steps[data["step_id"]]
        is_success = event["type"] == "FC-STEP-002"
        assert step.start is not None
        assert step.attempt == data["attempt"]
        assert step.done in (None, "in_doubt")
        gate = self._own_gate(data["step_id"], step.start["seq"])
        asks = step.done == "in_doubt" or (
            self._is_gate_step(data["step_id"]) and self.specs[data["step_id"]]["gate"] is not None
        )
        assert (gate is not None) == asks
        if gate is not None:
            self._people_passed(gate)
        receipt = self._receipt(data, _STEP_RECEIPT)
        for name in ("attempt", "decision_hash", "input_hash", "step_id", "step_type"):
            assert receipt[name] == step.start[name]
        assert receipt["started_at"] == step.start["at"]
        assert receipt["ended_at"] == event["at"]
        assert receipt["output_hash"] == data.get("output_hash")
        assert receipt["status"] == ("completed" if is_success else "failed")
        done = "completed" if is_success else "failed"
        self.steps[data["step_id"]] = _Step(step.attempt, step.start, done)
        name = data["step_id"].partition("[")[0]
        if name in self.items:
            self._gather(name)

    def _retried(self, _event: Data, data: Data) -> None:
        step = self.steps[data["step_id"]]
        assert data["attempt"] == step.attempt + 1
        assert step.start is not None
        assert step.done in ("failed", "in_doubt")
        if step.done == "in_doubt":
            gate = self._own_gate(data["step_id"], step.start["seq"])
            assert gate is not None
            self._people_passed(gate)
        self.steps[data["step_id"]] = _Step(data["attempt"])

    def _doubted(self, _event: Data, data: Data) -> None:
        step = self.steps[data["step_id"]]
        assert step.start is not None
        assert step.done is None
        assert step.attempt == data["attempt"]
        assert not self._spec(data["step_id"])["idempotent"]
        self.steps[data["step_id"]] = _Step(step.attempt, step.start, "in_doubt")

    def _skipped(self, _event: Data, data: Data) -> None:
        step = self.steps.get(data["step_id"], _Step())
        assert self.status == "running"
        assert step.start is None
        assert step.done is None
        assert data["step_id"] not in self.items
        needs = self.specs[data["step_id"]]["needs"]
        assert all(self.steps[n].done in ("completed", "skipped") for n in needs)
        self.steps[data["step_id"]] = _Step(step.attempt, None, "skipped")

    # gates

    def _asked(self, event: Data, data: Data) -> None:
        assert data["gate_id"] not in self.gates
        step_id = data.get("step_id")
        spec = self.specs.get(step_id) if step_id else None
        if spec and spec["gate"] and step_id in self.steps and self._in_flight() == [step_id]:
            assert data.get("required_approvers", []) == list(spec["gate"]["approvers"])
            assert data.get("quorum", 1) == spec["gate"]["quorum"]
        self.gates[data["gate_id"]] = _Gate(data, event["seq"])

    def _answered(self, event: Data, data: Data) -> None:
        gate = self.gates[data["gate_id"]]
        actor = event["actor"]
        assert gate.status == "pending"
        assert actor not in gate.approvers
        self._allowed(event, "gate.resolve", data["gate_id"])
        wanted = gate.asked.get("required_approvers", [])
        mine = {actor} | {f"role:{r}" for r in self.roles.get(actor, ())}
        assert not wanted or mine & set(wanted), f"{actor} may not answer"
        if self.created["policy_mode"] == "strict":
            assert actor not in (self.birth["actor"], self.birth["via"])
            assert event["via"] != self.birth["actor"]
        assert "expires_at" not in gate.asked or event["at"] < gate.asked["expires_at"]
        approvers = gate.approvers
        if data["decision"] == "approved":
            approvers = (*approvers, actor)
        full = len(approvers) >= gate.asked.get("quorum", 1)
        ends = "rejected" if data["decision"] == "rejected" else "approved" if full else "pending"
        assert data["gate_status"] == ends
        self._gate_receipt(event, data, data["decision"], ends)
        self._resolve(event, gate, ends, approvers)

    def _expired(self, event: Data, data: Data) -> None:
        gate = self.gates[data["gate_id"]]
        assert gate.status == "pending"
        assert event["at"] >= gate.asked["expires_at"]
        self._gate_receipt(event, data, "expired", "expired")
        self._resolve(event, gate, "expired", gate.approvers)

    def _bypassed(self, event: Data, data: Data) -> None:
        gate = self.gates[data["gate_id"]]
        assert gate.status == "pending"
        assert gate.asked["gate_type"] != "in_doubt"
        assert data["reason"].strip()
        self._allowed(event, "gate.bypass", data["gate_id"])
        self._gate_receipt(event, data, "bypassed", "bypassed")
        self._resolve(event, gate, "bypassed", gate.approvers)

    def _resolve(self, event: Data, gate: _Gate, status: str, approvers: tuple[str, ...]) -> None:
        gate_id = gate.asked["gate_id"]
        passed = event["seq"] if status in ("approved", "bypassed") else -1
        self.gates[gate_id] = _Gate(gate.asked, gate.seq, status, approvers, passed)
        if status in ("rejected", "expired"):
            self.refused = self.refused or f"gate {gate_id} was {status}"

    # receipts

    def _gate_receipt(self, event: Data, data: Data, decision: str, status: str) -> None:
        receipt = self._receipt(data, _GATE_RECEIPT)
        told = (receipt["gate_id"], receipt["decision"], receipt["status"])
        assert told == (data["gate_id"], decision, status)
        assert (receipt["actor_id"], receipt["via"]) == (event["actor"], event["via"])
        assert receipt["input_hash"] == data.get("input_hash")
        assert receipt["ended_at"] == event["at"]
        assert receipt["decision_hash"] == (None if status == "expired" else event["prev"])

    def _receipt(self, data: Data, members: set[str]) -> Data:
        receipt: Data = data["receipt"]
        assert set(receipt) == members
        assert receipt["v"] == 1
        assert receipt["run_id"] == self.created["run_id"]
        assert receipt["prev_receipt_hash"] == (self.receipts[-1] if self.receipts else _ZERO)
        assert data["receipt_hash"] == _digest(receipt)
        self.receipts.append(data["receipt_hash"])
        return receipt


_SEE = {
    "FC-RUN-001": Auditor._born,
    "FC-RUN-002": Auditor._changed,
    "FC-RUN-003": Auditor._ended,
    "FC-POLICY-001": Auditor._decided,
    "FC-AUTH-001": Auditor._told,
    "FC-STEP-001": Auditor._started,
    "FC-STEP-002": Auditor._finished,
    "FC-STEP-003": Auditor._finished,
    "FC-STEP-004": Auditor._retried,
    "FC-STEP-005": Auditor._doubted,
    "FC-STEP-006": Auditor._skipped,
    "FC-STEP-007": Auditor._fanned,
    "FC-GATE-001": Auditor._asked,
    "FC-GATE-002": Auditor._answered,
    "FC-GATE-003": Auditor._answered,
    "FC-GATE-004": Auditor._expired,
    "FC-GATE-005": Auditor._bypassed,
}
