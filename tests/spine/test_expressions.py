"""Expressions: what compiles, what comes out, and what must never get through."""

from typing import Any

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import FederationError, InvalidInput
from federation_core.spine.canonical import MAX_INT
from federation_core.spine.durations import MAX_DURATION_MS, parse_duration, spoken
from federation_core.spine.expression_scan import Hole, names, split_template
from federation_core.spine.expressions import MAX_TOKENS, Condition, ExpressionError, Template

SCOPE: dict[str, Any] = {
    "input": {
        "order_id": "o-1",
        "amount": 12,
        "price": 1.5,
        "whole": 2.0,
        "none": None,
        "yes": True,
        "items": [1, 2, 3],
        "rows": [{"a": 1}, {"a": 2}],
        "odd key": "found",
        "at": "2026-11-23T12:00:00Z",
        "big": MAX_INT,
    },
    "steps": {
        "act": {"output": {"amount": 7}, "status": "completed"},
        "other": {"output": "x", "status": "skipped"},
    },
    "run": {
        "id": "r-1",
        "workflow_id": "refund",
        "workflow_version": "1.0.0",
        "tenant": "default",
        "actor": "alice",
    },
    "metadata": {"source": "web"},
    "tags": ["red", "blue"],
}


def evaluate(template: Any, scope: dict[str, Any] = SCOPE) -> Any:
    return Template.compile(template).evaluate(scope)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        (5, 5),
        (None, None),
        ("${input.amount}", 12),
        ("${ input.amount }", 12),
        ("${input}", SCOPE["input"]),
        ("${input.none}", None),
        ("${input.items}", [1, 2, 3]),
        ('${input["odd key"]}', "found"),
        ("order ${input.order_id}", "order o-1"),
        ("${input.order_id}${input.amount}", "o-112"),
        (" ${input.amount}", " 12"),
        ("${input.yes}!", "true!"),
        ("${input.price} ${input.whole}", "1.5 2"),
        ("$${input.amount}", "${input.amount}"),
        ("a $${x} ${input.amount}", "a ${x} 12"),
        ("$5 and {5} and }", "$5 and {5} and }"),
        ('${ {"refunded": steps.act.output.amount} }', {"refunded": 7}),
        ('${"}"}', "}"),
        ("${'}'}", "}"),
        ('${"""}"}"""}', '}"}'),
        ("${'''}'}'''}", "}'}"),
        (r"""${"\"}"}""", '"}'),
        (r"""${r"\}"}""", "\\}"),
        (r"""${r'\'}""", "\\"),
        ('${ {"a": {"b": [1, {"c": "{"}]}} }', {"a": {"b": [1, {"c": "{"}]}}),
        ("${input.amount // }\n + 1}", 13),
        ("${input.items.map(x, x * 2)}", [2, 4, 6]),
        ("${input.items.map(input, input * 2)}", [2, 4, 6]),
        ("${input.rows.filter(r, r.a > 1).map(r, r.a)}", [2]),
        ("${input.rows.map(r, input.items.filter(i, i > r.a))}", [[2, 3], [3]]),
        ("${has(input.missing) ? 1 : 2}", 2),
        ('${type(input.amount) == int && type("a") == string}', True),
        ('${string(timestamp(input.at) + duration("1h"))}', "2026-11-23T13:00:00+00:00"),
        ("${double(input.amount) * 1.5}", 18.0),
        ("${steps.act.status}", "completed"),
        ('${steps["act"].output.amount}', 7),
        ("${run.id}/${run.tenant}/${run.actor}", "r-1/default/alice"),
        ("${run.workflow_id} ${run.workflow_version}", "refund 1.0.0"),
        ("${metadata.source}", "web"),
        ('${"red" in tags}', True),
        (
            {"a": ["${input.amount}", {"b": "x${input.amount}"}], "c": 1},
            {"a": [12, {"b": "x12"}], "c": 1},
        ),
    ],
)
def test_templates_evaluate(template: Any, value: Any) -> None:
    result = evaluate(template)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("${}", "an expression is empty"),
        ("${  }", "an expression is empty"),
        ("a ${input.a", "a ${ has no closing }"),
        ('${"}', "does not parse"),
        ("${input.}", "`input.` does not parse"),
        ("${1 +}", "does not parse: mismatched input the end at character 4"),
        ("${\n1 +\n+}", "does not parse: mismatched input '+' at line 2 character 1"),
        ("${nope}", "there is no 'nope'; an expression sees input, metadata, run, steps, tags"),
        ("${input.a + Input.a}", "there is no 'Input'"),
        ("${.input}", "there is no '.input'"),
        ("${input.items.map(x, x) + x}", "there is no 'x'"),
        ("${input.items.map(x, y)}", "there is no 'y'"),
        ("${x.map(x, x)}", "there is no 'x'"),
        ("${optional.of(1)}", "there is no 'optional'"),
        ("${cel.bind(x, 1, x)}", "there is no 'cel'"),
        ("${input{}}", "a message of a type"),
        ("${a.b.C{x: 1}}", "there is no 'a'"),
        ("${now()}", "there is no function now()"),
        (
            "${input.a.startWith('x')}",
            "there is no function startWith(); did you mean startsWith()?",
        ),
        ("${input.transformList(tags, 1)}", "there is no function transformList()"),
        ("${steps}", "name the step that it reads: steps.<id>.output"),
        ("${size(steps)}", "name the step that it reads"),
        ("${steps[input.name].output}", "name the step that it reads"),
        ('${steps["a" + "b"].output}', "name the step that it reads"),
        ("${steps.map(s, s)}", "name the step that it reads"),
        (r'${steps["\x61"].output}', "name the step that it reads"),
        ("${steps.act.result}", "steps.act has output and status, not 'result'"),
        ("${run.user}", "run has actor, id, tenant, workflow_id, workflow_version, not 'user'"),
        ({"${input.a}": 1}, "keys are not evaluated"),
        ("${" + "1+" * MAX_TOKENS + "1}", f"it has more than {MAX_TOKENS} words and signs"),
        ("${" + "[1].map(x, x)[0] + " * 9 + "1}", "it has more than 8 loops"),
        ("${[1].map(a, [1].map(b, [1].all(c, true)))}", "may stand 2 deep in one another"),
    ],
)
def test_templates_that_do_not_compile(template: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Template.compile(template)
    assert message in caught.value.errors[0].message


def test_a_long_expression_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no closing } within 4096"):
        Template.compile('${"' + "a" * 5000 + '"}')
    with pytest.raises(InvalidInput, match="at most 4096 characters"):
        Condition.compile('"' + "a" * 5000 + '" == ""')


