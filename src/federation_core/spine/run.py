"""The state of a run: nothing but the fold of its events (see `fold`)."""

from typing import Any

import msgspec

from .actor import Actor
from .decision import PolicyMode
from .definition import StepSpec, Workflow
from .envelope import Head
from .events import Execution, RunStatus
from .gates import Gate
from .items import Fan, item_place
from .step_table import StepTable
from .steps import Carried, Completed, Gathered, Pending, Step

__all__ = ["FINAL", "RUN_TIMEOUT", "Doom", "Run"]

FINAL: frozenset[RunStatus] = frozenset({"completed", "failed", "cancelled"})

RUN_TIMEOUT = "run_timeout"
"""Why a managed run failed that took longer than its workflow gives it."""


class Doom(msgspec.Struct, frozen=True):
    """Why a run will fail as soon as nothing is in flight; `step_id` where a step is the cause, and
    `error_hash` that of what it said."""

    code: str
    reason: str
    step_id: str | None = None
    error_hash: str | None = None


class Run:
    """Mutable only by `fold.apply`. Times are microseconds, payloads stand by their hashes.

    `doomed` is set by a denied or failed step or a refused gate. `spent` are gates whose approval
    was used up: it lets one change of status through, or one attempt of a client's step, not every
    later one. (The retries of a managed step are bounded by its definition, and stay covered.)
    `ready` (step ids), `joining` (those that wait for a child run) and the counters are kept beside
    the steps, so that what may happen next costs the same in a run of ten steps and of ten
    thousand. `gates_about` are ids of gates by the step they are about (None: the run), `fans` the
    fan-outs that have begun; `specs` are of the steps in the file, and an item has the one of its
    step (`spec_of`).
    """

    __slots__ = (
        "actor_id",
        "actor_kind",
        "actor_roles",
        "at_gate",
        "carried",
        "cleared",
        "completed_at",
        "correlation_id",
        "created_at",
        "current_step",
        "definition",
        "definition_hash",
        "dependants",
        "doomed",
        "error_code",
        "error_hash",
        "execution",
        "fans",
        "first_hash",
        "gates",
        "gates_about",
        "head",
        "held",
        "in_flight",
        "input_hash",
        "joining",
        "last_at",
        "metadata_hash",
        "next_index",
        "open_gates",
        "output_hash",
        "parent_attempt",
        "parent_run_id",
        "parent_step",
        "policy_hashes",
        "policy_mode",
        "ready",
        "reason",
        "receipts",
        "refusals",
        "restarted_from",
        "run_id",
        "sensitive",
        "specs",
        "spent",
        "started_at",
        "status",
        "step_index",
        "steps",
        "tags",
        "tenant",
        "unmet",
        "unsatisfied",
        "via",
        "workflow_id",
        "workflow_receipt_hash",
        "workflow_version",
    )

    def __init__(self, definition: Workflow | None, run_id: str = "", tenant: str = "") -> None:
        self.definition = definition
        self.specs: dict[str, StepSpec] = {}
        self.head = Head()
        self.first_hash = ""
        self.run_id, self.tenant = run_id, tenant
        self.workflow_id = ""
        self.workflow_version = ""
        self.definition_hash: str | None = None
        self.execution: Execution = "external"
        self.policy_mode: PolicyMode = "strict"
        self.status: RunStatus = "pending"
        self.actor_id = ""
        self.actor_kind = "service"
        self.actor_roles: tuple[str, ...] = ()
        self.via: str | None = None
        self.correlation_id = ""
        self.parent_run_id: str | None = None
        self.parent_step: str | None = None
        self.parent_attempt = 1
        self.restarted_from: str | None = None
        self.sensitive = self.held = False
        self.tags: tuple[str, ...] = ()
        self.input_hash = self.metadata_hash = ""
        self.output_hash: str | None = None
        self.error_hash: str | None = None
        self.error_code: str | None = None
        self.reason: str | None = None
        self.started_at: int | None = None
        self.completed_at: int | None = None
        self.created_at = self.last_at = 0
        self.current_step: str | None = None
        self.step_index = self.next_index = self.unsatisfied = 0
        self.steps = StepTable()
        self.fans: dict[str, Fan] = {}
        self.gates: dict[str, Gate] = {}
        self.gates_about: dict[str | None, tuple[str, ...]] = {}
        self.receipts: list[str] = []
        self.workflow_receipt_hash: str | None = None
        self.policy_hashes: dict[str, None] = {}
        self.doomed: Doom | None = None
        self.refusals = self.carried = 0
        self.ready: dict[str, None] = {}
        self.in_flight: dict[str, None] = {}
        self.joining: dict[str, None] = {}
        self.at_gate: dict[str, None] = {}
        self.spent: dict[str, None] = {}
        self.cleared: tuple[str, str, str | None, str] | None = None
        self.open_gates: dict[str, None] = {}
        self.unmet: dict[str, int] = {}
        self.dependants: dict[str, list[str]] = {}

    @property
    def stream(self) -> str:
        return f"run:{self.run_id}"

    @property
    def starter(self) -> Actor:
        """Who started it, as policy is asked about them."""
        return Actor(self.actor_id, self.actor_kind, self.actor_roles, self.via)

    @property
    def is_ended(self) -> bool:
        return self.status in FINAL

    @property
    def is_managed(self) -> bool:
        return self.execution == "managed"

    @property
    def is_working(self) -> bool:
        """Something may be executing that its end has to wait for; a child run is not: it is
        cancelled with it."""
        return len(self.in_flight) > len(self.joining)

    def plan(self, workflow: Workflow) -> None:
        """Lay out the steps of a managed run before anything has happened to them."""
        for index, spec in enumerate(workflow.steps):
            self.specs[spec.id] = spec
            self.steps[spec.id] = Step(spec.id, spec.type.value, index, Pending())
            self.unmet[spec.id] = len(spec.needs)
            if not spec.needs:
                self.ready[spec.id] = None
            for need in spec.needs:
                self.dependants.setdefault(need, []).append(spec.id)
        self.unsatisfied = self.next_index = len(workflow.steps)

    @property
    def deadline(self) -> int | None:
        """From when on (microseconds) nothing of it is begun, and it fails; None where it has all
        the time, or has not started."""
        timeout_ms = self.definition.timeout_ms if self.definition else None
        if self.started_at is None or not isinstance(timeout_ms, int):
            return None
        return self.started_at + timeout_ms * 1000

    def is_in_time(self, at: int) -> bool:
        deadline = self.deadline
        return deadline is None or at < deadline

    def item(self, step_id: str) -> tuple[Fan, int] | None:
        """The fan-out that a step is an item of, and its index there."""
        place = item_place(step_id) if self.fans else None
        fan = self.fans.get(place[0]) if place else None
        return (fan, place[1]) if fan and place else None

    def has_output(self, step_id: str) -> bool:
        step = self.steps.get(step_id)
        return step is not None and isinstance(step.state, (Completed, Gathered, Carried))

    def planned_id(self, step_id: str) -> str:
        """The id that the workflow file knows: of an item, that of the step which fans out."""
        item = self.item(step_id)
        return item[0].step_id if item else step_id

    def spec_of(self, step_id: str) -> StepSpec | None:
        """What the workflow says of a step, or of the step that it is an item of."""
        spec = self.specs.get(step_id)
        return (
            spec if spec is not None or not self.fans else self.specs.get(self.planned_id(step_id))
        )

    def view(self) -> dict[str, Any]:
        """Every fact of the state as plain values; two runs are equal where these are."""
        return {name: getattr(self, name) for name in self.__slots__}
