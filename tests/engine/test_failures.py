"""What a failure says may quote any value: it is a payload, never in an event or a row, and once it
was erased it is nowhere, and everybody is told that it was."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, select
from tests.core_helpers import begin, core, idle, py, start, until
from tests.core_steps import Stage
from tests.kin_helpers import kid, register_kid, whole

from federation_core.errors import IntegrityError
from federation_core.evidence.verify import verify_pack
from federation_core.ledger import schema
from federation_core.ledger.said import ERASED, WITHHELD
from federation_core.service import (
    ChangeStatusRequest,
    CreateRunRequest,
    EraseRequest,
    FederationCore,
    RecordStepRequest,
)
from federation_core.service.views import RunAnswer
from federation_core.spine.envelope import decode
from federation_core.spine.events import RUN_EVENTS

CANARY = "plum-tree-4711"
FORMS = [
    CANARY,
    f'the number "{CANARY}" is bad,\nsays \N{LATIN SMALL LETTER E WITH ACUTE}\'s {{form}}: 17',
    CANARY * 200,
]
MISSING = "input.table[input.canary]"
SAID = "${input.canary}"

Steps = list[dict[str, Any]]


def expression(value: Any) -> dict[str, Any]:
    return {"id": "a", "type": "TRANSFORM", "run": "expression", "value": value}


def http(port: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/x"
    request = {"method": "POST", "url": url, "json": {"canary": SAID}}
    return {"id": "a", "type": "ACT", "run": "http", "request": request}


KINDS: dict[str, Callable[[int], tuple[Steps, dict[str, Any]]]] = {
    "python": lambda _: ([py("a", "fail", with_={"message": SAID})], {}),
    "python, retried": lambda _: (
        [py("a", "busy", with_={"message": SAID}, retry={"max_attempts": 3, "backoff": "1ms"})],
        {},
    ),
    "its type": lambda _: ([py("a", "fail_as", with_={"kind": SAID})], {}),
    "output": lambda _: ([py("a", "odd_key", with_={"key": SAID})], {}),
    "http": lambda port: ([http(port)], {}),
    "expression": lambda _: ([expression(f"${{{MISSING}}}")], {}),
    "with": lambda _: ([py("a", with_={"x": f"${{{MISSING}}}"})], {}),
    "when": lambda _: ([py("a", when=MISSING)], {}),
    "foreach": lambda _: ([py("a", foreach=MISSING, concurrency=1)], {}),
    "an item": lambda _: (
        [py("a", "fail", with_={"message": "${item}"}, foreach="[input.canary]", concurrency=1)],
        {},
    ),
    "the run's output": lambda _: ([py("a")], {"output": f"${{{MISSING}}}"}),
    "child": lambda _: ([kid("a", with_={"canary": SAID})], {}),
    "child that refuses": lambda _: ([kid("a", "picky", with_={"keys": "${input.keys}"})], {}),
}


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A service that refuses, and repeats what it was sent; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(
            int(h[15:]) for h in head.lower().split(b"\r\n") if h[:15] == b"content-length:"
        )
        body = await reader.readexactly(size)
        writer.write(b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\n" + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _texts(c: Connection) -> dict[str, str]:
    """What is stored, by where."""
    columns = {
        "events": schema.events.c.body,
        "runs": schema.runs.c.doc,
        "steps": schema.steps.c.doc,
        "gates": schema.gates.c.doc,
        "payloads": schema.payloads.c.value,
        "answers": schema.answers.c.body,
    }
    return {
        where: "\n".join(map(str, c.execute(select(column)).scalars()))
        for where, column in columns.items()
    }


async def stored(fc: FederationCore) -> set[str]:
    """Where the canary stands in the database."""
    texts = await fc._parts.ledger.read(_texts)
    return {where for where, text in texts.items() if CANARY in text}


async def pack(fc: FederationCore, run_id: str, folder: Path, **options: Any) -> dict[str, str]:
    """The files of the run's pack, which verifies."""
    await idle(fc)
    made = await fc.evidence.pack(fc.call("auditor"), run_id, **options)
    with made.file as file:
        data = file.read()
    (folder / "pack.zip").write_bytes(data)
    trust = await fc.log.trust(fc.call("auditor"))
    verdict = verify_pack(folder / "pack.zip", trust)
    assert verdict.exit_status == 0, verdict
    with zipfile.ZipFile(io.BytesIO(data)) as files:
        return {name: files.read(name).decode() for name in files.namelist()}


async def erase(fc: FederationCore, run_id: str) -> None:
    request = EraseRequest(run_id=run_id, reason="case 88")
    await fc.erasures.erase(fc.call("officer"), request)


