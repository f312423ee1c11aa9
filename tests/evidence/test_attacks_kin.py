"""An operator who holds the key lies about what runs are to one another.

Each run's own life is lawful, or nearly so; what finds the lie is another run in the same pack, or
the name that only the parent's step gives its child.
"""

import asyncio
import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from tests.core_helpers import Clock, core, forbid, gate, open_gates, py, register, start, until
from tests.core_helpers import workflow as text_of
from tests.core_steps import new_stage
from tests.evidence.attack_worlds import (
    Attacker,
    World,
    _folder,
    _read,
    assert_refused,
    assert_valid,
    packed,
    path_of,
)
from tests.evidence.pack_forge import Json, canonical, digest, leaf, repack, unpack
from tests.kin_helpers import cancel, child_of, ended, kid, register_kid, restart

from federation_core.evidence.verify import Life, Refusal, compare_restart, read_definition

OTHER = "f" * 64
NO = forbid("no", 'context.step_id == "bad" && !(context.tags.contains("good"))')
FAMILY = ("parent", "child", "given_up", "orphan", "old", "new", "stopped")


@cache
def family() -> World:
    """`parent` completed with its `child`; `given_up` was cancelled, and with it its `orphan`;
    `new` does `old` again; `stopped` is a run that somebody cancelled."""
    new_stage()
    return asyncio.run(_family())


async def _family() -> World:
    folder, runs = _folder(), dict[str, str]()
    async with core(folder, NO, clock=Clock()) as fc:
        await register_kid(fc, py("work", with_={"n": "${input.n}"}))
        await register_kid(fc, gate("ask"), name="waits")
        await register(fc, text_of(kid("sub", with_={"n": 1}), py("after")))
        runs["parent"] = await start(fc, tags=["good", "family"])
        runs["child"] = await child_of(fc, runs["parent"], "sub")
        await ended(fc, runs["parent"], runs["child"])
        await register(fc, text_of(kid("sub", "waits"), version="2.0.0"))
        runs["given_up"] = await start(fc, tags=["family"])
        runs["orphan"] = await child_of(fc, runs["given_up"], "sub")
        await open_gates(fc, runs["orphan"])
        await cancel(fc, runs["given_up"])
        await ended(fc, runs["given_up"], runs["orphan"])
        steps = (py("a"), py("skipped", when="false"), py("bad"), py("last"))
        await register(fc, text_of(*steps, version="3.0.0"))
        runs["old"] = await start(fc, tags=["family"])
        await until(fc, runs["old"])
        runs["new"] = await restart(fc, runs["old"], "bad", tags=["good", "family"])
        await until(fc, runs["new"])
        await register(fc, text_of(gate("ask"), version="4.0.0"))
        runs["stopped"] = await start(fc, tags=["family"])
        await open_gates(fc, runs["stopped"])
        await cancel(fc, runs["stopped"])
        packs = {name: await packed(fc, run_id) for name, run_id in runs.items()}
        made = await fc.evidence.pack_of_many(fc.call("auditor"), tag="family")
        with made.file as file:
            packs["family"] = file.read()
        trust = await fc.log.trust(fc.call("auditor"))
    return _read(folder, trust, packs, runs)


class Liar(Attacker):
    """Changes one run, and makes the pack of all of them anew."""

    def __init__(self, name: str) -> None:
        super().__init__(family(), name, holds_key=True)

    def of(self, name: str) -> "Liar":
        """The same lie so far; what follows is about another run."""
        other = copy.copy(self)
        other.name, other.run_id = name, family().runs[name]
        return other

    def together(self, *, bare: bool = False) -> bytes:
        """The pack of the whole family, without values where it is `bare`."""
        ids = sorted(family().runs.values())
        files = self.forge.files(runs=ids, payloads=False)
        kept = ("events/", "log/", "receipts/", "index.json")
        remade: dict[str, bytes | None] = {p: d for p, d in files.items() if p.startswith(kept)}
        pack = family().packs["family"]
        left_out = ("receipts/", "payloads/") if bare else ("receipts/",)
        gone = {p: None for p in unpack(pack) if p.startswith(left_out) and p not in remade}
        return repack(pack, {**gone, **remade})


