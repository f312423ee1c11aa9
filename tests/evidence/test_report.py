"""The report tells a person what happened, and is never more than a text about it."""

import re
import unicodedata
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core_helpers import (
    Clock,
    approve,
    begin,
    core,
    flag,
    forbid,
    gate,
    open_gates,
    py,
    until,
)
from tests.core_steps import new_stage
from tests.evidence.packs_helpers import bench, built, long_run

from federation_core.errors import Forbidden
from federation_core.evidence.markdown import counted, plain, quoted, table
from federation_core.evidence.report_people import bypass_lines
from federation_core.evidence.report_run import run_lines
from federation_core.evidence.retelling import Told, lasted, moment, seconds_between
from federation_core.evidence.scan import RunScan
from federation_core.evidence.story import MOST_ATTEMPTS, MOST_EVENTFUL, MOST_GATES, MOST_REFUSALS
from federation_core.evidence.telling import tell
from federation_core.service import (
    AnswerGateRequest,
    BypassRequest,
    ChangeStatusRequest,
    CreateRunRequest,
    EraseRequest,
    RecordStepRequest,
    RequestGateRequest,
)
from federation_core.spine import events as e
from federation_core.spine.actor import Actor

AT = "2026-11-23T12:00:00.000000Z"
HOSTILE = [
    "# a heading",
    "a\n\n# a heading",
    "a\r\n| a | row |",
    "| a | row |",
    "a \\| b \\",
    "`` ` ``` a",
    "[a link](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "https://evil.example and www.evil.example and me@evil.example",
    "<script>alert(1)</script><!--",
    "&lt;b&gt; &#96;",
    "**bold** _it_ ~~no~~ $x$",
    "```\n# out of the fence\n```",
    "~~~\nout",
    "\u202egnp.exe\u2066\u200b\ufeff\x00\x1b[31m\x7f\u2028# a heading",
    "1. a list",
    "---",
    "@somebody #1",
    " ",
    "\ud800",
    "x" * 10_000,
]


_REORDERS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.fixture(autouse=True)
def _stage() -> None:
    new_stage()


@given(st.text() | st.sampled_from(HOSTILE), st.integers(2, 50))
def test_what_is_quoted_stays_one_code_span(text: str, limit: int) -> None:
    span = quoted(text, limit)
    if span == "–":
        assert not plain(text)
        return
    assert re.fullmatch(r"`[^`|\n\r]+`", span)
    inner = span[1:-1]
    assert len(inner) <= limit
    assert inner == plain(inner, limit)
    assert inner.strip() == inner
    inner.encode()
    for char in inner:
        assert unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"}, ascii(char)
        assert unicodedata.bidirectional(char) not in _REORDERS, ascii(char)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain words", "`plain words`"),
        ("a`b|c", "`a'b¦c`"),
        ("a\n\tb", "`a b`"),
        ("a\u202eb\x00", "`a�b�`"),
        ("é 漢 🙂 - a\\b", "`é 漢 🙂 - a\\b`"),
        ("", "–"),
        (None, "–"),
        (7, "`7`"),
        ("abcdef", "`abcd…`"),
    ],
)
def test_quoted(text: object, told: str) -> None:
    limit = 5 if text == "abcdef" else 120
    assert quoted(text, limit) == told


def test_a_table_has_as_many_cells_as_it_has_columns() -> None:
    lines = list(table(("a", "b"), [(quoted(text), 1) for text in HOSTILE]))
    assert len(lines) == len(HOSTILE) + 3
    assert {line.count("|") for line in lines[:-1]} == {3}


def skeleton(report: str) -> list[str]:
    """The structure of a Markdown text: its lines without what is quoted in them."""
    inside, found = False, []
    for line in report.split("\n"):
        if line.strip().startswith("```"):
            inside = not inside
        found.append("fenced" if inside else re.sub(r"`[^`]*`", "quoted", line))
    assert not inside
    return found


def headings(report: str) -> list[str]:
    return [line for line in skeleton(report) if line.startswith("#")]


async def external(folder: Path, words: str) -> str:
    """The report of a client's run in which every text of the client's is `words`."""
    async with core(folder, flag("risk", "context.input has risk"), clock=Clock()) as fc:
        alice = fc.call("alice")
        request = CreateRunRequest(workflow_id="outside", workflow_version=words, tags=[words])
        run_id = (await fc.runs.create(alice, request)).run.run_id
        await fc.runs.change_status(alice, run_id, _change("running"))
        for status in ("running", "failed"):
            step = RecordStepRequest(
                step_id="one", status=status, input={}, error={"type": words, "message": words}
            )
            await fc.steps.record(alice, run_id, step)
        asked = RequestGateRequest(step_id="one", gate_name=words, description=words)
        answer = await fc.gates.request(alice, run_id, asked)
        refuse = AnswerGateRequest(status="rejected", rejection_reason=words)
        await fc.gates.answer(fc.call("bob"), run_id, answer.gate_id, refuse)
        return (await built(fc, run_id)).report