def seen(answer: RunAnswer) -> str:
    """Everything that people see of a run but what it was given."""
    run = msgspec.structs.replace(answer.run, input_payload=None)
    return str(msgspec.json.encode(msgspec.structs.replace(answer, run=run)))


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)  # what is recorded, not where
@pytest.mark.parametrize("kind", KINDS)
async def test_no_event_says_what_a_failure_said(tmp_path: Path, stage: Stage, kind: str) -> None:
    async with echo() as port, core(tmp_path, http_allow=[f"127.0.0.1:{port}"]) as fc:
        await register_kid(fc, py("b", "fail", with_={"message": SAID}))
        picky = {"properties": {"keys": {"propertyNames": {"maxLength": 2}}}}
        await register_kid(fc, py("b"), name="picky", input=picky)
        steps, keys = KINDS[kind](port)
        first = True
        for form in FORMS:
            given = {"canary": form, "table": {}, "keys": {form: 1}}
            run_id = await (begin(fc, *steps, given=given, **keys) if first else start(fc, given))
            first = False
            answer = await until(fc, run_id)
            assert answer.run.status == "failed"
            assert CANARY in answer.run.error_details["message"], answer.run.error_details
            assert CANARY in answer.logs[-1].message
            failed = [s for s in answer.steps if s.status == "failed" and s.error]
            assert all(CANARY in s.error["message"] for s in failed if s.error)
            assert CANARY not in str([entry.details for entry in answer.logs])
            assert await stored(fc) == {"payloads"}
        files = await pack(fc, run_id, tmp_path)
        assert CANARY in files["REPORT.md"]
        assert {n.split("/")[0] for n, text in files.items() if CANARY in text} == {
            "payloads",
            "REPORT.md",
        }
        bare = await pack(fc, run_id, tmp_path, payloads=False)
        assert not [name for name, text in bare.items() if CANARY in text]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_failure_said_can_be_erased(tmp_path: Path, stage: Stage, kind: str) -> None:
    async with echo() as port, core(tmp_path, http_allow=[f"127.0.0.1:{port}"]) as fc:
        await register_kid(fc, py("b", "fail", with_={"message": SAID}))
        picky = {"properties": {"keys": {"propertyNames": {"maxLength": 2}}}}
        await register_kid(fc, py("b"), name="picky", input=picky)
        steps, keys = KINDS[kind](port)
        given = {"canary": FORMS[1], "table": {}, "keys": {CANARY: 1}}
        run_id = await begin(fc, *steps, given=given, **keys)
        await until(fc, run_id)
        for run in await fc.runs.page(fc.call("x"), limit=9):  # a child's values are its own
            await erase(fc, run.run_id)
        assert await stored(fc) == set()
        answer = await whole(fc, run_id)
        assert CANARY not in seen(answer)
        assert answer.run.error_details["message"].endswith(ERASED)
        assert answer.logs[-1].message.endswith(ERASED)
        files = await pack(fc, run_id, tmp_path)
        assert not [name for name, text in files.items() if CANARY in text]
        assert ERASED in files["REPORT.md"]


@pytest.mark.parametrize("each_store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_sensitive_step_says_is_salted_and_not_shown(
    tmp_path: Path, stage: Stage, kind: str
) -> None:
    async with echo() as port, core(tmp_path, http_allow=[f"127.0.0.1:{port}"]) as fc:
        await register_kid(fc, py("b", "fail", with_={"message": SAID}))
        picky = {"properties": {"keys": {"propertyNames": {"maxLength": 2}}}}
        await register_kid(fc, py("b"), name="picky", input=picky)
        steps, keys = KINDS[kind](port)
        given = {"canary": CANARY, "table": {}, "keys": {CANARY: 1}}
        run_id = await begin(fc, *[s | {"sensitive": True} for s in steps], given=given, **keys)
        answer = await until(fc, run_id)
        assert CANARY not in seen(answer)
        assert answer.run.error_details["message"].endswith(WITHHELD)
        assert await stored(fc) == {"payloads"}
        report = (await pack(fc, run_id, tmp_path))["REPORT.md"]
        assert CANARY not in report
        assert WITHHELD in report
        told = await pack(fc, run_id, tmp_path, sensitive=True)
        assert CANARY in told["REPORT.md"]


