"""Two nodes on one PostgreSQL database: each sees what the other does; nothing happens twice."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    bundle,
    codes,
    flag,
    forbid,
    gate,
    open_gates,
    py,
    register,
    start,
    states,
    until,
    workflow,
)
from tests.core_steps import Stage
from tests.log_helpers import Warnings
from tests.nodes.nodes_helpers import KEY, node, pair
from tests.schedule_helpers import add
from tests.stores import postgres

from federation_core.errors import (
    Conflict,
    FederationError,
    Forbidden,
    IntegrityError,
    LedgerUnavailable,
    SettingsError,
)
from federation_core.ledger import Ledger, queries
from federation_core.ledger.node import Node
from federation_core.ledger.writer import Writer
from federation_core.service import ChangeStatusRequest, FederationCore
from federation_core.service.schedule_views import schedule_values


async def test_what_one_node_does_the_other_sees(tmp_path: Path, url: str, stage: Stage) -> None:
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, py("one"), py("two"))
        answer = await until(b, run_id)
        assert answer.run.status == "completed"
        assert stage.names == ["one", "two"]
        assert [e.seq for e in answer.logs] == list(range(len(answer.logs)))


async def test_an_event_follows_on_the_other_node(tmp_path: Path, url: str, stage: Stage) -> None:
    """Watching is prompt: it does not wait for a look at the log."""
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, py("one", "hold"))

        async def follow() -> list[str]:
            entries = b.runs.follow(b.call("watcher"), run_id)
            return [entry.event_type async for entry in entries]

        following = asyncio.create_task(follow())
        await stage.seen("one began")
        stage.go("one may end")
        async with asyncio.timeout(20):
            seen = await following
        assert seen[0] == "FC-RUN-001"
        assert seen[-1] == "FC-RUN-003"


async def test_a_gate_is_answered_on_the_other_node(tmp_path: Path, url: str, stage: Stage) -> None:
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, gate("ask", "approver"), py("then"))
        [asked] = await open_gates(b, run_id)
        await approve(b, asked)
        assert (await until(a, run_id)).run.status == "completed"
        assert stage.names == ["then"]


async def test_a_cancellation_reaches_the_node_that_executes(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, py("long", "hold"), py("never"))
        await stage.seen("long began")
        request = ChangeStatusRequest(status="cancelled", reason="enough")
        await b.runs.change_status(b.call("operator"), run_id, request)
        await stage.seen("long cut off")
        assert (await until(a, run_id)).run.status == "cancelled"
        assert stage.names == []


async def test_a_step_that_a_living_node_executes_is_left_to_it(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    """Both drive the run; the one that does not execute the step neither repeats nor doubts it."""
    async with pair(tmp_path, url) as (a, b):
        run_id = await begin(a, py("long", "hold", idempotent=True), py("then"))
        await stage.seen("long began")
        for _ in range(3):
            b._engine.wake(run_id)
            while b.driving:
                await asyncio.sleep(0.01)
        stage.go("long may end")
        answer = await until(b, run_id)
        assert stage.names == ["long", "then"]
        assert codes(answer.logs).count("FC-STEP-001") == 2
        assert "FC-STEP-005" not in codes(answer.logs)


async def test_runs_that_both_nodes_drive_have_each_effect_once(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(*(py(f"s{i}") for i in range(4))))
        runs = [await start(a) for _ in range(10)]
        for run_id in runs:
            b._engine.wake(run_id)
        for run_id in runs:
            assert (await until(b, run_id)).run.status == "completed"
        assert len(stage.effects) == len(set(stage.effects)) == 40


async def test_a_bundle_that_one_node_activates_decides_on_the_other_from_the_next_decision_on(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(py("one")))
        for number in range(5):
            stricter = bundle(
                forbid("no", "true" if number % 2 else "false"), version=f"2.{number}.0"
            )
            await b.policies.activate(b.call("owner"), stricter)
            answer = await until(a, await start(a))
            assert states(answer)["one"] == ("denied" if number % 2 else "completed"), number


async def test_a_node_that_was_not_told_of_a_bundle_finds_out_when_it_decides(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(py("one")))
        _deafen(b)
        await a.policies.activate(a.call("owner"), bundle(forbid("no"), version="2.0.0"))
        answer = await until(b, await start(b))
        assert states(answer)["one"] == "denied"


def _deafen(fc: FederationCore) -> None:
    """What other nodes announce is not heard any more."""
    tail = fc._parts.ledger._tail
    assert tail is not None
    tail.join()


async def test_of_two_bundles_activated_on_two_nodes_the_first_decides_about_the_second(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    """Also where the second node was not told of the first."""
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(py("one")))
        _deafen(b)
        lax, strict = bundle(version="2.0.0"), bundle(version="3.0.0")
        async with asyncio.timeout(10):
            await a.policies.activate(a.call("owner"), lax)
            await b.policies.activate(b.call("owner"), strict)
        known = await b.policies.history(b.call("owner"))
        assert [activation.version for activation in known][-2:] == ["2.0.0", "3.0.0"]
        assert (await until(b, await start(b))).run.status == "completed"
        shut = bundle(forbid("shut", action="policy.activate"), version="4.0.0")
        async with asyncio.timeout(10):
            await a.policies.activate(a.call("owner"), shut)
            with pytest.raises(Forbidden):
                await b.policies.activate(b.call("owner"), lax)


@pytest.mark.parametrize("again", [False, True], ids=["on the other node", "after a restart"])
async def test_a_refused_activation_in_a_tenant_without_a_bundle_leaves_it_usable(
    tmp_path: Path, url: str, stage: Stage, again: bool
) -> None:
    """Its stream has events, and no activation."""
    policy = forbid("shut", action="policy.activate")
    async with pair(tmp_path, url, policy) as (a, b):
        with pytest.raises(Forbidden):
            await a.policies.activate(a.call("dev", tenant="t2"), bundle(version="2.0.0"))
        if not again:
            async with asyncio.timeout(10):
                await register(b, workflow(py("one")), tenant="t2")
    if again:
        async with pair(tmp_path, url, policy) as (a, b), asyncio.timeout(10):
            await register(b, workflow(py("one")), tenant="t2")


async def test_a_registration_is_decided_by_the_bundle_that_another_node_activated(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    """And not stored under the one by which this node had allowed it."""
    async with pair(tmp_path, url) as (a, b):
        _deafen(b)
        shut = bundle(forbid("shut", action="workflow.register"), version="2.0.0")
        await a.policies.activate(a.call("owner"), shut)
        with pytest.raises(Forbidden):
            await register(b, workflow(py("one")))


async def test_a_bundle_that_is_taken_over_between_a_decision_and_its_append_decides(
    tmp_path: Path, url: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path, url) as (a, b):
        _deafen(b)
        shut = bundle(forbid("shut", action="workflow.register"), version="2.0.0")
        await a.policies.activate(a.call("owner"), shut)
        read, taken = Ledger.read, list[str]()

        async def late(self: Ledger, query: Any, *args: Any, **keys: Any) -> Any:
            if query is queries.head and str(args[0]).startswith("workflow:") and not taken:
                taken.append("over")
                await b.policies._take("policy:default")
            return await read(self, query, *args, **keys)

        monkeypatch.setattr(Ledger, "read", late)
        with pytest.raises(Forbidden):
            await register(b, workflow(py("one")))
        assert taken


async def test_a_schedule_is_added_under_the_bundle_that_decides_when_it_is_stored(
    tmp_path: Path, url: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(py("one")))
        _deafen(b)
        shut = bundle(forbid("shut", action="run.create"), version="2.0.0")
        await a.policies.activate(a.call("owner"), shut)
        read, taken = Ledger.read, list[str]()

        async def late(self: Ledger, query: Any, *args: Any, **keys: Any) -> Any:
            if query is schedule_values and not taken:
                taken.append("over")
                await b.policies._take("policy:default")
            return await read(self, query, *args, **keys)

        monkeypatch.setattr(Ledger, "read", late)
        with pytest.raises(Forbidden):
            await add(b)
        assert taken


async def test_a_node_is_ready_though_it_was_not_told_of_a_bundle(tmp_path: Path, url: str) -> None:
    """What decides nothing rests on no bundle."""
    async with pair(tmp_path, url) as (a, b):
        _deafen(b)
        await a.policies.activate(a.call("owner"), bundle(version="2.0.0"))
        await b.check()


async def test_a_checkpoint_that_another_node_signed_is_news(tmp_path: Path, url: str) -> None:
    """To whoever waits for one; and its cosignatures are shown by both."""
    async with pair(tmp_path, url) as (a, b):
        signers = [fc.log._signer for fc in (a, b)]
        before = await signers[0].sign()
        assert before is not None
        waiting = asyncio.create_task(signers[0].wait_newer(before.size))
        await register(b, workflow(py("one")))
        newest = await signers[1].sign()
        assert newest is not None
        await signers[0].sign()
        async with asyncio.timeout(10):
            await waiting
        cosigned = msgspec.structs.replace(newest, cosignatures="more\n")
        await signers[1].cosigned(cosigned)
        texts = {await fc.log.checkpoint(fc.call("auditor")) for fc in (a, b)}
        assert texts == {cosigned.text}
        await signers[1].cosigned(newest)


async def test_a_node_that_never_heard_how_its_joining_ended_joins_all_the_same(
    tmp_path: Path, url: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks between the commit and its answer."""
    async with node(tmp_path / "a", url) as fc:
        await register(fc, workflow(py("one")))
        ledger = fc._parts.ledger
        settle, lost = Writer._settle, list[str]()

        def lose(self: Writer) -> None:
            if not lost:
                lost.append("the answer")
                raise LedgerUnavailable("The connection broke.", again=True)
            settle(self)

        ledger._writer.node = Node()
        monkeypatch.setattr(Writer, "_settle", lose)
        await ledger._beat()
        assert lost
        await ledger._beat()
        assert (await until(fc, await start(fc))).run.status == "completed"


