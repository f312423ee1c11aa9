"""What a report remembers of a run. It is bounded: of a long run, its numbers and what was out of
the ordinary."""

from collections import Counter

import msgspec

from ..spine import events as e
from .retelling import Told
from .timeline import Timeline

__all__ = [
    "MOST_ATTEMPTS",
    "MOST_EVENTFUL",
    "MOST_GATES",
    "MOST_REFUSALS",
    "SHORT_RUN",
    "WAITING",
    "AnswerStory",
    "BypassStory",
    "FanStory",
    "GateStory",
    "PolicyUse",
    "RefusalStory",
    "RunStory",
    "StepStory",
]

SHORT_RUN = 40
"""Up to so many steps, every one of them is listed."""
MOST_EVENTFUL = 200
MOST_ATTEMPTS = 10
"""Of one step, beside its last one."""
MOST_GATES = 100
MOST_REFUSALS = 50
WAITING = "waiting for people"


class StepStory(msgspec.Struct):
    """The last attempt of a step, and `earlier` those before it, of which there were
    `earlier_seen`. `order` counts steps by their first appearance; `effects` are what policy said
    of the attempt, in order, without repetitions; `error` is the type of what it failed with;
    `carried_from` is the run that did it, where this one was restarted and did not; `child` the
    last run of its own that executed it."""

    order: int
    step_id: str
    step_type: str | None = None
    status: str = "not begun"
    attempts: int = 0
    began: str | None = None
    ended: str | None = None
    took_ms: int | None = None
    effects: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    reason: str | None = None
    error: str | None = None
    doubted: bool = False
    approved_by: list[str] = []
    bypassed_by: list[str] = []
    carried_from: str | None = None
    child: str | None = None
    earlier: list["StepStory"] = []
    earlier_seen: int = 0

    @property
    def is_finished(self) -> bool:
        return self.status in ("completed", "skipped", "denied")

    @property
    def is_eventful(self) -> bool:
        """Something was not as a reader expects who is told how many steps completed."""
        smooth = self.status == "completed" and self.attempts == 1 and self.effects == ("allow",)
        return not smooth or self.doubted or bool(self.approved_by or self.bypassed_by)


class FanStory(msgspec.Struct):
    """A step that is done for each item of a list, and how many of them completed."""

    step_id: str
    items: int
    began: str
    completed: int = 0
    last: str | None = None


class AnswerStory(msgspec.Struct, frozen=True):
    """What one person said at a gate."""

    at: str
    actor: str
    via: str | None
    role: str | None
    said: str
    reason: str | None
    with_input: bool


class BypassStory(msgspec.Struct, frozen=True):
    """One gate that somebody let a run through in an emergency; `asked` are those who were to
    answer it, None where the report does not remember them."""

    at: str
    actor: str
    via: str | None
    what: e.GateBypassed
    asked: e.GateRequested | None


class GateStory(msgspec.Struct):
    at: str
    actor: str
    via: str | None
    asked: e.GateRequested
    status: str = "pending"
    answers: list[AnswerStory] = []


class RefusalStory(msgspec.Struct, frozen=True):
    at: str
    actor: str
    via: str | None
    what: e.AttemptRefused


class PolicyUse(msgspec.Struct):
    """One bundle: `tiers` as its decisions named them, and how often it decided or tightened."""

    policy_id: str
    tiers: set[str] = set()
    decided: int = 0
    tightened: int = 0


class RunStory(msgspec.Struct):
    """`count` of steps by status; what was left out of the lists is only counted. `unreached` are
    the steps of the definition that no event is about, and their types. `places` says of the
    payloads that somebody asked about where they are named, `why` why the run ended as it did, as
    far as that is to be shown."""

    born: Told | None = None
    end: Told | None = None
    why: str | None = None
    tenant: str = ""
    status: str = "pending"
    events: int = 0
    steps_seen: int = 0
    fans: dict[str, FanStory] = {}
    listed: dict[str, StepStory] = {}
    unreached: dict[str, str] = {}
    dropped: Counter[str] = msgspec.field(default_factory=Counter)
    eventful_dropped: int = 0
    gates: dict[str, GateStory] = {}
    gates_seen: int = 0
    bypasses: list[BypassStory] = []
    bypasses_seen: int = 0
    refusals: list[RefusalStory] = []
    refusals_seen: int = 0
    decisions: Counter[str] = msgspec.field(default_factory=Counter)
    answers: Counter[str] = msgspec.field(default_factory=Counter)
    carried: int = 0
    denials: list[e.PolicyEvaluated] = []
    policies: dict[str, PolicyUse] = {}
    places: dict[str, str] = {}
    timeline: Timeline = msgspec.field(default_factory=Timeline)

    @property
    def steps(self) -> list[StepStory]:
        """Those that are listed, in order of appearance."""
        return sorted(self.listed.values(), key=lambda step: step.order)

    @property
    def by_status(self) -> Counter[str]:
        missed = "not reached" if self.end is not None else "not reached yet"
        unreached = Counter({missed: len(self.unreached)})
        return self.dropped + Counter(step.status for step in self.listed.values()) + unreached
