"""A turn: one actor's change to one run. Events are sealed and folded as they are made, so each
can name the hash of the one before it; nothing of it is true until the ledger has appended it."""

from collections.abc import Callable
from typing import Any

from .actor import Actor
from .canonical import value_hash
from .decision import Decision, Effect, Flag
from .envelope import Event, Head, seal
from .events import PolicyEvaluated, RunEventData, TightenedBy
from .fold import apply
from .fold_fan_out import also_changed
from .run import Run
from .steps import Permit

__all__ = ["Turn"]


_SKEW_US = 1_000_000
"""By how much two clocks that are both right may differ."""


class Turn:
    """`now` is microseconds since the epoch; `new_id` supplies gate ids; `log` is the log's name,
    and `node` the process that executes what the turn starts, where there are several.

    `set_back` says that the clock is behind the run's last event by more than clocks differ.

    `base` is the head the turn began at: what the ledger must still find there. `permits` are the
    executions that this turn starts: they may be used once the append has returned. `values` are
    payloads that the turn itself made (hash → value), to be stored with its events.
    """

    def __init__(
        self,
        run: Run,
        *,
        actor: Actor,
        now: int,
        new_id: Callable[[], str],
        log: str,
        node: str | None = None,
    ) -> None:
        self.run = run
        self.actor = actor
        self.now = max(now, run.last_at)  # a clock that steps back never reorders a stream
        self.set_back = now < run.last_at - _SKEW_US
        self.new_id = new_id
        self.log = log
        self.node = node
        self.base: Head = run.head
        self.events: list[Event] = []
        self.permits: list[Permit] = []
        self.values: dict[str, Any] = {}
        self.touched_steps: dict[str, None] = {}
        self.touched_gates: dict[str, None] = {}

    def emit(self, data: RunEventData) -> Event:
        """Seal `data` as the next event of the run, and fold it."""
        event = seal(
            log=self.log,
            stream=self.run.stream,
            tenant=self.run.tenant,
            head=self.run.head,
            code=data.code,
            data=data,
            actor=self.actor,
            at=self.now,
        )
        apply(self.run, event)
        self.events.append(event)
        if step_id := getattr(data, "step_id", None):
            self.touched_steps[step_id] = None
        self.touched_steps.update(dict.fromkeys(also_changed(self.run, data)))
        if gate_id := getattr(data, "gate_id", None):
            self.touched_gates[gate_id] = None
        return event

    def keep(self, value: Any) -> str:
        """Store `value` as a payload together with this turn; returns its hash."""
        digest = value_hash(value)
        self.values[digest] = value
        return digest

    def decide(
        self,
        decision: Decision,
        action: str,
        *,
        step_id: str | None = None,
        step_type: str | None = None,
        attempt: int | None = None,
        gate_id: str | None = None,
        subject_hash: str | None = None,
    ) -> tuple[Effect, Event]:
        """Record `decision`. A flag of which every rule is covered by a gate that people passed,
        for this very thing, is an allow and names those gates. A flag without rules asks nobody
        anything, so it is a deny."""
        effect = decision.decision
        covered_by: tuple[str, ...] = ()
        if effect == "flag" and not decision.flags:
            effect = "deny"
        elif effect == "flag":
            gates = [self._covering(f, action, step_id, subject_hash) for f in decision.flags]
            if all(gates):
                effect = "allow"
                covered_by = tuple(dict.fromkeys(g for g in gates if g))
        tight = decision.tightened
        event = self.emit(
            PolicyEvaluated(
                action=action,
                step_id=step_id,
                step_type=step_type,
                attempt=attempt,
                gate_id=gate_id,
                subject_hash=subject_hash,
                decision=effect,
                reason=decision.reason,
                policy_id=decision.policy_id,
                policy_hash=decision.policy_hash,
                tier=decision.tier,
                rules_triggered=decision.rules_triggered,
                request_hash=decision.request_hash,
                duration_us=decision.duration_us,
                flags=decision.flags,
                covered_by=covered_by,
                tightened=TightenedBy(
                    decision=tight.decision,
                    policy_id=tight.policy_id,
                    policy_hash=tight.policy_hash,
                    rules_triggered=tight.rules_triggered,
                )
                if tight
                else None,
            )
        )
        return effect, event

    def _covering(
        self, flag: Flag, action: str, step_id: str | None, subject: str | None
    ) -> str | None:
        for gate_id in self.run.gates_about.get(step_id, ()):
            gate = self.run.gates[gate_id]
            fresh = gate.gate_id not in self.run.spent
            if fresh and gate.answers(flag, action, step_id, subject):
                return gate.gate_id
        return None