def refused(liar: Attacker, name: str, line: int, code: str = "ILLEGAL_TRANSITION") -> None:
    assert isinstance(liar, Liar)
    found = path_of(family().runs[name])
    assert_refused(liar.together(), family().trust, code, found, line)


def test_the_family_is_valid_together_and_alone() -> None:
    assert_valid(family().packs["family"], family().trust)
    assert_valid(Liar("child").together(), family().trust)
    for name in FAMILY:
        assert_valid(family().packs[name], family().trust)
    assert len(assert_valid(family().packs["family"], family().trust).run_ids) == len(FAMILY)


def test_the_report_tells_of_kin() -> None:
    runs = family().runs
    told = {name: unpack(family().packs[name])["REPORT.md"].decode() for name in FAMILY}
    assert f"`{runs['child']}`" in told["parent"]
    assert f"`{runs['parent']}`" in told["child"]
    assert "executes step" in told["child"]
    assert f"`{runs['old']}`; 2 steps were carried over, and not done again" in told["new"]
    assert f"completed in run `{runs['old']}`, carried over" in told["new"]
    assert f"skipped in run `{runs['old']}`, carried over" in told["new"]


# children


def born(**facts: Any) -> Liar:
    """The child was born otherwise."""
    liar = Liar("child").change(1, **facts)
    assert isinstance(liar, Liar)
    return liar