def test_every_bad_place_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        Template.compile({"a": "${nope}", "b/c": ["ok", "x ${1 +} ${2 +}"]})
    assert [error.path for error in caught.value.errors] == ["/a", "/b~1c/1", "/b~1c/1"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("${input.nope}", "there is no key 'nope' (has(…) tests for one)"),
        ("${steps.gone.output}", "there is no key 'gone'"),
        ("${input.items[9]}", "index out of bounds: 9"),
        ("${input.amount / 0}", "division by zero"),
        ("${input.order_id + 1}", "Unsupported operation: string + int"),
        ("${string(input.yes)}", "string() does not take a value of this type"),
        ("${input.order_id.matches('(?=a)')}", "not a valid regex"),
        ("${timestamp(input.at)}", "a timestamp is not a JSON value; make it text with string(…)"),
        ('${duration("1s")}', "a duration is not a JSON value; make it text with string(…)"),
        ('${b"ab"}', "bytes are not a JSON value"),
        ("${[timestamp(input.at)]}", "a timestamp is not a JSON value"),
        ("${ {1: 2} }", "keys must be strings"),
        ("${input.big + 1}", "integers must be within ±(2⁵³−1)"),
        ("${18446744073709551615u}", "integers must be within ±(2⁵³−1)"),
        ("${1.0 / 0.0}", "numbers must be finite"),
        ('${double("NaN")}', "numbers must be finite"),
        ("a ${input.none}", "null cannot stand within text"),
        ("a ${input.items}", "a list cannot stand within text"),
        ("a ${input}", "a map cannot stand within text"),
    ],
)
def test_failures_name_the_expression(template: str, message: str) -> None:
    compiled = Template.compile({"at": template})
    with pytest.raises(ExpressionError) as caught:
        compiled.evaluate(SCOPE)
    assert message in caught.value.detail
    assert caught.value.error_code == "expression_failed"
    assert caught.value.facts["source"] == template[template.index("${") + 2 : -1].strip()
    assert caught.value.errors[0].path.startswith("/at")


