"""What a workflow is: frozen values, independent of the file they were written in.

The definition hash is SHA-256 over the RFC 8785 form of the definition, so two files that differ
in comments or order define the same workflow.
"""

from enum import StrEnum
from typing import Any

import msgspec

from .canonical import canonical, sha256
from .shapes import prepare

__all__ = [
    "ChildWork",
    "ExpressionWork",
    "GateSpec",
    "HttpWork",
    "PythonWork",
    "Retry",
    "StepSpec",
    "StepType",
    "Work",
    "Workflow",
]


class StepType(StrEnum):
    """What a step is for. Policy sees it as the action `step.<type>`."""

    OBSERVE = "OBSERVE"
    DECIDE = "DECIDE"
    GATE = "GATE"
    ACT = "ACT"
    TRANSFORM = "TRANSFORM"

    @property
    def action(self) -> str:
        return f"step.{self.value.lower()}"


class Retry(msgspec.Struct, frozen=True):
    """Attempt n+1 starts `backoff_ms · (factor_pct/100)^(n-1)` after attempt n failed, at most
    `max_backoff_ms`. Whole numbers, because definitions are hashed."""

    max_attempts: int = 1
    backoff_ms: int = 1_000
    factor_pct: int = 200
    max_backoff_ms: int = 60_000

    def delay_ms(self, failed_attempt: int) -> int:
        """Milliseconds between the failure of `failed_attempt` (from 1) and the next attempt."""
        delay = self.backoff_ms
        for _ in range(failed_attempt - 1):
            if delay >= self.max_backoff_ms:
                break
            delay = delay * self.factor_pct // 100
        return min(delay, self.max_backoff_ms)


class GateSpec(msgspec.Struct, frozen=True):
    """A gate that people resolve: approvers are actor ids or `role:<name>`, `quorum` how many
    different people must approve, `expires_s` seconds until the gate counts as refused."""

    name: str
    description: str = ""
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    expires_s: int | None = None
    input_schema: dict[str, Any] | None = None


class PythonWork(msgspec.Struct, frozen=True, tag="python", tag_field="run"):
    """Call `module:function` with the step's input as its keyword arguments."""

    call: str


class HttpWork(msgspec.Struct, frozen=True, tag="http", tag_field="run"):
    """Send one request. `url`, header values and `json` may hold `${…}`. A header value of
    `{"env": NAME}` is filled in by the executor and never enters the ledger."""

    method: str
    url: str
    headers: dict[str, Any] = {}
    json: Any = msgspec.UNSET


class ExpressionWork(msgspec.Struct, frozen=True, tag="expression", tag_field="run"):
    """Compute a value from what the run knows; `value` is a template with `${…}` in it."""

    value: Any


class ChildWork(msgspec.Struct, frozen=True, tag="workflow", tag_field="run"):
    """Start a run of `workflow` with the step's input, and wait for its end: its output is the
    step's. Without `version` it is the one that is registered last when the child is born."""

    workflow: str
    version: str | msgspec.UnsetType = msgspec.UNSET


Work = PythonWork | HttpWork | ExpressionWork | ChildWork


class StepSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One step. `needs` lists the steps that must have ended well before (or been skipped);
    `when` is a CEL condition; `with_` the template of its input; `work` is None for a GATE.

    `gate` on a GATE step asks people always; a GATE step without it asks only where policy flags.
    `timeout_ms` 0 is none, which only a step with `ChildWork` may have.

    With `foreach`, a CEL expression that gives a list, the work is done once for each item, at most
    `concurrency` of them at a time; both are set together.
    """

    id: str
    type: StepType
    needs: tuple[str, ...] = ()
    when: str | None = None
    with_: dict[str, Any] = msgspec.field(default={}, name="with")
    work: Work | None = None
    gate: GateSpec | None = None
    timeout_ms: int = 30_000
    retry: Retry = Retry()
    idempotent: bool = False
    sensitive: bool = False
    foreach: str | msgspec.UnsetType = msgspec.UNSET
    concurrency: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def fans_out(self) -> bool:
        """Whether it is done once for each item of a list."""
        return self.foreach is not msgspec.UNSET


class Workflow(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow as it is registered: steps in file order, which `needs` turn into a graph
    without cycles. `input_schema` is the JSON Schema of the run's input, `output` a template.
    `timeout_ms` is how long a run may take from its start, pauses included."""

    id: str
    version: str
    description: str = ""
    input_schema: dict[str, Any] | None = None
    steps: tuple[StepSpec, ...]
    output: Any = None
    timeout_ms: int | msgspec.UnsetType = msgspec.UNSET

    def canonical(self) -> bytes:
        """RFC 8785 bytes: what is stored, and what `definition_hash` is the SHA-256 of."""
        return canonical(msgspec.to_builtins(self))

    @property
    def definition_hash(self) -> str:
        return sha256(self.canonical())

    @classmethod
    def from_canonical(cls, data: bytes) -> "Workflow":
        """The inverse of `canonical`."""
        return msgspec.json.decode(data, type=cls)


prepare(Workflow)
