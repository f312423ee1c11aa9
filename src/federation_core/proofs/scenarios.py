"""The three tests. The server decides; the harness asks, watches, and answers the gate."""

from collections.abc import Callable

import msgspec

from ..client import ApiError, Client
from .effects import now
from .given import Given
from .narration import Narration
from .people import APPROVER
from .transcript import Attack, Case, Expected, Json, Sighting, Transcript
from .venue import Venue
from .watching import follow

__all__ = ["CASES", "WORKFLOW", "Stage", "perform"]

WORKFLOW = "pt-004-orchestration"
PATIENCE_S = 20.0
_ALL_DONE = {
    "observe": ("OBSERVE", "completed"),
    "decide": ("DECIDE", "completed"),
    "approval": ("GATE", "completed"),
    "act": ("ACT", "completed"),
    "transform": ("TRANSFORM", "completed"),
}

CASES = (
    Case(
        letter="A",
        name="happy_path",
        title="Happy path: policy allows every step",
        machines=3,
        expected=Expected(statuses=("pending", "running", "completed"), steps=_ALL_DONE, effects=1),
    ),
    Case(
        letter="B",
        name="policy_flag",
        title="Policy flag: the run waits until somebody else approves",
        machines=250,
        expected=Expected(
            statuses=("pending", "running", "paused", "running", "completed"),
            steps=_ALL_DONE,
            effects=1,
            flagged="approval",
            approver=APPROVER,
        ),
    ),
    Case(
        letter="C",
        name="policy_deny",
        title="Policy deny: the run fails and nothing happens outside",
        machines=100_000,
        expected=Expected(
            statuses=("pending", "running", "failed"),
            steps=_ALL_DONE | {"act": ("ACT", "denied"), "transform": ("TRANSFORM", "pending")},
            effects=0,
            denied="act",
        ),
    ),
)


class Stage(msgspec.Struct, frozen=True):
    """What every test needs: the venue, what was brought there, and the hash of the workflow's
    definition as the server answered it."""

    venue: Venue
    given: Given
    definition_hash: str