def test_what_is_put_in_too_deep_is_refused() -> None:
    value: Any = 1
    for _ in range(31):
        value = [value]
    assert evaluate("${input}", {"input": value}) == value
    with pytest.raises(ExpressionError, match="at most 32 levels"):
        evaluate([["${input}"]], {"input": value})


def test_loops_over_too_much_are_refused_before_they_start() -> None:
    def run(source: str, count: int) -> Any:
        return evaluate("${" + source + "}", {"input": {"a": [1] * count, "b": 1, "c": [0] * 9999}})

    assert run("size(input.a.map(x, x))", 500) == 500
    assert run("input.a.all(x, x == 1)", 500_000) is True
    for source, count in [
        ("input.a.map(x, x)", 2_001),
        ("input.a.filter(x, x > 1)", 2_001),
        ("input.a.all(x, input.a.exists(y, x == y))", 2_001),
        ("input.a.map(x, input.a.map(y, y))", 159),
        ("input.map(x, x)", 1),
    ]:
        with pytest.raises(ExpressionError, match="too many for what it does"):
            run(source, count)


def test_an_expression_sees_only_what_it_names() -> None:
    scope = {"input": {"a": 1, "unreadable": object()}, "steps": {"x": {"output": object()}}}
    assert evaluate("${input.a}", scope) == 1


@pytest.mark.parametrize(
    ("template", "steps"),
    [
        ("${input.a}", set()),
        ("${steps.a.output.x + steps['b'].output}", {"a", "b"}),
        ({"x": ["${steps.a.status}", "t ${steps.b.output}"]}, {"a", "b"}),
        ("${has(steps.a.output.x) ? 1 : size(steps.b.output)}", {"a", "b"}),
        ("${steps.a.output.map(x, x + steps.b.output)}", {"a", "b"}),
        ("${steps.a.output.map(steps, steps.b.output)}", {"a"}),
        ('${"steps.a.output"}', set()),
        ("$${steps.a.output}", set()),
        ("${input.steps.a}", set()),
    ],
)
def test_references(template: Any, steps: set[str]) -> None:
    assert Template.compile(template).references == steps


@pytest.mark.parametrize(
    "text", ["${input.amount > 10}", "${ input.amount > 10 }", " input.amount > 10 "]
)
def test_conditions_stand_bare_or_not(text: str) -> None:
    condition = Condition.compile(text)
    assert condition.source == "input.amount > 10"
    assert condition.evaluate(SCOPE) is True


def test_conditions_say_what_they_read() -> None:
    assert Condition.compile('steps.act.status == "completed"').references == {"act"}


@pytest.mark.parametrize(
    "source", ["input.amount", "input.none", "input.order_id", "tags", "input"]
)
def test_a_condition_that_is_no_bool_fails(source: str) -> None:
    with pytest.raises(ExpressionError, match="a condition must be true or false"):
        Condition.compile(source).evaluate(SCOPE)


@pytest.mark.parametrize(
    "text", ["", "${}", "a ${input.yes}", "${input.yes} b", "${input.yes", "nope"]
)
def test_bad_conditions(text: str) -> None:
    with pytest.raises(InvalidInput):
        Condition.compile(text)


def test_holes_are_found() -> None:
    assert split_template("a ${b} $${c} ${ {} }") == ["a ", Hole("b"), " ${c} ", Hole("{}")]
    assert split_template("${") is None
    assert split_template("") == []


@given(st.text(alphabet="${}\"'\\r\nxa/ ", max_size=40))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    for compile_ in (Template.compile, Condition.compile):
        refusal = None
        try:
            compile_(text)
        except InvalidInput as e:
            refusal = e
        assert refusal is None or refusal.errors