def _change(status: Any) -> ChangeStatusRequest:
    return ChangeStatusRequest(status=status)


@pytest.mark.parametrize("words", HOSTILE[:-3], ids=range(len(HOSTILE) - 3))
async def test_nothing_from_outside_becomes_part_of_the_report(tmp_path: Path, words: str) -> None:
    harmless = await external(tmp_path / "a", "harmless")
    hostile = await external(tmp_path / "b", words)
    assert headings(hostile) == headings(harmless)
    told, meant = skeleton(hostile), skeleton(harmless)
    assert len(told) == len(meant)
    for line, expected in zip(told, meant, strict=True):
        assert line.count("|") == expected.count("|")
        assert not re.search(r"[<>\[\]]|evil|https?:", line)


async def test_a_person_finds_what_happened(tmp_path: Path) -> None:
    rules = (
        flag("large", 'context.input.name == "pay"', approvers="role:finance", quorum=2),
        forbid("never", 'context.input.name == "wipe"'),
    )
    async with core(tmp_path, *rules, clock=Clock()) as fc:
        run_id = await begin(fc, py("look"), py("pay"), py("wipe"))
        [asked] = await open_gates(fc, run_id)
        with pytest.raises(Forbidden):
            await approve(fc, asked, "mallory")
        await approve(fc, asked, "ann", roles=["finance"])
        await approve(fc, asked, "ben", roles=["finance", "other"])
        await until(fc, run_id)
        report = (await built(fc, run_id)).report
    assert headings(report) == [
        "# Evidence report",
        "## Summary",
        "## What happened",
        "## Steps",
        "## Gates: who was asked, and what they answered",
        "## What was refused",
        "## Policies that decided",
        "## Values that are not in this pack",
        "## What stands behind it",
        "## How to verify",
    ]
    for line in (
        "| started by | `starter` |",
        "| outcome | **failed** (`policy_denied`): ",
        "| steps | 3: 2 completed, 1 denied |",
        "| answers at gates | 2: 2 approved |",
        "| attempts refused | 1 |",
        "⚑ policy flags step pay [large]: people must approve",
        "✓ ann approves gate pay: large",
        "✗ refused: mallory attempted gate.resolve",
        "✗ policy denies step wipe [never]",
        "| flag → allow (`large`): `large forbids it` | `ann`, `ben` |",
        "| `wipe` | `ACT` | denied | – | – | deny (`never`): `never forbids it` | – |",
        "| 2 different people of: `role:finance` |",
        "| `pay: large` | `ann` | `finance` | **approved** | – |",
        "| `mallory` | `gate.resolve` | `not_an_approver` |",
        "**It proves nothing by itself**",
        "**No witness has cosigned it**",
        "python3 verify.py pack.zip --trust trust.txt",
    ):
        assert line in report, line


async def test_an_emergency_and_an_expiry_are_told_of(tmp_path: Path) -> None:
    clock = Clock()
    async with core(tmp_path, clock=clock) as fc:
        steps = gate("ask", "boss", expires="1h"), py("last")
        run_id = await begin(fc, *steps)
        [asked] = await open_gates(fc, run_id)
        bypass = BypassRequest(reason="the house is on fire")
        await fc.gates.bypass(fc.call("chief"), run_id, asked.gate_id, bypass)
        await until(fc, run_id)
        report = (await built(fc, run_id)).report
        late = await begin(fc, *steps, version="2.0.0")
        await open_gates(fc, late)
        clock.forward(3601)
        fc._parts.engine.wake(late)
        await until(fc, late)
        expired = (await built(fc, late)).report
    assert "! chief bypasses gate ask in an emergency: the house is on fire" in report
    assert "approves" not in report
    top = report[: report.index("## Summary")]
    assert "**⚠ 1 gate was bypassed in an emergency.**" in top
    assert f"| `{run_id}` | `ask` | `ask` | **`chief`** | `the house is on fire` | `boss` |" in top
    assert "| gates bypassed | **1**, told of at the top |" in report
    assert "| nobody; **bypassed** by `chief` |" in report
    assert "bypassed" not in expired
    assert "| `chief` | – | **emergency bypass** | `the house is on fire` |" in report
    assert "✗ gate ask expired: nobody answered in time" in expired
    assert "| `ask` | `GATE` | waiting for people when the run ended |" in expired
    assert "| answers at gates | 1: 1 expired |" in expired


