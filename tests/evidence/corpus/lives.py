"""Lawful lives, from which the unlawful ones are made."""

from collections.abc import Callable
from datetime import timedelta

from tests.evidence.corpus.cases import Json
from tests.evidence.pack_forge import FLAG, Forge, Script

__all__ = ["DOUBTFUL", "LAWFUL", "PLAIN", "WORKFLOW", "expiry", "told"]

WORKFLOW: Json = {
    "id": "wf",
    "version": "1.0.0",
    "steps": [
        {"id": "a", "type": "ACT", "retry": {"max_attempts": 2}, "idempotent": True},
        {
            "id": "b",
            "type": "GATE",
            "needs": ["a"],
            "gate": {"name": "Go?", "approvers": ["role:fin"], "quorum": 1, "expires_s": 60},
        },
        {"id": "c", "type": "ACT", "needs": ["a", "b"], "when": "input.x", "sensitive": True},
    ],
}
DOUBTFUL: Json = {"id": "wf", "version": "2", "steps": [{"id": "a", "type": "ACT"}]}
PLAIN: Json = {
    "id": "wf",
    "version": "3",
    "steps": [
        {"id": "a", "type": "ACT"},
        {"id": "b", "type": "TRANSFORM", "needs": ["a"], "gate": None},
    ],
}
TWO: Json = {"rule": "huge", "approvers": ["officer", "role:fin"], "quorum": 2, "expires_s": 60}


def told(script: Script) -> list[Json]:
    """The events of a script's run."""
    return script.forge.stream(script.stream)


