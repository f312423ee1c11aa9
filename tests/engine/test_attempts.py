"""Attempts that fail: retries and their backoff, time limits, exceptions, outputs that are none."""

from pathlib import Path
from typing import Any

import pytest
from tests.core_helpers import begin, codes, core, decisions, py, until
from tests.core_steps import Stage

from federation_core.service.views import LogEntry, RunAnswer
from federation_core.spine.times import from_rfc3339


def of(answer: RunAnswer, code: str) -> list[LogEntry]:
    return [e for e in answer.logs if e.event_type == code]


def retry(attempts: int, **keys: Any) -> dict[str, Any]:
    return {"max_attempts": attempts, "backoff": "2ms", "factor": 2, **keys}


async def test_a_step_is_tried_again_until_it_succeeds(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc, py("a", "flaky", with_={"good_at": 4}, retry=retry(5, max_backoff="5ms")), py("b")
        )
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"
    assert stage.effects == [
        *(("a", f"{run_id}:a:{attempt}") for attempt in (1, 2, 3, 4)),
        ("b", f"{run_id}:b:1"),
    ]
    assert decisions(answer, "a") == ["allow"] * 4  # each attempt is decided anew
    failures, retries = of(answer, "FC-STEP-003"), of(answer, "FC-STEP-004")
    assert [e.details["attempt"] for e in failures] == [1, 2, 3]
    assert [e.details["attempt"] for e in retries] == [2, 3, 4]
    starts = [e for e in of(answer, "FC-STEP-001") if e.step_id == "a"][1:]
    for failure, scheduled, begun, backoff in zip(
        failures, retries, starts, (2_000, 4_000, 5_000), strict=True
    ):
        due = from_rfc3339(scheduled.details["not_before"])
        assert due - from_rfc3339(failure.timestamp) == backoff
        assert from_rfc3339(begun.timestamp) >= due


async def test_the_last_attempt_is_the_last(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "flaky", with_={"good_at": 9}, retry=retry(3)), py("b"))
        answer = await until(fc, run_id)
    assert stage.names == ["a"] * 3
    assert answer.run.status == "failed"
    assert answer.run.error_details == {
        "code": "step_failed",
        "message": "step a failed: Busy: attempt 3 came too early",
    }
    assert len(of(answer, "FC-STEP-004")) == 2


async def test_a_retry_does_not_wait_for_its_neighbours(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            py("slow", "hold", needs=[]),
            py("a", "flaky", needs=[], with_={"good_at": 3}, retry=retry(3)),
            py("b", "hold", needs=["a"]),
        )
        await stage.seen("b began")
        assert stage.names == ["a", "a", "a"]
        stage.go("slow may end")
        stage.go("b may end")
        answer = await until(fc, run_id)
    assert answer.run.status == "completed"


async def test_an_exception_is_an_outcome_and_the_server_goes_on(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "fail", with_={"message": "the shelf is empty"}), py("b"))
        answer = await until(fc, run_id)
        [failure] = of(answer, "FC-STEP-003")
        assert failure.details["error_type"] == "LookupError"
        assert "the shelf" not in str(failure.details)
        [step] = [step for step in answer.steps if step.step_id == "a"]
        assert step.error == {"type": "LookupError", "message": "the shelf is empty"}
        assert failure.message == "Step a failed: LookupError: the shelf is empty"
        assert answer.run.error_details["message"].endswith("LookupError: the shelf is empty")
        assert stage.names == ["a"]
        other = await until(fc, await begin(fc, py("c"), version="2.0.0"))
        assert other.run.status == "completed"


async def test_what_a_sensitive_step_says_is_withheld(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        secret = "the word is plum-tree"
        run_id = await begin(fc, py("a", "fail", sensitive=True, with_={"message": secret}))
        answer = await until(fc, run_id)
    [failure] = of(answer, "FC-STEP-003")
    assert failure.details["error_type"] == "LookupError"
    assert "plum" not in str(answer)
    assert failure.message == "Step a failed: LookupError: withheld: the step is sensitive"
    assert stage.names == ["a"]


async def test_a_step_that_takes_too_long_is_cut_off(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a", "hold", timeout="100ms", retry=retry(2)), py("b"))
        await stage.seen("a cut off")
        answer = await until(fc, run_id)
    assert [e.details["error_type"] for e in of(answer, "FC-STEP-003")] == ["Timeout"] * 2
    assert answer.run.status == "failed"
    assert stage.effects == []


async def test_a_step_that_ignores_its_limit_has_not_succeeded(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        answer = await until(fc, await begin(fc, py("a", "cleanup", timeout="700ms")))
    assert stage.names == ["a"]
    assert [e.details["error_type"] for e in of(answer, "FC-STEP-003")] == ["Timeout"]


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("tests.core_steps:leak", "OutputRefused"),
        ("tests.core_steps:nothing_of_the_kind", "AttributeError"),
        ("os:getcwd", "CallRefused"),
        ("tests.children:child", "CallRefused"),
    ],
)
async def test_a_call_that_cannot_be_made_or_used_is_not_tried_again(
    tmp_path: Path, stage: Stage, call: str, kind: str
) -> None:
    step = py("a", retry=retry(5)) | {"call": call}
    async with core(tmp_path) as fc:
        answer = await until(fc, await begin(fc, step))
    assert [e.details["error_type"] for e in of(answer, "FC-STEP-003")] == [kind]
    assert len(stage.effects) == (call.endswith("leak"))


async def test_an_expression_that_fails_fails_its_run(tmp_path: Path, stage: Stage) -> None:
    value = {"id": "b", "type": "TRANSFORM", "run": "expression", "value": "${input.missing}"}
    async with core(tmp_path) as fc:
        answer = await until(fc, await begin(fc, py("a"), value, py("c")))
    assert stage.names == ["a"]
    assert answer.run.status == "failed"
    assert codes(answer.logs).count("FC-STEP-003") == 1


async def test_an_input_that_cannot_be_computed_is_never_put_to_policy(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(fc, py("a"), py("b", with_={"x": "${input.missing}"}))
        answer = await until(fc, run_id)
    assert stage.names == ["a"]
    assert decisions(answer, "b") == []
    assert answer.run.status == "failed"
    assert "missing" in answer.run.error_details["message"]


async def test_an_output_that_cannot_be_computed_fails_the_run(
    tmp_path: Path, stage: Stage
) -> None:
    async with core(tmp_path) as fc:
        answer = await until(fc, await begin(fc, py("a"), output="${input.missing}"))
    assert stage.names == ["a"]
    assert answer.run.status == "failed"
    assert "the run has no output" in answer.run.error_details["message"]