async def test_a_heart_goes_on_whatever_a_beat_meets(
    tmp_path: Path, url: str, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(tmp_path / "a", url, lease_s=0.2) as fc:
        ledger = fc._parts.ledger
        beat, met = Ledger._beat, list[str]()

        async def bad(self: Ledger) -> None:
            if not met:
                met.append("damage")
                raise IntegrityError("The database is damaged: it says.")
            await beat(self)
            met.append("nothing")

        monkeypatch.setattr(Ledger, "_beat", bad)
        await warnings.seen("lease_not_renewed")
        async with asyncio.timeout(10):
            while met[-1] != "nothing":
                await asyncio.sleep(0.01)
        assert ledger._heart is not None
        assert not ledger._heart.done()


async def test_an_announcement_that_no_node_made_does_not_deafen(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(py("one", "hold")))
        postgres().execute("NOTIFY fedcore, 'x'", database=url.rpartition("/")[2])
        run_id = await start(a)
        await stage.seen("one began")
        await b.runs.change_status(
            b.call("operator"), run_id, ChangeStatusRequest(status="cancelled")
        )
        await stage.seen("one cut off")
        assert (await until(a, run_id)).run.status == "cancelled"


async def test_one_version_with_two_contents_is_registered_once(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    async with pair(tmp_path, url) as (a, b):
        one, other = workflow(py("one")), workflow(py("other"))
        done = await asyncio.gather(register(a, one), register(b, other), return_exceptions=True)
        [refused] = [e for e in done if e is not None]
        assert isinstance(refused, Conflict)
        assert refused.error_code == "version_exists"
        await register(a, one if done[0] is None else other)


async def test_one_gate_takes_each_answer_once(tmp_path: Path, url: str, stage: Stage) -> None:
    async with pair(tmp_path, url, flag("two", approvers="x,y", quorum=2)) as (a, b):
        run_id = await begin(a, py("one"))
        [asked] = await open_gates(a, run_id)
        answers = [(a, "x"), (b, "x"), (b, "y"), (a, "y")]
        done = await asyncio.gather(
            *(approve(fc, asked, actor) for fc, actor in answers), return_exceptions=True
        )
        assert sum(isinstance(d, FederationError) for d in done) == 2
        answer = await until(b, run_id)
        assert codes(answer.logs).count("FC-GATE-002") == 2
        assert stage.names == ["one"]


async def test_both_nodes_sign_one_log(tmp_path: Path, url: str, stage: Stage) -> None:
    async with pair(tmp_path, url) as (a, b):
        await register(a, workflow(py("one")))
        for fc in (a, b, a, b):
            await until(fc, await start(fc))
            signed = await fc._parts.ledger.read(queries.setting, "log")
            assert signed == fc._parts.ledger.log
        newest = [(await fc.log.checkpoint(fc.call("auditor"))) for fc in (a, b)]
        assert all(text.startswith(f"{a._parts.ledger.log}\n") for text in newest)


async def test_a_node_with_another_key_is_refused(tmp_path: Path, url: str) -> None:
    async with node(tmp_path / "a", url):
        with pytest.raises(SettingsError, match="is not the key of this log"):
            async with node(tmp_path / "b", url, signing_key=b"\x08" * 32):
                pass
    assert KEY != b"\x08" * 32


async def test_a_node_that_goes_hands_over(tmp_path: Path, url: str, stage: Stage) -> None:
    """What it was to do is done by the other one, without anybody waiting for a lease."""
    async with node(tmp_path / "b", url) as b:
        async with node(tmp_path / "a", url) as a:
            await register(a, workflow(py("one"), py("two", retry={"max_attempts": 2})))
            run_id = await _create_unwoken(a)
        assert (await until(b, run_id)).run.status == "completed"
    assert stage.names == ["one", "two"]


async def test_a_node_whose_clock_is_slow_takes_over_too(
    tmp_path: Path, url: str, stage: Stage
) -> None:
    """By its clock nothing of what the other one left is due for another hour."""
    fast = Clock()
    fast.forward(3_600)
    async with node(tmp_path / "b", url, clock=Clock()) as b:
        async with node(tmp_path / "a", url, clock=fast) as a:
            await register(a, workflow(py("one")))
            run_id = await _create_unwoken(a)
        async with asyncio.timeout(10):
            assert (await until(b, run_id)).run.status == "completed"
    assert stage.names == ["one"]


async def _create_unwoken(fc: FederationCore) -> str:
    """A run that its node is told to drive no more."""
    fc._engine._closing = True
    return await start(fc)
