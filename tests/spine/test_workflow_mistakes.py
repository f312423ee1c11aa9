"""Each mistake in a workflow file has its line and column, and no file takes long to refuse."""

import pytest

from federation_core.spine.workflow_file import WorkflowProblems, parse_workflow
from federation_core.spine.workflow_yaml import MAX_BYTES

HEAD = "workflow: w\nversion: 1.0.0\nsteps:\n"
"""Steps start on line 4."""

GATE = HEAD + "- {id: a, type: GATE"
WORK = HEAD + "- {id: a, type: ACT, run: "
HTTP = WORK + "http, request: {method: GET, url: 'http://x'"


def problems(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(WorkflowProblems) as caught:
        parse_workflow(text)
    return [(p.line, p.column, p.message) for p in caught.value.problems]


def step(text: str) -> str:
    """A file whose only step has `text` behind it, from line 8 on."""
    return f'{HEAD}- id: a\n  type: ACT\n  run: python\n  call: "m:f"\n{text}'


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        # YAML
        ("", 1, 1, "the file is empty; it starts with workflow:"),
        ("# nothing\n", 1, 1, "the file is empty; it starts with workflow:"),
        ("~", 1, 1, "the file is empty; it starts with workflow:"),
        ("a: b: c", 1, 5, "mapping values are not allowed here"),
        ("a:\n\tb: 1", 2, 1, "found character '\\t' that cannot start any token"),
        ("a: 'x", 1, 6, "found unexpected end of stream (while scanning a quoted scalar)"),
        ("a: [1,", 1, 7, "expected the node content"),
        ("a: 1\n---\nb: 2", 2, 1, "but found another document"),
        ("a: b\x00", 1, 5, "the character U+0000 may not stand in a file"),
        ("a: b\nc: \ud800", 2, 4, "the character U+D800 may not stand in a file"),
        ('a: "\\UFFFFFFFF"', 1, 7, "this number is too large"),
        ("%YAML 1." + "9" * 5000 + "\n---\na", 1, 9, "this number is too large"),
        ('a: "\\ud800"', 1, 4, "text must not hold lone surrogates"),
        ("a: 9007199254740992", 1, 4, "integers must be within"),
        ("a: 1e999", 1, 4, "numbers must be finite"),
        ("a: &x 1", 1, 4, "anchors (&name) are not taken"),
        ("a: 1\nb: *x", 2, 4, "aliases (*name) are not taken"),
        ("a: !!python/object/apply:os.system ['id']", 1, 4, "tags (!name) are not taken"),
        ("a: !!str 5", 1, 4, "tags (!name) are not taken"),
        ("a: ! 5", 1, 4, "tags (!name) are not taken"),
        ("a: 1\nb: 2\na: 3", 3, 1, "the key 'a' stands twice; the first is on line 1"),
        ("a: {b: 1, b: 2}", 1, 11, "the key 'b' stands twice"),
        ("1: a", 1, 1, "a key must be text; put it in quotes"),
        ("true: a", 1, 1, "a key must be text"),
        ("? [a]\n: b", 1, 3, "a key must be text"),
        ("a: " + "[" * 40, 1, 36, "values may be nested at most 32 levels deep"),
        ("- " * 40, 1, 67, "values may be nested at most 32 levels deep"),
        ("a: [" + "x, " * 60_000 + "]", 1, 149_996, "a file holds at most 50000 values"),
        ("#" * (MAX_BYTES + 1), 1, 1, "the file is larger than 262144 bytes"),
        ("#" + "é" * (MAX_BYTES // 2), 1, 1, "the file is larger than 262144 bytes"),
        # the file
        ("5", 1, 1, "must be a mapping"),
        ("[a]", 1, 1, "must be a mapping"),
        ("version: 1.0.0\nsteps: []\nworkflow: w", 2, 8, "steps is a list of at least one step"),
        ("workflow: w\nversion: 1.0.0", 1, 1, "the key 'steps' is missing"),
        (
            "workflow: 5\nversion: 1.0.0\nsteps: [{id: a, type: GATE}]",
            1,
            11,
            "an id of a workflow is",
        ),
        (
            "workflow: a b\nversion: 1.0.0\nsteps: [{id: a, type: GATE}]",
            1,
            11,
            "an id of a workflow is",
        ),
        ("workflow: w\nversion: 1.0\nsteps: [{id: a, type: GATE}]", 2, 10, "MAJOR.MINOR.PATCH"),
        (
            "workflow: w\nversion: 1.0.0-rc1\nsteps: [{id: a, type: GATE}]",
            2,
            10,
            "MAJOR.MINOR.PATCH",
        ),
        ("workflow: w\nversion: 01.0.0\nsteps: [{id: a, type: GATE}]", 2, 10, "MAJOR.MINOR.PATCH"),
        (GATE + "}\ninptu: {}", 5, 1, "unknown key 'inptu'; did you mean 'input'?"),
        (GATE + "}\nzzz: {}", 5, 1, "unknown key 'zzz'; known: workflow, version"),
        (GATE + "}\ninput: {type: text}", 5, 15, "not a JSON Schema: a type is"),
        (GATE + "}\ninput:\n  $ref: file:///x", 6, 9, "leads out of the schema"),
        (GATE + "}\ninput: string", 5, 8, "must be a mapping"),
        (GATE + "}\noutput: {x: '${nope}'}", 5, 13, "there is no 'nope'"),
        (GATE + "}\noutput: ${steps.b.output}", 5, 9, "there is no step 'b'"),
        # steps
        (HEAD + "- 5", 4, 3, "must be a mapping"),
        (HEAD + "- {type: GATE}", 4, 3, "the key 'id' is missing"),
        (HEAD + "- {id: a}", 4, 3, "the key 'type' is missing"),
        (HEAD + "- {id: 5, type: GATE}", 4, 8, "an id of a step is"),
        (HEAD + "- {id: a-b, type: GATE}", 4, 8, "an id of a step is"),
        (HEAD + "- {id: 1a, type: GATE}", 4, 8, "an id of a step is"),
        (HEAD + "- {id: in, type: GATE}", 4, 8, "no reserved word of CEL"),
        (HEAD + f"- {{id: {'a' * 65}, type: GATE}}", 4, 8, "an id of a step is"),
        (
            GATE + "S}",
            4,
            17,
            "must be one of OBSERVE, DECIDE, GATE, ACT, TRANSFORM; did you mean 'GATE'?",
        ),
        (GATE + "}\n- {id: a, type: GATE}", 5, 8, "there is a step 'a' already"),
        (
            HEAD + "- {id: alpha, type: GATE}\n- {id: b, type: GATE, needs: [alpa]}",
            5,
            31,
            "there is no step 'alpa'; did you mean 'alpha'?",
        ),
        (GATE + ", needs: [a]}", 4, 30, "steps wait for each other: a → a"),
        (
            GATE + ", needs: [c]}\n- {id: b, type: GATE}\n- {id: c, type: GATE}",
            4,
            30,
            "steps wait for each other: a → c → b → a",
        ),
        (GATE + ", needs: b}", 4, 30, "needs is a list of ids of steps"),
        (GATE + ", needs: [5]}", 4, 31, "needs is a list of ids of steps"),
        (GATE + ", needs: [b, b]}", 4, 30, "needs is a list of ids of steps, each once"),
        (step("  retyr: {}"), 8, 3, "unknown key 'retyr'; did you mean 'retry'?"),
        (step("  capability: x"), 8, 3, "'capability' is not available in this version"),
        (step("  foreach: [1]"), 8, 12, "foreach is text, an expression that gives a list"),
        (step("  foreach: ''"), 8, 12, "foreach is text, an expression that gives a list"),
        (step("  foreach: inputs"), 8, 12, "there is no 'inputs'; an expression sees input"),
        (step("  foreach: '${'"), 8, 12, "does not parse"),
        (step("  foreach: '${input.a}, ${input.b}'"), 8, 12, "does not parse"),
        (step("  foreach: steps.b.output"), 8, 12, "there is no step 'b'"),
        (step("  foreach: steps.a.output"), 8, 12, "a step cannot read its own output"),
        (step("  foreach: item"), 8, 12, "there is no 'item' here"),
        (step("  foreach: input.x\n  when: index > 1"), 9, 9, "there is no 'index' here"),
        (step("  foreach: input.x\n  concurrency: 0"), 9, 16, "a whole number from 1 to 1000"),
        (step("  foreach: input.x\n  concurrency: 1001"), 9, 16, "a whole number from 1 to 1000"),
        (step("  concurrency: 5"), 8, 3, "concurrency is of a foreach; add foreach"),
        (step("  with: {x: '${item}'}"), 8, 13, "only the work of a foreach has items"),
        (
            step("  foreach: input.x\n  with: {x: '${itm}'}"),
            9,
            13,
            "there is no 'itm'; an expression sees input, metadata, run, steps, tags, index, item",
        ),
        (GATE + ", foreach: input.x}", 4, 23, "a GATE is one question, not one for each item"),
        (GATE + "}\noutput: ${item}", 5, 9, "there is no 'item' here"),
        (GATE + "}\ntimeout: 5", 5, 10, "a duration is a whole number and a unit"),
        (GATE + "}\ntimeout: 0s", 5, 10, "a timeout is longer than nothing"),
        (GATE + "}\ntimeout: 999999d", 5, 10, "longer than 366 days"),
        (HEAD + "- {id: a, type: ACT}", 4, 3, "the key 'run' is missing"),
        (
            WORK + "agent}",
            4,
            27,
            "run: agent is not available in this version; available: python, http, expression",
        ),
        (WORK + "mcp}", 4, 27, "run: mcp is not available in this version"),
        (WORK + "mcp}", 4, 27, "run: mcp is not available"),
        (
            WORK + "htttp}",
            4,
            27,
            "must be one of python, http, expression, workflow; did you mean 'http'?",
        ),
        (WORK + "workflow}", 4, 3, "the key 'workflow' is missing"),
        (WORK + "workflow, workflow: a b}", 4, 47, "workflow is the id of a workflow"),
        (WORK + "workflow, workflow: c, call: 'a:b'}", 4, 50, "only a step with run: python"),
        (WORK + "workflow, workflow: c, version: '1'}", 4, 59, "a version is MAJOR.MINOR.PATCH"),
        (WORK + "workflow, workflow: c, idempotent: true}", 4, 50, "a child run is found again"),
        (WORK + "python, call: 'a:b', workflow: c}", 4, 48, "only a step with run: workflow"),
        (WORK + "workflow, worklow: c}", 4, 37, "unknown key 'worklow'; did you mean 'workflow'?"),
        (WORK + "python}", 4, 3, "the key 'call' is missing"),
        (WORK + "http}", 4, 3, "the key 'request' is missing"),
        (WORK + "expression}", 4, 3, "the key 'value' is missing"),
        (step("  value: 1"), 8, 3, "only a step with run: expression has a value"),
        (
            step("  request: {method: GET, url: 'http://x'}"),
            8,
            3,
            "only a step with run: http has a request",
        ),
        (
            WORK + "expression, value: 1, call: 'm:f'}",
            4,
            49,
            "only a step with run: python has a call",
        ),
        (HTTP + "}, with: {}}", 4, 74, "a step with run: http says in request what it sends"),
        (WORK + "python, call: refunds.score}", 4, 41, "call is module:function"),
        (WORK + "python, call: 'a:b:c'}", 4, 41, "call is module:function"),
        (step("  with: [a]"), 8, 9, "with is a mapping of names to values"),
        (step("  idempotent: yes"), 8, 15, "idempotent is true or false"),
        (step("  sensitive: True"), 8, 14, "sensitive is true or false"),
        (step("  gate: {name: x}"), 8, 3, "only a step of type GATE has a gate"),
        # gates
        (GATE + ", run: python}", 4, 23, "a GATE asks people and does no work; remove run"),
        (GATE + ", timeout: 5s}", 4, 23, "a GATE has no timeout"),
        (GATE + ", retry: {max_attempts: 2}}", 4, 23, "a GATE is asked once"),
        (GATE + ", idempotent: true}", 4, 23, "a GATE does no work"),
        (GATE + ", gate: {}}", 4, 29, "the key 'name' is missing"),
        (GATE + ", gate: {name: x, quorum: 0}}", 4, 47, "quorum is a whole number"),
        (
            GATE + ", gate: {name: x, approvers: [a], quorum: 2}}",
            4,
            63,
            "2 must approve, but only 1 may",
        ),
        (GATE + ", gate: {name: x, approvers: [a, a]}}", 4, 50, "each once"),
        (GATE + ", gate: {name: x, approvers: ['role:']}}", 4, 51, "approvers is a list"),
        (GATE + ", gate: {name: x, expires: 1500ms}}", 4, 48, "whole seconds"),
        (GATE + ", gate: {name: x, expires: 0s}}", 4, 48, "at least 1s"),
        (GATE + ", gate: {name: x, input_schema: {type: 5}}}", 4, 60, "not a JSON Schema"),
        # durations and retries
        (step("  timeout: 30"), 8, 12, "a duration is a whole number and a unit"),
        (step("  timeout: 1h30m"), 8, 12, "a duration is a whole number and a unit"),
        (step("  timeout: 0s"), 8, 12, "a timeout is longer than nothing"),
        (step("  timeout: 400d"), 8, 12, "longer than 366 days"),
        (step("  retry: {backoff: 1s}"), 8, 10, "the key 'max_attempts' is missing"),
        (step("  retry: {max_attempts: 0}"), 8, 25, "max_attempts is a whole number from 1 to 100"),
        (
            step("  retry: {max_attempts: 2, factor: 0.5}"),
            8,
            36,
            "factor is a number from 1 to 100",
        ),
        (
            step("  retry: {max_attempts: 2, factor: 1.001}"),
            8,
            36,
            "factor has at most two decimals",
        ),
        (step("  retry: {max_attempts: 2, backoff: fast}"), 8, 37, "a duration is"),
        # requests
        (
            WORK + "http, request: {method: get, url: 'http://x'}}",
            4,
            51,
            "must be one of GET, HEAD, POST, PUT, PATCH, DELETE",
        ),
        (
            WORK + "http, request: {method: GET, url: 'file:///x'}}",
            4,
            61,
            "a url is text that starts with https://",
        ),
        (WORK + "http, request: {method: GET, url: 'http://${x}'}}", 4, 61, "there is no 'x'"),
        (HTTP + ", headers: {'a b': c}}}", 4, 83, "a name of a header is"),
        (HTTP + ", headers: {A: 5}}}", 4, 86, "a header is text, or {env: NAME}"),
        (HTTP + ", headers: {A: {env: HOME}}}}", 4, 86, "a header is text, or {env: NAME}"),
        (HTTP + ", headers: {A: '${x}'}}}", 4, 86, "there is no 'x'"),
        (HTTP + ", json: ['${x}']}}", 4, 80, "there is no 'x'"),
        # expressions
        (step("  with: {x: {y: ['a', '${input.}']}}"), 8, 23, "`input.` does not parse"),
        (step("  with:\n    x: ok\n    y: '${'"), 10, 8, "a ${ has no closing }"),
        (step("  with: {'${x}': 1}"), 8, 9, "keys are not evaluated"),
        (step("  when: 'nope'"), 8, 9, "there is no 'nope'"),
        (step("  when: true"), 8, 9, "a condition is text"),
        (step("  when: ${steps.a.output}"), 8, 9, "a step cannot read its own output"),
        (step("  with: {x: '${steps.b.output}'}"), 8, 13, "there is no step 'b'"),
        (
            step("- {id: b, type: GATE, needs: [], with: {x: '${steps.a.output}'}}"),
            8,
            44,
            "it reads the step 'a', which it does not wait for: add it to needs",
        ),
        (
            step("- {id: b, type: GATE, needs: [], when: '${steps.a.output}'}"),
            8,
            40,
            "add it to needs",
        ),
        (WORK + "expression, value: ['${y}']}", 4, 47, "there is no 'y'"),
        (WORK + "expression, value: |\n    ${y}\n}", 4, 46, "while scanning"),
        (
            HEAD + "- id: a\n  type: ACT\n  run: expression\n  value: >\n    a\n    ${y}",
            7,
            10,
            "there is no 'y'",
        ),
    ],
)
def test_each_mistake_has_its_place(text: str, line: int, column: int, message: str) -> None:
    found = problems(text)
    assert any((at, col) == (line, column) and message in said for at, col, said in found), found


def test_all_problems_are_told_at_once_in_order() -> None:
    text = (
        "workflow: refund\nversion: 1.0\nsteps:\n"
        "- {id: a, type: GATE, whn: x}\n"
        "- {id: b, type: GATE, when: '${nope}', gate: {name: x, expires: 1ms}}\n"
        "- {id: b, type: GATE, with: {x: 1, x: 2}}\n"
        "output: '${steps.zz.output}'\n"
    )
    sees = "an expression sees input, metadata, run, steps, tags"
    with pytest.raises(WorkflowProblems) as caught:
        parse_workflow(text, source="refund.yaml")
    assert str(caught.value).splitlines() == [
        "refund.yaml:2:10: a version is MAJOR.MINOR.PATCH, such as 1.0.0",
        "refund.yaml:4:23: unknown key 'whn'; did you mean 'when'?",
        f"refund.yaml:5:29: `nope` is refused: there is no 'nope'; {sees}",
        "refund.yaml:5:65: a gate expires after whole seconds, at least 1s",
        "refund.yaml:6:8: there is a step 'b' already",
        "refund.yaml:6:36: the key 'x' stands twice; the first is on line 6",
        "refund.yaml:7:9: there is no step 'zz'",
    ]
    assert [error.path for error in caught.value.errors] == [
        "/version", "/steps/0/whn", "/steps/1/when", "/steps/1/gate/expires", "/steps/2/id",
        "/steps/2/with/x", "/output",
    ]  # fmt: skip
    assert caught.value.errors[0].message.startswith("line 2, column 10: ")


def test_attack_billion_laughs() -> None:
    text = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(30))
    assert problems(text) == [
        (1, 4, "anchors (&name) are not taken; write the value out where it is used")
    ]


@pytest.mark.parametrize("text", ["[" * 250_000, "- " * 120_000, "? " * 120_000, "{a: " * 60_000])
def test_attack_deep_nesting(text: str) -> None:
    ((_, _, message),) = problems(text)
    assert message == "values may be nested at most 32 levels deep"


def test_attack_a_file_full_of_mistakes() -> None:
    keys = ", ".join(f"k{i}: 1" for i in range(10_000))
    assert len(problems(HEAD + f"- {{id: a, type: GATE, {keys}}}")) == 200
    steps = "".join(f"- {{id: s{i}, type: GATE, needs: [t{i}]}}\n" for i in range(2_000))
    assert len(problems(HEAD + steps)) == 200