@pytest.mark.parametrize(
    "facts",
    [
        {"parent_step": "after"},
        {"parent_attempt": 2},
        {"parent_run_id": "somebody-else"},
        {"restarted_from": "r"},
        {"execution": "external"},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_a_child_of_another_step(facts: Json) -> None:
    """Its name is that of one attempt of one step of one run; nothing else about it fits then."""
    refused(born(**facts), "child", 1)


@pytest.mark.parametrize(
    "facts",
    [
        {"metadata_hash": OTHER},
        {"correlation_id": "t:default|c:other"},
        {"tags": ["good"]},
        {"actor_kind": "person"},
        {"actor_roles": ["operator"]},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_a_child_that_began_otherwise_than_its_step_says(facts: Json) -> None:
    refused(born(**facts), "child", 1)


def test_a_child_with_another_input_than_its_step() -> None:
    """It was allowed with that one."""
    refused(_with_input(Liar("child")), "child", 1)


def _with_input(liar: Liar) -> Attacker:
    def edit(events: list[Json]) -> list[Json]:
        events[0]["data"]["input_hash"] = OTHER
        for event in events:
            if event["data"].get("action") in ("run.create", "run.start"):
                event["data"]["subject_hash"] = OTHER
        return events

    return liar.edit(edit)


def test_a_child_that_says_it_is_sensitive() -> None:
    """What it took has no salt then; where no values are there, its step says that it is not."""
    liar = born(sensitive=True)
    digest_of_input = liar.events[0]["data"]["input_hash"]
    path = f"payloads/{digest_of_input}.json"
    assert_refused(liar.together(), family().trust, "PAYLOAD_MISMATCH", path)
    found = path_of(family().runs["child"])
    bare = liar.together(bare=True)
    assert_refused(bare, family().trust, "ILLEGAL_TRANSITION", found, 1)


@pytest.mark.parametrize("who", [{"actor": "somebody"}, {"via": "another"}], ids=["actor", "via"])
def test_a_child_that_somebody_else_started(who: Json) -> None:
    def all_of_it(events: list[Json]) -> list[Json]:
        for event in events[:2] if "via" in who else events:
            event.update(who)
        return events

    refused(Liar("child").edit(all_of_it), "child", 1)


def test_a_loose_child_of_a_strict_run() -> None:
    refused(Liar("parent").change(1, policy_mode="strict"), "child", 1)


def test_a_step_that_starts_another_workflow_than_its_child_is_of() -> None:
    """Both definitions are there, and the child is of the other one."""
    liar = Liar("child")
    waits = Liar("orphan").events[0]["data"]["definition_hash"]

    def other(events: list[Json]) -> list[Json]:
        events[0]["data"] |= {"workflow_id": "waits", "definition_hash": waits}
        return [events[0], *events[1:4]]  # born, allowed, begun; not ended

    assert_refused(
        _told(liar.edit(other)),
        family().trust,
        "ILLEGAL_TRANSITION",
        path_of(family().runs["child"]),
        1,
    )


def _told(liar: Attacker) -> bytes:
    assert isinstance(liar, Liar)
    return liar.together()


def test_a_step_that_gives_another_output_than_its_child_gave() -> None:
    parent = Liar("parent")
    line = parent.line("FC-STEP-002", step_id="sub")
    refused(parent.change(line, output_hash=OTHER), "child", 1)


def test_a_step_that_completed_and_its_child_failed() -> None:
    child = Liar("child")
    last = child.line("FC-RUN-003")
    refused(child.change(last, new_status="failed", error_code="too_large"), "child", 1)


def test_a_step_that_names_another_child() -> None:
    parent = Liar("parent")
    line = parent.line("FC-STEP-001", step_id="sub")
    refused(parent.change(line, child_run_id=family().runs["orphan"]), "parent", line)


def test_a_step_of_work_that_names_a_child() -> None:
    parent = Liar("parent")
    line = parent.line("FC-STEP-001", step_id="after")
    refused(parent.change(line, child_run_id=family().runs["child"]), "parent", line)


def test_a_child_that_is_started_again() -> None:
    """It is found after a crash, and not started twice."""
    parent = Liar("parent")
    line = parent.line("FC-STEP-001", step_id="sub")
    again = copy.deepcopy(parent.events[line - 1])
    again["data"]["again"] = True
    refused(parent.insert(line + 1, again), "parent", line + 1)


def test_a_child_that_was_given_up_by_a_step_that_waits() -> None:
    given_up = Liar("given_up")
    line = given_up.line("FC-STEP-001", step_id="sub")
    liar = given_up.edit(lambda events: events[:line])
    pack = _told(liar)
    found = path_of(family().runs["orphan"])
    assert_refused(pack, family().trust, "ILLEGAL_TRANSITION", found, 1)


def test_a_run_that_was_given_up_and_was_nobodys_child() -> None:
    stopped = Liar("stopped")
    allow, end = stopped.line("FC-POLICY-001", action="run.cancel"), stopped.line("FC-RUN-003")
    who = stopped.events[0]["actor"]
    liar = stopped.change(end, error_code="parent_ended", actor=who, via="engine").drop(allow)
    refused(liar, "stopped", allow)


def test_a_child_that_somebody_gave_up_in_the_engines_name() -> None:
    orphan = Liar("orphan")
    end = orphan.line("FC-RUN-003")
    refused(orphan.change(end, actor="mallory"), "orphan", end)
    refused(orphan.change(end, via=None), "orphan", end)


# restarts

Change = Callable[[list[Json]], None]


def restarted(change: Change) -> Liar:
    def edit(events: list[Json]) -> list[Json]:
        change(events)
        return events

    liar = Liar("new").edit(edit)
    assert isinstance(liar, Liar)
    return liar


def test_steps_are_carried_into_a_run_that_is_no_restart() -> None:
    def change(events: list[Json]) -> None:
        del events[0]["data"]["restarted_from"]

    refused(restarted(change), "new", 2)


def test_a_step_is_carried_after_the_run_has_begun() -> None:
    """Everything before it is lawful."""
    new = Liar("new")
    late = copy.deepcopy(new.events[2])
    start_line = new.line("FC-RUN-002")
    late["at"] = new.events[start_line - 1]["at"]
    liar = new.drop(3).insert(start_line, late)
    refused(liar, "new", start_line)


def test_a_step_is_carried_without_those_that_it_needs() -> None:
    refused(Liar("new").drop(2), "new", 2)


def test_a_step_is_carried_that_the_workflow_has_not() -> None:
    def change(events: list[Json]) -> None:
        events[1]["data"]["step_id"] = events[1]["data"]["receipt"]["step_id"] = "nowhere"

    refused(restarted(change), "new", 2)


def test_a_step_is_carried_twice() -> None:
    new = Liar("new")
    refused(new.insert(3, new.events[1]), "new", 3)


def test_a_step_without_a_condition_is_carried_as_skipped() -> None:
    def change(events: list[Json]) -> None:
        told = events[1]["data"]
        events[1]["data"] = {
            "step_id": "a",
            "from_run": told["from_run"],
            "reason": "its condition is false",
        }

    refused(restarted(change), "new", 2)


@pytest.mark.parametrize("name", ["step_id", "run_id", "step_type", "status", "attempt", "v"])
def test_a_receipt_of_something_else_is_carried(name: str) -> None:
    def change(events: list[Json]) -> None:
        events[1]["data"]["receipt"][name] = 2 if name in ("attempt", "v") else "another"

    refused(restarted(change), "new", 2, "RECEIPT_MISMATCH")


@pytest.mark.parametrize("name", ["input_hash", "output_hash"])
def test_a_carried_step_has_other_values_than_its_receipt(name: str) -> None:
    new = Liar("new")
    line = new.line("FC-STEP-008")

    def change(events: list[Json]) -> None:
        events[line - 1]["data"][name] = OTHER

    refused(restarted(change), "new", 2, "RECEIPT_MISMATCH")


def test_a_carried_receipt_is_not_what_its_hash_says() -> None:
    def change(events: list[Json]) -> None:
        # Hashes that stand for another are replaced as events are linked anew: this one stays.
        events[1]["data"]["receipt"]["ended_at"] = "2026-11-23T11:00:00.000000Z"

    liar = restarted(change)
    [carried] = [e for e in liar.events if e["seq"] == 1]
    assert digest(canonical(carried["data"]["receipt"])) == carried["data"]["receipt_hash"]
    refused(liar, "new", 1)  # it fits in itself, and the old run's is another


def test_a_result_that_the_old_run_never_had_is_carried() -> None:
    """With a receipt that fits in itself. Alone such a pack is valid: whoever wants to know asks
    for the old run as well."""

    def change(events: list[Json]) -> None:
        told = events[1]["data"]
        told["output_hash"] = told["receipt"]["output_hash"] = OTHER

    liar = restarted(change)
    refused(liar, "new", 1)


def test_a_step_that_was_denied_in_the_old_run_is_carried() -> None:
    def change(events: list[Json]) -> None:
        fake = copy.deepcopy(events[1])
        fake["data"]["step_id"] = fake["data"]["receipt"]["step_id"] = "bad"
        fake["seq"] = -1
        about = [e for e in events if e["data"].get("step_id") == "bad"]
        for event in about:
            events.remove(event)
        events.insert(3, fake)

    refused(restarted(change), "new", 1)


@pytest.mark.parametrize("name", ["input_hash", "policy_mode"])
def test_a_restart_that_is_of_something_else(name: str) -> None:
    if name == "input_hash":
        refused(_with_input(Liar("new")), "new", 1)
        return
    old, new = (_life(liar) for liar in (Liar("old").change(1, policy_mode="strict"), Liar("new")))
    with pytest.raises(Refusal, match="not restarted as a loose one") as caught:
        compare_restart(new, old)
    assert (caught.value.code, caught.value.file) == ("ILLEGAL_TRANSITION", path_of(new.run_id))


def _life(liar: Attacker) -> Life:
    digest_of = liar.events[0]["data"]["definition_hash"]
    life = Life(read_definition(unpack(liar.pack)[f"workflow/{digest_of}/definition.json"]))
    for event in liar.events:
        life.see(event, leaf(canonical(event)))
    return life


@pytest.mark.parametrize("name", ["parent", "stopped"])
def test_a_restart_of_a_run_that_completed_or_was_of_another_workflow(name: str) -> None:
    refused(Liar("new").change(1, restarted_from=family().runs[name]), "new", 1)


def test_the_restart_of_a_run_that_has_not_ended() -> None:
    old = Liar("old")
    liar = old.edit(lambda events: events[:-1])
    pack = _told(liar)
    found = path_of(family().runs["new"])
    assert_refused(pack, family().trust, "ILLEGAL_TRANSITION", found, 1)


def test_what_speaks_of_kin_is_read_whole() -> None:
    """Members that say nothing, or nothing lawful, are refused where they stand."""
    for facts in ({"parent_attempt": 1}, {"parent_attempt": 0}, {"sensitive": False}):
        refused(born(**facts), "child", 1)