class _Test:
    """One case in the making."""

    def __init__(self, case: Case, stage: Stage, story: Narration) -> None:
        self.case, self.stage, self.story = case, stage, story
        self.people, self.effects = stage.venue.people, stage.venue.effects
        self.sightings: list[Sighting] = []
        self.live: list[Json] = []
        self.attacks: list[Attack] = []
        self.effects_at_pause: int | None = None

    def play(self) -> Transcript:
        operator = self.people.operator
        given = {
            "change": f"PT-004 {self.case.letter}",
            "machines": self.case.machines,
            "registry": self.stage.venue.registry,
            "effects": self.effects.url,
        }
        self.story.say(f"the operator asks for a run of {WORKFLOW} on {given['machines']} machines")
        run = operator.create_run(WORKFLOW, given)["run"]
        run_id = run["run_id"]
        self._see(run["status"], "answer to the creation")
        for entry in follow(operator, run_id, PATIENCE_S):
            self.live.append(entry)
            self.story.tell(entry)
            if entry["event_type"] in ("FC-RUN-002", "FC-RUN-003"):
                self._see(entry["new_status"], f"event stream, entry {entry['seq']}")
                if entry["new_status"] == "paused":
                    self._at_the_gate(run_id)
        self._afterwards(run_id)
        return self._transcript(run_id)

    def _see(self, status: str, where: str) -> None:
        self.sightings.append(Sighting(status, now(), where))
        self.story.say(f"the run is {status.upper()} ({where})")

    def _at_the_gate(self, run_id: str) -> None:
        """The run waits: try to get past the gate, then let its approver answer."""
        found = self.people.approver.get_run(run_id, gates=True)
        pending = [g for g in found["gates"] if g["status"] == "pending"]
        self.story.say(
            f"read back: {found['run']['status'].upper()}, {len(pending)} gate pending, "
            f"{_effects(self.effects.of(run_id))}"
        )
        for gate in pending:
            gate_id = gate["gate_id"]
            self.story.say(
                f"gate {gate['gate_name']} asks for {gate['quorum']} of "
                f"{', '.join(gate['required_approvers']) or 'anybody'}"
            )
            self._attack_the_gate(run_id, gate_id)
            self._approve(run_id, gate_id)

    def _approve(self, run_id: str, gate_id: str) -> None:
        """A gate that an attack has opened takes no approval; the checks tell of that."""
        taken = self.effects.of(run_id)
        self.effects_at_pause = len(taken)
        self.story.say(f"{APPROVER} approves; until now {_effects(taken)}")
        try:
            self.people.approver.answer_gate(run_id, gate_id, approve=True)
        except ApiError as e:
            self.story.say(f"the approval was refused: {e.status} {e.error_code}: {e.detail}")

    def _attack_the_gate(self, run_id: str, gate_id: str) -> None:

        def approve(as_whom: Client) -> Callable[[], Json]:
            return lambda: as_whom.answer_gate(run_id, gate_id, approve=True)

        self._attack(
            "approval with a forged token", (401, "unauthenticated"), approve(self.people.forger)
        )
        self._attack(
            "approval by a stranger", (403, "not_an_approver"), approve(self.people.stranger)
        )
        self._attack(
            "approval by a named approver who started the run",
            (403, "separation_of_duties"),
            approve(self.people.operator),
        )
        self._attack(
            "setting the run to running past its gate",
            (409, "gate_pending"),
            lambda: self.people.operator.change_status(run_id, "running"),
        )
        self._attack(
            "declaring the run completed",
            (409, "invalid_transition"),
            lambda: self.people.operator.change_status(run_id, "completed"),
        )

    def _afterwards(self, run_id: str) -> None:
        operator, administrator = self.people.operator, self.people.administrator
        self._attack(
            "setting the ended run to running",
            (409, "invalid_transition"),
            lambda: operator.change_status(run_id, "running"),
        )
        if self.case.expected.denied:
            self._attack(
                "reporting the denied step as done",
                (409, "managed_run"),
                lambda: operator.record_step(run_id, "act", "completed", output={"done": True}),
            )
        if self.case.letter == "A":
            other = self.stage.given.workflow.replace(
                "input.machines <= 10", "input.machines <= 1000"
            )
            self._attack(
                "registering a laxer workflow under the same version",
                (409, "version_exists"),
                lambda: administrator.register_workflow(other),
            )

    def _attack(self, what: str, wanted: tuple[int, str], call: Callable[[], Json]) -> None:
        status, code, detail = 200, "accepted", "It was accepted."
        try:
            call()
        except ApiError as e:
            status, code, detail = e.status, e.error_code, e.detail
        attack = Attack(self.case.letter, what, wanted, status, code, detail)
        self.attacks.append(attack)
        verdict = "refused" if attack.is_refused else "NOT REFUSED AS IT MUST BE"
        self.story.say(f"attack: {what} → {status} {code}, {verdict}: {detail}")

    def _transcript(self, run_id: str) -> Transcript:
        found = self.people.operator.get_run(run_id, gates=True, steps=True)
        run = found["run"]
        effects = self.effects.of(run_id)
        self.story.say(f"read back: {run['status'].upper()}, {_effects(effects)}")
        return Transcript(
            test=self.case.letter,
            run=run,
            logs=_all_logs(self.people.operator, run_id),
            live=self.live,
            gates=found["gates"],
            steps=found["steps"],
            sightings=self.sightings,
            effects=effects,
            policy=self.stage.given.policy,
            definition_hash=self.stage.definition_hash,
            effects_at_pause=self.effects_at_pause,
            attacks=self.attacks,
        )


def _effects(taken: list[Json]) -> str:
    return f"the service outside has taken {len(taken)} of the run's requests"


def perform(case: Case, stage: Stage, story: Narration) -> Transcript:
    """Play one test to its end. Raises what the client raises, and `Silent`."""
    return _Test(case, stage, story).play()


def _all_logs(client: Client, run_id: str) -> list[Json]:
    logs: list[Json] = []
    while page := client.logs(run_id, limit=500, offset=len(logs)):
        logs += page
    return logs
