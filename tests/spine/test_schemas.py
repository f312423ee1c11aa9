"""JSON Schemas from anyone: nothing is fetched, nothing takes long, every refusal has a place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import FieldError, InvalidInput
from federation_core.spine.pointers import join, split
from federation_core.spine.schemas import MAX_ERRORS, Validator, compile_schema, validate

DOUBLING: dict[str, Any] = {
    "$ref": "#/$defs/0",
    "$defs": {
        **{
            str(i): {"anyOf": [{"$ref": f"#/$defs/{i + 1}"}, {"not": {"$ref": f"#/$defs/{i + 1}"}}]}
            for i in range(40)
        },
        "40": {"type": "string"},
    },
}
DOUBLING_BY_LEVEL: dict[str, Any] = {
    "anyOf": [
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"], "minProperties": 1},
    ]
}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "list": {"items": {"$ref": "#"}}},
    "additionalProperties": False,
}


def nested(levels: int, key: str) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {key: value}
    return value


@pytest.mark.parametrize(
    ("schema", "value", "errors"),
    [
        (True, 1, []),
        ({}, {"a": [None]}, []),
        ({"type": "string"}, "a", []),
        ({"type": "string"}, 1, [("", 'the value is not of type "string"')]),
        ({"required": ["a"]}, {}, [("", "the key 'a' is missing")]),
        (
            {"properties": {"a": {"items": {"minimum": 3}}}},
            {"a": [5, 1]},
            [("/a/1", "the value is less than the minimum of 3")],
        ),
        (
            {"properties": {"a": True}, "additionalProperties": False},
            {"a": 1, "b/c": 2, "d~": 3},
            [("/b~1c", "the schema has no such key"), ("/d~0", "the schema has no such key")],
        ),
        (
            {"unevaluatedProperties": False},
            {"x": 1},
            [("/x", "the schema has no such key")],
        ),
        ({"format": "email"}, "nobody", [("", 'the value is not a "email"')]),
        ({"format": "no-such-format"}, "x", []),
        ({"pattern": "^a+$"}, "b", [("", 'the value does not match "^a+$"')]),
        (TREE, {"left": {"right": {"up": 1}}}, [("/left/right/up", "the schema has no such key")]),
        ({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"const": 1}}}, 1, []),
        ({"$ref": "#/allOf/0", "allOf": [{"type": "string"}]}, "x", []),
        (
            {"$ref": "https://json-schema.org/draft/2020-12/schema"},
            {"minLength": "x"},
            [("/minLength", 'the value is not of type "integer"')],
        ),
        (
            {"const": {"$ref": "https://not.followed.example"}},
            {"$ref": "https://not.followed.example"},
            [],
        ),
    ],
)
def test_values_are_checked(schema: Any, value: Any, errors: list[tuple[str, str]]) -> None:
    assert validate(schema, value) == [FieldError(*error) for error in errors]


def test_the_draft_of_the_schema_is_honoured() -> None:
    old: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "minimum": 3,
        "exclusiveMinimum": True,
    }
    assert validate(old, 3)
    assert not validate(old, 4)
    with pytest.raises(InvalidInput, match="refused at /exclusiveMinimum"):
        compile_schema({key: old[key] for key in ("minimum", "exclusiveMinimum")})


def test_errors_do_not_repeat_the_value() -> None:
    schema = {
        "properties": {
            "a": {"type": "integer"},
            "b": {"enum": ["x"]},
            "c": {"pattern": "x"},
            "d": {"maxLength": 1},
            "e": {"anyOf": [{"const": 1}, {"const": 2}]},
        }
    }
    errors = validate(schema, dict.fromkeys("abcde", "hunter2"))
    assert len(errors) == 5
    assert "hunter2" not in repr(errors)


def test_errors_are_counted_out() -> None:
    assert len(validate({"items": {"type": "string"}}, [1] * 1000)) == MAX_ERRORS


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ([], "", "it must be an object, true or false"),
        ({"type": "text"}, "/type", "a type is array, boolean"),
        ({"properties": {"a/b": {"type": 5}}}, "/properties/a~1b/type", "a type is array"),
        (
            {"properties": {"a": {"minLength": -1}}},
            "/properties/a/minLength",
            "less than the minimum",
        ),
        ({"pattern": "("}, "/pattern", "not a regular expression"),
        ({"pattern": "(?=a)"}, "/pattern", "not a regular expression that runs in linear time"),
        ({"pattern": r"(a)\1"}, "/pattern", "not a regular expression that runs in linear time"),
        ({"pattern": "(a{1000}){1000}"}, "/pattern", "not a regular expression"),
        ({"patternProperties": {"(": True}}, "/patternProperties/(", "not a regular expression"),
        ({"$schema": "https://example.com/own"}, "", "Unknown meta-schema"),
        ({"$ref": "#/$defs/a"}, "/$ref", "'#/$defs/a' leads nowhere"),
        ({"description": "x" * 70_000}, "", "it is larger than 65536 bytes"),
        (
            {"properties": {"a": {"$id": "https://a.example", "type": "string"}}},
            "/properties/a/$id",
            "outermost",
        ),
        ({"$ref": "#"}, "", "refers back to itself"),
        (
            {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}},
            "",
            "refers back to itself",
        ),
    ],
)
def test_bad_schemas_are_refused_with_the_place(schema: Any, path: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        compile_schema(schema)
    assert caught.value.errors[0].path == path
    assert message in caught.value.errors[0].message
    assert caught.value.detail.startswith("The JSON Schema is refused")


@pytest.mark.parametrize("key", ["$ref", "$dynamicRef", "$recursiveRef"])
@pytest.mark.parametrize(
    "reference",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://example.com/schema.json#/$defs/a",
        "file:///etc/passwd",
        "/etc/passwd",
        "//example.com/schema",
        "other.json",
        "?query",
        "#anchor",
        "urn:example:schema",
        "data:application/json,true",
        "https://json-schema.org.example.com/schema",
        "",
    ],
)
def test_attack_remote_reference(key: str, reference: str) -> None:
    schemas: list[tuple[dict[str, Any], str]] = [
        ({key: reference}, f"/{key}"),
        ({"properties": {"a": {"items": [{key: reference}]}}}, f"/properties/a/items/0/{key}"),
        ({"$defs": {"unused": {key: reference}}}, f"/$defs/unused/{key}"),
        ({"$id": "https://example.com/", key: reference}, f"/{key}"),
    ]
    for schema, path in schemas:
        with pytest.raises(InvalidInput, match="leads out of the schema") as caught:
            compile_schema(schema)
        assert caught.value.errors[0].path == path


def test_attack_slow_pattern() -> None:
    assert validate({"pattern": "^(a+)+$"}, "a" * 100_000 + "!")
    assert validate({"patternProperties": {"^(a|a)*$": False}}, {"a" * 10_000: 1})


def test_attack_references_that_double() -> None:
    with pytest.raises(InvalidInput, match="looks at one value more than"):
        compile_schema(DOUBLING)


def test_attack_references_that_double_at_each_level() -> None:
    assert validate(DOUBLING_BY_LEVEL, nested(3, "a"))
    with pytest.raises(InvalidInput, match=r"nested at most \d levels deep"):
        validate(DOUBLING_BY_LEVEL, nested(20, "a"))


def test_attack_chain_of_references() -> None:
    chain = {str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(2000)}
    with pytest.raises(InvalidInput, match="through too many others"):
        compile_schema({"$ref": "#/$defs/0", "$defs": {**chain, "2000": True}})


def test_recursive_schemas_that_do_not_double_go_all_the_way_down() -> None:
    assert validate(TREE, nested(31, "left")) == []


@pytest.mark.parametrize(
    "value", [float("nan"), 2**60, "\ud800", {1: 2}, object(), nested(40, "a")]
)
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        validate({}, value)
    with pytest.raises(InvalidInput):
        compile_schema({"const": value})


def test_equal_schemas_are_compiled_once() -> None:
    first = compile_schema({"type": "string", "minLength": 1})
    assert isinstance(first, Validator)
    assert compile_schema({"minLength": 1, "type": "string"}) is first


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
_WORDS = st.sampled_from(
    [
        *(
            "$ref",
            "$id",
            "$defs",
            "$schema",
            "type",
            "properties",
            "items",
            "anyOf",
            "not",
            "pattern",
        ),
        *("#", "#/$defs/a", "a", "string", "prefixItems", "dependencies", "if", "then", "format"),
    ]
)
_SCHEMAS = st.recursive(
    st.booleans() | _WORDS | st.integers(-1, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(_SCHEMAS, _JSON)
def test_any_schema_is_used_or_refused(schema: Any, value: Any) -> None:
    refusal = None
    try:
        validate(schema, value)
    except InvalidInput as e:
        refusal = e
    assert refusal is None or refusal.errors


@given(st.lists(st.text(max_size=5)))
def test_pointers_come_back(parts: list[str]) -> None:
    assert split(join(parts)) == parts