async def test_what_was_flagged_and_bypassed_is_not_called_approved(tmp_path: Path) -> None:
    async with core(tmp_path, flag("large", quorum=2), clock=Clock()) as fc:
        run_id = await begin(fc, py("pay"))
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked, "ann")
        bypass = BypassRequest(reason="the house is on fire")
        await fc.gates.bypass(fc.call("chief"), run_id, asked.gate_id, bypass)
        await until(fc, run_id)
        pack = await built(fc, run_id)
        trail = await fc.runs.logs(fc.call("auditor"), run_id)
    assert "! policy allows step pay, as its gate was bypassed" in pack.report
    assert "as people approved it" not in pack.report
    assert "| `ann`; **bypassed** by `chief` |" in pack.report
    events = pack.events(f"run:{run_id}")
    at = [event["type"] for event in events].index("FC-GATE-005")
    why = "gate pay: large was bypassed, and no gate is open any more"
    assert events[at + 1]["data"]["reason"] == why
    assert not any("every gate has passed" in entry.message for entry in trail)


async def test_bypasses_of_many_runs_stand_at_the_top(tmp_path: Path) -> None:
    async with core(tmp_path, clock=Clock()) as fc:
        runs = [await begin(fc, gate("ask", "boss"), version=f"{n}.0.0") for n in (1, 2, 3)]
        for n, run_id in enumerate(runs):
            [asked] = await open_gates(fc, run_id)
            if n == 0:
                await approve(fc, asked, "boss")
            else:
                bypass = BypassRequest(reason=f"emergency number {n}")
                await fc.gates.bypass(fc.call("chief"), run_id, asked.gate_id, bypass)
            await until(fc, run_id)
        report = (await built(fc, *runs)).report
    top = report[: report.index("## The 3 runs")]
    assert "**⚠ 2 gates were bypassed in an emergency.**" in top
    assert runs[0] not in top
    for n, run_id in enumerate(runs[1:], 1):
        assert f"| `{run_id}` | `ask` | `ask` | **`chief`** | `emergency number {n}` |" in top


