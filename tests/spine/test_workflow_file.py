"""Workflow files: what they define, and for each mistake the line and column."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from federation_core.spine.definition import (
    ExpressionWork,
    GateSpec,
    HttpWork,
    PythonWork,
    Retry,
    StepType,
    Workflow,
)
from federation_core.spine.schemas import validate
from federation_core.spine.workflow_file import (
    WorkflowProblems,
    parse_workflow,
    workflow_schema,
)
from federation_core.spine.workflow_yaml import read

PAGE = Path(__file__).resolve().parents[2] / "docs" / "writing-workflows.md"
EXAMPLES = [
    block.partition("```")[0]
    for block in PAGE.read_text("utf-8").split("```yaml\n")[1:]
    if block.startswith("workflow:")
]

HEAD = "workflow: w\nversion: 1.0.0\nsteps:\n"
"""Steps start on line 4."""


def outcome(text: str) -> Workflow | WorkflowProblems:
    try:
        return parse_workflow(text)
    except WorkflowProblems as e:
        return e


def step(text: str) -> str:
    """A file whose only step has `text` behind `run: python`."""
    return f'{HEAD}- id: a\n  type: ACT\n  run: python\n  call: "m:f"\n{text}'


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_of_the_page_are_workflows(text: str) -> None:
    workflow = parse_workflow(text)
    assert Workflow.from_canonical(workflow.canonical()) == workflow


def test_the_whole_language_becomes_a_workflow() -> None:
    workflow = parse_workflow(EXAMPLES[0])
    observe, decide, approve, act, transform = workflow.steps
    assert (workflow.id, workflow.version) == ("refund", "1.0.0")
    assert workflow.input_schema is not None
    assert workflow.output == "${steps.transform.output}"
    assert observe.work == PythonWork("refunds:read_order")
    assert observe.with_ == {"order_id": "${input.order_id}"}
    assert [s.needs for s in workflow.steps] == [
        (), ("observe",), ("decide",), ("approve",), ("act",),
    ]  # fmt: skip
    assert decide.type is StepType.DECIDE
    assert approve.when == 'steps.decide.output.risk == "high"'
    assert approve.work is None
    assert approve.gate == GateSpec(
        "Refund approval", approvers=("role:finance",), quorum=2, expires_s=86_400
    )
    assert act.work == HttpWork(
        method="POST",
        url="https://pay.example/refunds",
        headers={"Authorization": {"env": "FEDCORE_SECRET_PAY_TOKEN"}},
        json={"order": "${input.order_id}", "amount": "${input.amount}"},
    )
    assert act.retry == Retry(5, 1_000, 200, 60_000)
    assert (act.timeout_ms, act.idempotent, act.sensitive) == (30_000, True, False)
    assert transform.work == ExpressionWork('${ {"refunded": steps.act.output.amount} }')


def test_defaults() -> None:
    (only,) = parse_workflow(step("")).steps
    assert only.needs == ()
    assert only.retry == Retry()
    assert only.timeout_ms == 30_000
    assert only.when is None
    (_, second) = parse_workflow(step("- {id: b, type: GATE, needs: []}")).steps
    assert second.needs == ()
    assert second.gate is None
    (sent,) = parse_workflow(
        HEAD + "- {id: a, type: ACT, run: http, request: {method: GET, url: 'http://x'}}"
    ).steps
    assert isinstance(sent.work, HttpWork)
    assert sent.work.json is msgspec.UNSET
    (factor,) = parse_workflow(step("  retry: {max_attempts: 2, factor: 1.25}")).steps
    assert factor.retry.factor_pct == 125


def test_json_null_is_a_body() -> None:
    (sent,) = parse_workflow(
        HEAD
        + "- {id: a, type: ACT, run: http, request: {method: PUT, url: 'http://x', json: null}}"
    ).steps
    assert isinstance(sent.work, HttpWork)
    assert sent.work.json is None


def test_order_and_comments_do_not_change_the_definition() -> None:
    one = parse_workflow(
        step("  with: {x: 1, y: [a, b]}\n  timeout: 60s\n  when: ${input.x}\noutput: {p: 1, q: 2}")
    )
    other = parse_workflow(
        "# a comment\noutput:\n  q: 2\n  p: 1\nsteps:\n"
        "  - timeout: 1m\n    when: 'input.x'  # bare\n"
        "    with:\n      y:\n      - a\n      - b\n      x: 1\n    call: m:f\n    run: python\n"
        "    type: ACT\n    needs: []\n    id: a\nversion: '1.0.0'\nworkflow: w\n"
    )
    assert one == other
    assert one.definition_hash == other.definition_hash
    changed = parse_workflow(step("  with: {x: 1, y: [b, a]}\n  timeout: 60s"))
    assert changed.definition_hash != one.definition_hash


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-5", -5),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("-0.5E-1", -0.05),
        ("'5'", "5"),
        ('"true"', "true"),
        ("''", ""),
        ("|\n  5\n", "5\n"),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: Any) -> None:
    document = read(f"a: {text}")
    assert document.problems == []
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "True",
        "NULL",
        "010",
        "0o10",
        "0x1F",
        "1_000",
        "+1",
        "1:30",
        "2026-11-23",
        ".5",
        "5.",
        ".inf",
        ".nan",
        "<<",
        "=",
    ],
)
def test_what_older_yaml_would_guess_at_stays_text(text: str) -> None:
    assert read(f"a: {text}").value == {"a": text}
    assert read(f"{text}: 1").value == {text: 1}


def test_steps_are_read_through_others() -> None:
    parse_workflow(
        HEAD + "- {id: a, type: GATE}\n- {id: b, type: GATE}\n"
        "- {id: c, type: GATE, when: '${has(steps.a.output.x)}'}\noutput: ${steps.c.status}"
    )


def test_long_chains_of_steps_are_checked() -> None:
    steps = "".join(f"- {{id: s{i}, type: GATE}}\n" for i in range(2_000))
    last = '- {id: z, type: GATE, when: "${steps.s0.status == steps.s999.status}"}'
    assert len(parse_workflow(HEAD + steps + last).steps) == 2_001


def test_the_schema_is_published_whole() -> None:
    """Every property has a title or its own schema, and nothing else is allowed beside them."""
    schema = workflow_schema()
    assert schema["$id"] == "urn:federation-core:workflow:1"
    assert validate({"$ref": schema["$schema"]}, schema) == []
    for node in [schema, *(schema["$defs"][k] for k in ("step", "request", "gate", "retry"))]:
        assert node["additionalProperties"] is False
        for key, item in node["properties"].items():
            target = schema["$defs"][item["$ref"].rpartition("/")[2]] if "$ref" in item else item
            assert "title" in {**target, **item}, key


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_schema_takes_the_examples(text: str) -> None:
    assert validate(workflow_schema(), yaml.safe_load(text)) == []


@given(st.text(max_size=80))
def test_any_text_is_a_workflow_or_has_problems(text: str) -> None:
    with pytest.raises(WorkflowProblems):
        parse_workflow(text)


@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%@`#,~ \n\t\\ux019$", max_size=60))
def test_any_yaml_is_a_workflow_or_has_problems(text: str) -> None:
    for prefix in ("", HEAD, step("  with: ")):
        result = outcome(prefix + text)
        if isinstance(result, WorkflowProblems):
            assert result.problems
            lines = (prefix + text).count("\n") + 2
            assert all(1 <= p.line <= lines and p.column >= 1 for p in result.problems)


_WORDS = st.sampled_from(
    [
        *("workflow", "version", "steps", "input", "output", "id", "type", "needs", "run", "when"),
        *(
            "with",
            "call",
            "request",
            "value",
            "gate",
            "retry",
            "timeout",
            "name",
            "quorum",
            "method",
        ),
        *("url", "headers", "json", "approvers", "expires", "GATE", "ACT", "a", "python", "http"),
        *(
            "expression",
            "1.0.0",
            "5s",
            "m:f",
            "${input.a}",
            "${steps.a.output}",
            "$ref",
            "#",
            "GET",
        ),
    ]
)
_VALUES = st.recursive(
    _WORDS | st.integers(-1, 3) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=12,
)
_STEP = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "c"]), "type": st.sampled_from(["GATE", "ACT"])},
    optional=dict.fromkeys(("needs", "run", "when", "with", "gate", "request", "retry"), _VALUES)
    | {"call": st.just("m:f"), "value": _VALUES, "timeout": _WORDS},
)
_SOUND_STEP = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abcdefgh"),
        "type": st.just("TRANSFORM"),
        "run": st.just("expression"),
        "value": _VALUES,
    },
    optional={
        "needs": st.lists(st.sampled_from("abcdefgh"), max_size=2, unique=True),
        "when": st.just("${input.a}"),
        "with": st.dictionaries(st.text(max_size=3), _VALUES, max_size=3),
        "timeout": st.just("5s"),
        "retry": st.just({"max_attempts": 3, "factor": 1.5}),
        "sensitive": st.booleans(),
    },
)


@given(st.lists(_STEP | _SOUND_STEP, max_size=4), st.dictionaries(_WORDS, _VALUES, max_size=3))
def test_any_shape_is_a_workflow_or_has_problems(
    steps: list[dict[str, Any]], rest: dict[str, Any]
) -> None:
    file = {"workflow": "w", "version": "1.0.0", "steps": steps} | rest
    _holds(json.dumps(file))


@given(
    st.lists(_SOUND_STEP, min_size=1, max_size=4, unique_by=lambda s: str(s["id"])),
    st.none() | st.text(max_size=5),
)
def test_workflows_come_back_from_their_canonical_form(
    steps: list[dict[str, Any]], output: str | None
) -> None:
    _holds(json.dumps({"workflow": "w", "version": "1.0.0", "steps": steps, "output": output}))


def _holds(text: str) -> None:
    workflow = outcome(text)
    if isinstance(workflow, WorkflowProblems):
        assert workflow.problems
        return
    again = Workflow.from_canonical(workflow.canonical())
    assert again == workflow
    assert again.definition_hash == workflow.definition_hash
    ids = [s.id for s in workflow.steps]
    assert all(need in ids for s in workflow.steps for need in s.needs)
