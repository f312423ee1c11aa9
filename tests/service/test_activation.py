"""Which bundle decides: the active one also decides about the next."""

import asyncio
from pathlib import Path

import pytest
from tests.core_helpers import (
    begin,
    bundle,
    core,
    forbid,
    gate,
    open_gates,
    py,
    resume,
    start,
    states,
    until,
)
from tests.core_steps import Stage
from tests.ledger_helpers import cut_off

from federation_core.errors import Forbidden, InvalidInput, SettingsError
from federation_core.ledger import queries
from federation_core.service import CreateRunRequest, FederationCore
from federation_core.service.policies import Activation

LOCKED = forbid("locked", action="policy.activate")
CLOSED = forbid("closed", action="run.create")
NOT_B = forbid("not-b", 'context.input.name == "b"')


async def activate(
    fc: FederationCore, *policies: str, version: str, actor: str = "x"
) -> Activation:
    return await fc.policies.activate(fc.call(actor), bundle(*policies, version=version))


async def active(fc: FederationCore) -> str:
    [found] = [a for a in await fc.policies.history(fc.call("x")) if a.active]
    return found.version


async def is_open(fc: FederationCore) -> bool:
    created = await fc.runs.create(fc.call("x"), CreateRunRequest(workflow_id="outside"))
    return created.run.status == "pending"


async def test_a_bundle_decides_although_who_activated_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with core(tmp_path) as fc:
        await cut_off(monkeypatch, activate(fc, CLOSED, version="2.0.0"))
        async with asyncio.timeout(10):
            while await active(fc) != "2.0.0":
                await asyncio.sleep(0.01)
            while fc.policies._under_way:
                await asyncio.sleep(0.01)
        assert not await is_open(fc)


async def test_the_last_bundle_decides_from_the_next_decision_on(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a"), gate("ask"), py("b"))
        [asked] = await open_gates(fc, run_id)
        made = await activate(fc, NOT_B, version="2.0.0")
        assert (made.version, made.source, made.activated_by, made.active) == (
            "2.0.0",
            "api",
            "x",
            True,
        )
        await resume(fc, asked, {})
        answer = await until(fc, run_id)
        assert states(answer)["b"] == "denied"
        history = await fc.policies.history(fc.call("x"))
        assert [(a.version, a.source, a.active) for a in history] == [
            ("1.0.0", "settings", False),
            ("2.0.0", "api", True),
        ]
    hashes = [e.details["policy_hash"] for e in answer.logs if e.event_type == "FC-POLICY-001"]
    assert hashes[0] == history[0].bundle_hash
    assert hashes[-1] == history[1].bundle_hash
    assert stage.names == ["a"]


async def test_a_bundle_can_forbid_its_own_replacement(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        await activate(fc, LOCKED, version="2.0.0")
        for _ in range(2):
            with pytest.raises(Forbidden, match="locked"):
                await activate(fc, version="3.0.0")
        assert await active(fc) == "2.0.0"
        bodies = await fc._parts.ledger.read(queries.bodies, "policy:default")
        assert sum(b'"type":"FC-AUTH-001"' in body for body in bodies) == 2


async def test_of_two_at_once_the_second_is_decided_by_the_first(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        outcomes = await asyncio.gather(
            activate(fc, LOCKED, version="2.0.0"),
            activate(fc, version="3.0.0"),
            return_exceptions=True,
        )
        assert [type(o) for o in outcomes] == [Activation, Forbidden]
        assert await active(fc) == "2.0.0"


async def test_in_strict_mode_it_takes_a_role(tmp_path: Path) -> None:
    async with FederationCore.open(tmp_path) as fc:  # the shipped strict bundle
        with pytest.raises(Forbidden):
            await activate(fc, version="2.0.0")
        admin = fc.call("ann", roles=["policy-admin"])
        made = await fc.policies.activate(admin, bundle(version="2.0.0"))
        assert made.activated_by == "ann"
        assert await active(fc) == "2.0.0"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"bundle.yaml": "id: x\nversion: 1.0.0\n"},
        {"policies.cedar": '@id("a") permit (principal, action, resource);'},
        bundle() | {"policies.cedar": "permit"},
        bundle() | {"policies.cedar": "permit (principal, action, resource);"},
        bundle() | {"../escape.cedar": ""},
        bundle() | {"bundle.yaml": "id: [\n"},
    ],
)
async def test_a_bundle_that_cannot_be_used_changes_nothing(
    tmp_path: Path, files: dict[str, str]
) -> None:
    async with core(tmp_path) as fc:
        with pytest.raises(InvalidInput) as caught:
            await fc.policies.activate(fc.call("x"), files)
        assert caught.value.error_code == "bundle_invalid"
        assert caught.value.errors
        assert await active(fc) == "1.0.0"
        assert await is_open(fc)


async def test_what_was_activated_is_active_after_a_restart(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        await activate(fc, CLOSED, version="2.0.0")
        assert not await is_open(fc)
    async with core(tmp_path) as fc:  # the settings say what they said before: nothing new
        assert await active(fc) == "2.0.0"
        assert not await is_open(fc)
        assert len(await fc.policies.history(fc.call("x"))) == 2
    async with core(tmp_path, NOT_B) as fc:  # they name another bundle now
        assert await is_open(fc)
        history = await fc.policies.history(fc.call("x"))
        assert [a.source for a in history] == ["settings", "api", "settings"]
        assert [a.activated_by for a in history] == ["system", "x", "system"]


async def test_a_bundle_of_the_settings_that_cannot_be_used_stops_the_start(
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError):
        async with core(tmp_path, "permit nonsense"):
            pass
    with pytest.raises(SettingsError):
        async with FederationCore.open(tmp_path, policy_dir=tmp_path / "missing"):
            pass
    async with core(tmp_path) as fc:
        assert await is_open(fc)


async def test_runs_under_way_are_decided_by_whatever_is_active(
    tmp_path: Path, stage: Stage
) -> None:
    """The bundle is exchanged while steps run: each decision names the bundle of its moment."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold"), py("b"))
        await stage.seen("a began")
        await activate(fc, NOT_B, version="2.0.0")
        stage.go("a may end")
        answer = await until(fc, run_id)
        assert answer.run.status == "failed"
        await activate(fc, version="3.0.0")
        stage.go("a may end")
        assert (await until(fc, await start(fc))).run.status == "completed"
    assert stage.names == ["a", "a", "b"]