async def test_each_attempt_has_its_own_times(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        step = py("a", call="fail", retry={"max_attempts": 3, "backoff": "1ms"})
        run_id = await begin(fc, step, py("b"), py("c"))
        await until(fc, run_id)
        pack = await built(fc, run_id)
    started = [
        moment(event["at"])
        for event in pack.events(f"run:{run_id}")
        if event["type"] == "FC-STEP-001"
    ]
    took = [
        lasted(event["data"]["duration_ms"] / 1000)
        for event in pack.events(f"run:{run_id}")
        if event["type"] == "FC-STEP-003"
    ]
    assert len(started) == len(took) == 3
    for n in range(3):
        told = rf"\| 1 \| `a` \| `ACT` \| failed, attempt {n + 1}: `\w+` \|"
        assert re.search(rf"{told} {started[n]} \| {took[n]} \|", pack.report), n
    for name in ("b", "c"):
        assert f"| – | `{name}` | `ACT` | not reached | – | – | – | – |" in pack.report
    assert "| steps | 3: 1 failed, 2 not reached |" in pack.report


async def test_a_step_that_ended_well_at_last_shows_what_failed_before(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        alice = fc.call("alice")
        run_id = (await fc.runs.create(alice, CreateRunRequest(workflow_id="out"))).run.run_id
        await fc.runs.change_status(alice, run_id, _change("running"))
        error = {"type": "Late", "message": "too late"}
        for status in ("running", "failed", "running", "completed"):
            step = RecordStepRequest(
                step_id="one",
                status=status,
                input={},
                error=error if status == "failed" else None,
            )
            await fc.steps.record(alice, run_id, step)
        report = (await built(fc, run_id)).report
    assert "| 1 | `one` | `ACT` | failed, attempt 1: `Reported` |" in report
    assert "| 1 | `one` | `ACT` | completed, attempt 2 |" in report
    assert "| steps | 1: 1 completed |" in report
    assert "not reached" not in report  # a client's run has no definition


async def test_who_cancelled_is_told_and_what_was_not_reached(tmp_path: Path) -> None:
    async with core(tmp_path, clock=Clock()) as fc:
        run_id = await begin(fc, gate("ask", "boss"), py("last"))
        await open_gates(fc, run_id)
        under_way = (await built(fc, run_id)).report
        cancel = ChangeStatusRequest(status="cancelled", reason="no need")
        await fc.runs.change_status(fc.call("olga"), run_id, cancel)
        report = (await built(fc, run_id)).report
    assert "| – | `last` | `ACT` | not reached yet |" in under_way
    assert "| – | `last` | `ACT` | not reached |" in report
    assert "■ the run ends: cancelled by olga" in report
    assert "| outcome | **cancelled** by `olga`: `no need` |" in report
    assert "| pending when the run ended |" in report


async def test_only_the_erasures_of_the_packs_runs_are_told_of(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        runs = [await begin(fc, py("a"), version=f"{n}.0.0") for n in (1, 2)]
        for n, run_id in enumerate(runs):
            await until(fc, run_id)
            erase = EraseRequest(run_id=run_id, reason=f"request number {n}")
            await fc.erasures.erase(fc.call("officer"), erase)
        pack = await built(fc, runs[1])
    told = [event["data"]["reason"] for event in pack.events("log:default")]
    assert told == ["request number 0", "request number 1"]  # the chain has no hole
    assert "`request number 1`" in pack.report
    assert "request number 0" not in pack.report
    assert runs[0] not in pack.report


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 steps were"), (1, "1 step was"), (1_000, "1,000 steps were")]
)
def test_counted(count: int, told: str) -> None:
    assert counted(count, "step was", "steps were") == told


async def test_a_long_run_has_a_short_report(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await long_run(b.ledger, "r", 500, tags=("<b>", "|"), actor=Actor("al", via="gate|way"))
        report = (await b.pack("r")).report
    assert "| steps | 500: 500 completed |" in report
    assert "500 uneventful steps are left out: allowed, begun once, completed." in report
    assert "What happened" not in report
    assert "`al` via `gate¦way`" in report
    assert len(report) < 6_000


async def test_a_fan_out_is_counted_and_the_report_stays_short(tmp_path: Path) -> None:
    step = py("f", with_={"name": "${item}"}, foreach="input.list", concurrency=50)
    names = [f"item {n}" for n in range(200)]
    policy = flag("odd", 'context.input.name == "item 7"')
    async with core(tmp_path, policy) as fc:
        run_id = await begin(fc, step, py("z"), given={"list": names})
        [asked] = await open_gates(fc, run_id)
        await approve(fc, asked)
        assert (await until(fc, run_id)).run.status == "completed"
        report = (await built(fc, run_id)).report
    assert "| `f` | 200 | 200 | 2" in report
    assert "200 uneventful steps are left out" in report
    assert "| `f[7]` | `ACT` | completed |" in report
    assert "`f[8]`" not in report
    assert len(report) < 7_000


async def test_a_short_fan_out_is_told_of_item_by_item(tmp_path: Path) -> None:
    step = py("f", with_={"name": "${item}"}, foreach="input.list")
    async with core(tmp_path) as fc:
        run_id = await begin(fc, step, given={"list": ["a", "b"]})
        await until(fc, run_id)
        report = (await built(fc, run_id)).report
    assert "⇉ step f is done for each of 2 items" in report
    assert "| `f[1]` | `ACT` | completed |" in report


async def test_many_runs_are_told_of_in_one_line_each(tmp_path: Path) -> None:
    names = [f"r{n:03}" for n in range(60)]
    async with bench(tmp_path) as b:
        for name in names:
            await long_run(b.ledger, name, 1)
        report = (await b.pack(*names)).report
    assert headings(report)[:4] == [
        "# Evidence report",
        "## The 60 runs",
        "## Run quoted",
        "### Summary",
    ]
    assert headings(report).count("## Run quoted") == 50
    assert "The first 50 are told of below." in report
    assert all(f"| `{name}` |" in report for name in names)


def happened(*data: e.RunEventData) -> Iterator[Told]:
    born = e.RunCreated(
        run_id="r",
        workflow_id="w",
        workflow_version="1",
        execution="external",
        policy_mode="loose",
        input_hash="a",
        metadata_hash="b",
        correlation_id="c",
    )
    for one in (born, *data):
        yield Told(AT, "t", "alice", None, one)


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_becomes_part_of_the_report(words: str) -> None:
    """Names that the server would refuse, too: the events of an older one may have them."""
    told, meant = skeleton(names_told(words)), skeleton(names_told("harmless"))
    assert len(told) == len(meant)
    for line, expected in zip(told, meant, strict=True):
        assert line.count("|") == expected.count("|")
        assert line.startswith("#") == expected.startswith("#")
        assert not re.search(r"[<>\[\]]|evil|https?:", line)


def names_told(words: str) -> str:
    answer: dict[str, Any] = {"gate_id": "g", "gate_name": words, "receipt": {}, "receipt_hash": ""}
    data: list[e.RunEventData] = [
        decision(words, "flag"),
        e.GateRequested(
            gate_id="g",
            step_id=words,
            gate_type="policy_check",
            gate_name=words,
            required_approvers=(words, f"role:{words}"),
            action=words,
            covers=(words,),
        ),
        e.GateBypassed(reason=words, **answer),
        decision(words, "deny"),
        e.StepSkipped(step_id=f"other {words}", reason=words),
        e.AttemptRefused(attempted=words, refusal_code=words, reason=words),
    ]
    story = tell(msgspec.structs.replace(t, actor=words, via=words) for t in happened(*data))
    scan = RunScan("run:r", array("q"), run_id="r")
    top = bypass_lines([(words, bypass) for bypass in story.bypasses], story.bypasses_seen)
    return "\n".join([*top, *run_lines(scan, story, depth=2)])


def decision(words: str, effect: Literal["flag", "deny"]) -> e.PolicyEvaluated:
    return e.PolicyEvaluated(
        action="step.act",
        step_id=words,
        step_type=words,
        decision=effect,
        reason=words,
        policy_id=words,
        policy_hash="h",
        tier=words,
        rules_triggered=(words, words),
        request_hash="h",
        duration_us=1,
    )


def skipped(count: int) -> list[e.RunEventData]:
    return [e.StepSkipped(step_id=f"s{n}", reason="false") for n in range(count)]


def test_lists_end_and_say_how_much_is_left_out() -> None:
    gates = [
        e.GateRequested(gate_id=f"g{n}", gate_type="human_approval", gate_name="g")
        for n in range(MOST_GATES + 7)
    ]
    refused = [
        e.AttemptRefused(attempted="a", refusal_code="b", reason="c")
        for _ in range(MOST_REFUSALS + 3)
    ]
    bypassed = [
        e.GateBypassed(gate_id=g.gate_id, gate_name="g", reason="r", receipt={}, receipt_hash="")
        for g in gates
    ]
    story = tell(happened(*skipped(MOST_EVENTFUL + 50), *gates, *bypassed, *refused))
    assert (len(story.steps), story.eventful_dropped) == (MOST_EVENTFUL, 50)
    assert sum(story.by_status.values()) == story.steps_seen == MOST_EVENTFUL + 50
    assert (len(story.gates), story.gates_seen) == (MOST_GATES, MOST_GATES + 7)
    assert (len(story.bypasses), story.bypasses_seen) == (MOST_GATES, MOST_GATES + 7)
    assert (len(story.refusals), story.refusals_seen) == (MOST_REFUSALS, MOST_REFUSALS + 3)
    assert list(story.timeline.lines()) == []


def test_of_a_step_that_fails_for_ever_the_first_attempts_are_listed() -> None:
    failed = e.StepFailed(
        step_id="s",
        attempt=1,
        error_type="E",
        duration_ms=1,
        receipt={},
        receipt_hash="",
    )
    started = e.StepStarted(
        step_id="s",
        step_type="ACT",
        step_index=0,
        attempt=1,
        input_hash="h",
        decision_hash="h",
        idempotency_key="k",
    )
    tried: list[e.RunEventData] = [started, failed]
    story = tell(happened(*tried * (MOST_ATTEMPTS + 6)))
    [step] = story.steps
    assert (len(step.earlier), step.earlier_seen) == (MOST_ATTEMPTS, MOST_ATTEMPTS + 5)
    text = "\n".join(run_lines(RunScan("run:r", array("q"), run_id="r"), story, depth=2))
    assert "5 further attempts that did not succeed are left out for their number." in text


def test_steps_that_were_not_reached_are_counted_beyond_a_page() -> None:
    defined = {f"s{n}": "ACT" for n in range(MOST_EVENTFUL + 3)}
    story = tell(happened(*skipped(2)), defined=defined)
    text = "\n".join(run_lines(RunScan("run:r", array("q"), run_id="r"), story, depth=2))
    assert text.count("| not reached yet |") == MOST_EVENTFUL
    assert "1 further step that was not reached is left out." in text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.0034, "3 ms"),
        (1.24, "1.2 s"),
        (59.9, "59.9 s"),
        (303, "5 min 3 s"),
        (7_500, "2 h 5 min"),
        (3 * 86_400 + 4 * 3_600, "3 d 4 h"),
    ],
)
def test_lasted(seconds: float | None, told: str) -> None:
    assert lasted(seconds) == told


def test_times() -> None:
    assert moment("2026-11-23T12:00:00.123456Z") == "2026-11-23 12:00:00.123"
    assert moment(None) == "–"
    assert seconds_between(AT, "2026-11-24T12:00:01.500000Z") == 86_401.5