def expiry(forge: Forge, seconds: int) -> str:
    """What `expires_at` says in an event that comes a second from now."""
    moment = forge.now + timedelta(seconds=1 + seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def client() -> Script:
    """A client's run with a flag, a retry, pauses, people of all kinds and a bypass."""
    forge = Forge()
    run = forge.run(
        "r1", actor_kind="human", actor_roles=["ops"], tags=["x"], parent_run_id="r0"
    ).start()
    run.ask("a", "flag", flags=[FLAG])
    run.ask_people("a")
    run.answer()
    run.change("running")
    run.ask("a", flags=[FLAG], covered_by=["g1"])
    run.begin("a")
    run.done("a")
    run.ask("b", kind="OBSERVE")
    run.begin("b")
    run.failed("b")
    run.retry("b")
    run.ask("b")
    run.begin("b")
    run.done("b")
    run.decide("run.pause")
    run.change("paused", hold=True, reason="lunch")
    run.decide("run.resume", actor="officer")
    run.change("running", actor="officer")
    run.decide("run.resume", subject=forge.keep("half"))
    run.change("running", current_step="two", step_index=1, output_hash=forge.keep("half"))
    run.gate(
        "g2",
        description="Is it right?",
        input_schema_hash=forge.keep({"type": "object"}),
        required_approvers=["officer", "role:fin"],
        quorum=2,
        expires_at=expiry(forge, 60),
    )
    run.change("paused", reason="people")
    given = forge.keep({"ok": True})
    run.answer("g2", actor="officer", role=None, given=given)
    run.answer("g2", given=given)
    run.change("running")
    run.gate("g3", actor="someone")
    run.bypass("g3")
    run.complete()
    run.decide("run.cancel", "deny", actor="late")
    refused = {"attempted": "run.cancel", "refusal_code": "X", "reason": "ended"}
    run.emit("FC-AUTH-001", refused | {"gate_id": "g1", "step_id": "a", "actor_tenant": "t"})
    return run


def managed() -> Script:
    """A managed run: a step that fails, is begun again, and retried; a GATE step; one skipped."""
    run = Forge().run("r1", definition=WORKFLOW).start()
    run.ask("a")
    run.begin("a")
    run.begin("a", again=True)
    run.failed("a")
    run.retry("a")
    run.ask("a")
    run.begin("a")
    run.done("a")
    run.ask("b")
    run.begin("b")
    at = expiry(run.forge, 60)
    run.gate("g1", step_id="b", required_approvers=["role:fin"], expires_at=at)
    run.change("paused")
    run.answer()
    run.done("b")
    run.change("running")
    run.emit("FC-STEP-006", {"step_id": "c", "reason": "not now"})
    return run.complete()


def sensitive() -> Script:
    """A managed run whose sensitive step runs, after people covered its flag."""
    run = Forge().run("r1", definition=WORKFLOW, policy_mode="loose").start()
    run.step("a")
    run.ask("b")
    run.begin("b")
    at = expiry(run.forge, 60)
    run.gate("g1", step_id="b", required_approvers=["role:fin"], expires_at=at)
    run.change("paused")
    run.answer(actor="starter")
    run.done("b")
    run.change("running")
    run.ask("c", "flag", flags=[TWO])
    at = expiry(run.forge, 60)
    run.gate(
        "g2",
        gate_type="policy_check",
        step_id="c",
        required_approvers=TWO["approvers"],
        quorum=2,
        expires_at=at,
        action="step.act",
        subject_hash=run.steps["c"]["input"],
        covers=["huge"],
    )
    run.change("paused")
    run.answer("g2", actor="officer", role=None)
    run.answer("g2", actor="fin_1", via="agent")
    run.change("running")
    run.ask("c", flags=[TWO], covered_by=["g2"])
    run.begin("c")
    run.done("c")
    return run.complete()


def doubt() -> Script:
    """A step in doubt, of which people say that it was done."""
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.ask("a")
    run.begin("a")
    run.emit("FC-STEP-005", {"step_id": "a", "attempt": 1})
    run.gate("g1", gate_type="in_doubt", step_id="a", required_approvers=["role:fin"])
    run.change("paused")
    run.answer()
    run.done("a")
    run.change("running")
    return run.complete()


def again() -> Script:
    """A step in doubt, of which people say that it be tried again; then it is denied."""
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.ask("a")
    run.begin("a")
    run.emit("FC-STEP-005", {"step_id": "a", "attempt": 1})
    run.gate("g1", gate_type="in_doubt", step_id="a")
    run.answer(role=None)
    run.retry("a")
    run.ask("a", "deny")
    run.end("failed", error_hash="d" * 64)
    return run


def failing() -> Script:
    """A managed step that fails for good."""
    run = Forge().run("r1", definition=DOUBTFUL).start()
    run.ask("a")
    run.begin("a")
    run.failed("a")
    run.end("failed", current_step="a", step_index=0)
    return run


def cancelled() -> Script:
    run = Forge().run("r1", definition=PLAIN).start()
    run.step("a")
    run.decide("run.cancel", actor="officer")
    run.end("cancelled", actor="officer", reason="enough")
    return run


def given_up() -> Script:
    """A client gives up a run, and the step that it was at."""
    run = Forge().run("r1").start()
    run.ask("a")
    run.begin("a")
    run.decide("run.fail")
    run.failed("a")
    run.end("failed")
    return run


def expired() -> Script:
    """Nobody answers."""
    run = Forge().run("r1").start()
    run.gate("g1", expires_at=expiry(run.forge, 1), gate_type="timeout")
    run.change("paused")
    run.expire()
    run.end("failed")
    return run


def rejected() -> Script:
    """Somebody says no at a step."""
    run = Forge().run("r1").start()
    run.ask("a", "flag", flags=[FLAG])
    run.ask_people("a")
    run.answer(approve=False)
    run.end("failed")
    return run


def denied() -> Script:
    """Denied at birth."""
    run = Forge().run("r1", birth={"effect": "deny"})
    run.end("failed")
    return run


def tightened() -> Script:
    """Another bundle than the run's is more restrictive."""
    run = Forge().run("r1").start()
    other = {"policy_id": "house", "policy_hash": "a" * 64}
    for step_id, effect in (("a", "allow"), ("b", "flag"), ("c", "deny")):
        by = other | {"decision": "allow", "rules_triggered": ["r"]}
        flags = [FLAG] if effect == "flag" else None
        run.ask(step_id, effect, flags=flags, tightened=by)
        if effect == "allow":
            run.begin(step_id)
            run.done(step_id)
    run.decide("run.fail", tightened=other | {"decision": "allow"})
    run.end("failed")
    return run


def open_run() -> Script:
    """A run that has not ended."""
    run = Forge().run("r1").start()
    run.ask("a")
    run.begin("a")
    return run


LAWFUL: dict[str, Callable[[], Script]] = {
    maker.__name__: maker
    for maker in (
        client,
        managed,
        sensitive,
        doubt,
        again,
        failing,
        cancelled,
        given_up,
        expired,
        rejected,
        denied,
        tightened,
        open_run,
    )
}