@given(st.text(alphabet=st.characters(exclude_characters="$"), max_size=40))
def test_text_without_dollars_is_itself(text: str) -> None:
    try:
        assert evaluate(text) == text
    except InvalidInput:
        assert any("\ud800" <= c <= "\udfff" for c in text)


@given(st.text(alphabet="ab{}\"'\\$\n /", max_size=20))
def test_string_literals_end_where_cel_ends_them(text: str) -> None:
    """A CEL literal of any text, in a hole, comes out as that text."""
    escaped = "".join(f"\\x{ord(c):02x}" if c in "\n\\\"'" else c for c in text)
    assert evaluate(f'${{"{escaped}"}}') == text
    assert evaluate(f"${{'{escaped}'}}") == text
    assert evaluate(f'${{"""{escaped}"""}}') == text


_LEAVES = st.sampled_from(
    [
        "1",
        "true",
        '"s"',
        "input",
        "input.a",
        "input.a.b",
        'input["a"]["b"]',
        "input.list",
        "x",
        "tags",
    ]
)


def _compounds(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        two.map(lambda p: f"({p[0]} + {p[1]})"),
        two.map(lambda p: f"({p[0]} == {p[1]})"),
        two.map(lambda p: f"[{p[0]}, {p[1]}]"),
        two.map(lambda p: f'{{"k": {p[0]}, "a": {p[1]}}}'),
        two.map(lambda p: f"input.list.map(x, {p[0]} == {p[1]})"),
        two.map(lambda p: f"[{p[0]}].exists(x, {p[1]} == x)"),
        inner.map(lambda e: f"size({e})"),
        inner.map(lambda e: f"{e}.a"),
        inner.map(lambda e: f"has({e}.a)"),
        inner.map(lambda e: f'{e} ["b"]'),
    )


_SCOPE = {"input": {"a": {"b": 1}, "list": [1, 2], "c": 3}, "tags": ["t"]}


@given(st.recursive(_LEAVES, _compounds, max_leaves=6))
def test_what_is_seen_is_enough(source: str) -> None:
    """Given only what it names, an expression comes out as it does given everything."""
    try:
        template = Template.compile("${" + source + "}")
    except InvalidInput:
        return
    try:
        expected = cel.compile(source).execute(_SCOPE)
    except Exception:
        with pytest.raises(FederationError):
            template.evaluate(_SCOPE)
    else:
        assert template.evaluate(_SCOPE) == expected


@given(st.recursive(_LEAVES, _compounds, max_leaves=6))
def test_free_and_bound_are_what_the_compiler_sees(source: str) -> None:
    try:
        variables = set(cel.compile(source).variables())
    except ValueError:
        return
    found = names(source)
    free = {path[0] for path in found.paths}
    assert free <= variables
    assert variables - found.bound <= free


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0s", 0),
        ("500ms", 500),
        ("30s", 30_000),
        ("1m", 60_000),
        ("24h", 86_400_000),
        ("7d", 604_800_000),
    ],
)
def test_durations(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


def test_the_longest_duration() -> None:
    assert parse_duration("366d") == MAX_DURATION_MS
    with pytest.raises(InvalidInput, match="longer than 366 days"):
        parse_duration("367d")


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-1s", "1.5s", "1h30m", " 1s", "1s ", "1S", "1w", "٣s", "9" * 99 + "s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a duration"):
        parse_duration(text)


def test_a_loop_that_would_copy_long_texts_is_refused() -> None:
    """2,000 items beside a text of 8,000 held everything up for seven seconds."""
    template = Template.compile('${input.l.map(i, {"i": i, "n": input.s})}')
    scope = {"input": {"l": list(range(2_000)), "s": "x" * 8_000}}
    with pytest.raises(ExpressionError, match="beside texts of 8,000"):
        template.evaluate(scope)
    scope["input"]["s"] = "x" * 100
    assert len(template.evaluate(scope)) == 2_000


def test_a_duration_is_told_to_people() -> None:
    assert [spoken(ms) for ms in (250, 1_000, 1_500, 3_600_000)] == [
        "250 ms", "1 s", "1.5 s", "3,600 s",
    ]  # fmt: skip