async def test_a_child_of_which_a_sensitive_step_failed_tells_its_parent_nothing(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        await register_kid(fc, py("b", "fail", with_={"message": SAID}, sensitive=True))
        run_id = await begin(fc, kid("a", with_={"canary": SAID}), given={"canary": CANARY})
        answer = await until(fc, run_id)
        assert CANARY not in seen(answer)
        assert answer.run.error_details["message"].endswith(f"LookupError: {WITHHELD}")
        await pack(fc, run_id, tmp_path)


async def external(fc: FederationCore) -> str:
    request = CreateRunRequest(workflow_id="theirs", execution="external")
    run_id = (await fc.runs.create(fc.call("client"), request)).run.run_id
    await fc.runs.change_status(fc.call("client"), run_id, ChangeStatusRequest(status="running"))
    return run_id


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (f"no {CANARY}", "Reported", f"no {CANARY}"),
        ({"type": "Declined", "message": CANARY}, "Declined", CANARY),
        ({"code": f"no {CANARY}", "message": CANARY}, f"no {CANARY}", CANARY),
        ({"code": 17, "message": [CANARY]}, "Reported", "The client reported a failure."),
        ({"deep": [CANARY]}, "Reported", "The client reported a failure."),
        (None, "Reported", "The client reported a failure."),
    ],
)
async def test_what_a_client_reports_of_a_step_is_a_payload(
    tmp_path: Path, error: Any, kind: str, message: str
) -> None:
    async with core(tmp_path) as fc:
        run_id = await external(fc)
        for status in ("running", "failed"):
            told = {"error": error} if status == "failed" else {}
            request = RecordStepRequest(step_id="s", status=status, **told)
            answer = await fc.steps.record(fc.call("client"), run_id, request)
        assert answer.step.error == {"type": kind, "message": message}
        assert await stored(fc) <= {"payloads"}
        change = ChangeStatusRequest(status="failed", reason="in my own words")
        await fc.runs.change_status(fc.call("client"), run_id, change)
        await erase(fc, run_id)
        found = await whole(fc, run_id)
        assert CANARY not in seen(found)
        kept = message if error is None else ERASED
        assert found.steps[0].error == {"type": "Reported", "message": kept}
        assert found.run.error_details["message"] == "in my own words"
        assert await stored(fc) == set()


@pytest.mark.parametrize("status", ["failed", "cancelled"])
@pytest.mark.parametrize("error", [CANARY, {"code": "x", "message": CANARY}, {"deep": [CANARY]}])
async def test_what_a_client_reports_of_a_run_is_a_payload(
    tmp_path: Path, status: Any, error: Any
) -> None:
    async with core(tmp_path) as fc:
        run_id = await external(fc)
        change = ChangeStatusRequest(status=status, error_details=error)
        answer = await fc.runs.change_status(fc.call("client"), run_id, change)
        assert answer.run.error_details == error
        told = (await whole(fc, run_id)).logs[-1].message
        assert told.startswith(f"Run {status}")
        assert told.endswith(f": {CANARY}") or isinstance(error, dict)
        assert await stored(fc) == {"payloads"}
        await erase(fc, run_id)
        found = await whole(fc, run_id)
        assert found.run.error_details["message"] == ERASED
        assert found.logs[-1].message == f"Run {status}: {ERASED}"
        assert await stored(fc) == set()
        assert ERASED in (await pack(fc, run_id, tmp_path))["REPORT.md"]


async def test_a_policy_that_cannot_read_an_input_does_not_name_its_keys(tmp_path: Path) -> None:
    async with core(tmp_path) as fc:
        given = {"table": {CANARY: 0.123456789}}
        run_id = await begin(fc, py("a"), given=given)
        answer = await until(fc, run_id)
        assert answer.run.error_details["code"] == "policy_denied"
        assert await stored(fc) == {"payloads"}


async def test_an_event_that_holds_a_message_is_none(tmp_path: Path, stage: Stage) -> None:
    """As it was before: then nothing of it is believed."""
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "fail"))
        answer = await until(fc, run_id)
        [failed] = [e for e in answer.logs if e.event_type == "FC-STEP-003"]
        bodies = await fc._parts.ledger.read(_texts)
        body = bodies["events"].split("\n")
    [event] = [line for line in body if '"FC-STEP-003"' in line and failed.run_id in line]
    for error in ({"type": "X", "message": "m"}, {"type": "X"}):
        told = msgspec.json.decode(event)
        told["data"]["error"] = error
        for left_out in ({"error_type"}, set[str]()):
            data = {k: v for k, v in told["data"].items() if k not in left_out}
            old = msgspec.json.encode(told | {"data": data}, order="sorted")
            with pytest.raises(IntegrityError):
                decode(old, RUN_EVENTS)
