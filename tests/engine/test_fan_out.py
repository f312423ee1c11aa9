"""`foreach`: each item of a list is a step of its own."""

from pathlib import Path
from typing import Any

from tests.core_helpers import (
    begin,
    core,
    decisions,
    py,
    states,
    until,
)
from tests.core_steps import Stage
from tests.engine.test_graph import governed


def each(step_id: str, call: str = "act", *, over: str = "input.list", **keys: Any) -> Any:
    """A step done for each item of `over`, which is its name's part as well."""
    given = {"name": "${'" + step_id + "-' + item}", "at": "${index}", **keys.pop("with_", {})}
    return py(step_id, call, with_=given, foreach=over, **keys)


async def test_each_item_is_a_step_of_its_own(tmp_path: Path, stage: Stage) -> None:
    async with core(tmp_path) as fc:
        run_id = await begin(
            fc,
            each("act"),
            py("after", with_={"all": "${steps.act.output}", "was": "${steps.act.status}"}),
            output="${steps.act.output.map(x, x.did)}",
            given={"list": ["x", "y", "z"]},
        )
        answer = await until(fc, run_id)
    assert answer.run.status == "completed", answer.run.error_details
    assert sorted(stage.names[:3]) == ["act-x", "act-y", "act-z"]
    assert answer.run.output_payload == ["act-x", "act-y", "act-z"]
    governed(answer.logs)
    steps = {s.step_id: s for s in answer.steps}
    assert [s.step_id for s in answer.steps] == ["act", "after", "act[0]", "act[1]", "act[2]"]
    assert [s.step_index for s in answer.steps] == [0, 1, 2, 3, 4]
    assert states(answer) == dict.fromkeys(steps, "completed")
    assert steps["act"].decision is None
    assert steps["act"].receipt_hash is None
    assert steps["act"].started_at is not None
    assert all(steps[f"act[{i}]"].receipt_hash for i in range(3))
    assert len({key for _, key in stage.effects}) == 4
    assert decisions(answer, "act") == []
    assert decisions(answer, "act[1]") == ["allow"]
    fanned = next(e for e in answer.logs if e.event_type == "FC-STEP-007")
    assert (fanned.details["items"], fanned.step_id) == (3, "act")
    assert fanned.message == "Step act fans out: 3 items"
