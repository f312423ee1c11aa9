"""RFC 8785 by its own vectors, strict parsing by what it must refuse, hashes by hand."""

import hashlib
import json
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import InvalidInput
from federation_core.spine.canonical import (
    MAX_DEPTH,
    MAX_INT,
    canonical,
    check_value,
    parse,
    salted_hash,
    sha256,
    sorted_json,
    value_hash,
)

# RFC 8785 section 3.2.2, and its canonical bytes from section 3.2.4
SAMPLE = r"""{
  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
  "literals": [null, true, false]
}"""
SAMPLE_BYTES = bytes.fromhex(
    "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72"
    "75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73 22 3a"
    "5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31"
    "65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37"
    "5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30"
    "30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d"
)

# RFC 8785 section 3.2.3: sorted by UTF-16 code units, so the emoji comes before U+FB33
UNSORTED = r"""{
  "\u20ac": "Euro Sign",
  "\r": "Carriage Return",
  "\ufb33": "Hebrew Letter Dalet With Dagesh",
  "1": "One",
  "\ud83d\ude00": "Emoji: Grinning Face",
  "\u0080": "Control",
  "\u00f6": "Latin Small Letter O With Diaeresis"
}"""
SORTED = [
    "Carriage Return",
    "One",
    "Control",
    "Latin Small Letter O With Diaeresis",
    "Euro Sign",
    "Emoji: Grinning Face",
    "Hebrew Letter Dalet With Dagesh",
]

# RFC 8785 appendix B: the bits of an IEEE 754 double, and its form
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}

integers = st.integers(-MAX_INT, MAX_INT)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ascii_keys = st.text(st.characters(max_codepoint=127), max_size=6)
fractions = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda f: not f.is_integer() or abs(f) <= MAX_INT
)
plain = st.recursive(
    st.none() | st.booleans() | integers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ascii_keys, inner, max_size=4),
    max_leaves=12,
)
values = st.recursive(
    st.none() | st.booleans() | integers | texts | fractions,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def double(bits: str) -> float:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    return float(value)


# the canonical form


def test_the_sample_of_the_rfc() -> None:
    assert canonical(json.loads(SAMPLE)) == SAMPLE_BYTES


def test_the_sorting_of_the_rfc() -> None:
    assert list(json.loads(canonical(json.loads(UNSORTED))).values()) == SORTED


@pytest.mark.parametrize(("bits", "form"), NUMBERS.items())
def test_the_numbers_of_the_rfc(bits: str, form: str) -> None:
    assert canonical(double(bits)) == form.encode()
    assert canonical([double(bits)]) == f"[{form}]".encode()


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])
def test_the_numbers_that_the_rfc_refuses(bits: str) -> None:
    with pytest.raises(InvalidInput, match="no RFC 8785 form"):
        canonical(double(bits))


@given(plain)
def test_the_fast_encoder_writes_rfc_8785(value: Any) -> None:
    assert sorted_json(value) == rfc8785.dumps(value) == canonical(value)


@given(values)
def test_the_canonical_form_is_one_and_means_the_same(value: Any) -> None:
    data = canonical(value)
    again = json.loads(data)
    assert again == value
    assert canonical(again) == data


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        {"\ud800": 1},
        ["\udfff"],
        {"é": "\ud800"},
        2**53,
        -(2**53),
        {1: 2},
        {"a": ...},
    ],
    ids=repr,
)
def test_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(InvalidInput, match="no RFC 8785 form"):
        canonical(value)


# hashes


def test_hashes_by_hand() -> None:
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert value_hash({"b": 1, "a": [1.0]}) == hashlib.sha256(b'{"a":[1],"b":1}').hexdigest()
    assert value_hash({"a": 1}) != value_hash({"a": "1"})
    salt = bytes(range(32))
    by_hand = hashlib.sha256(b"fc/payload/v1\x00" + salt + b'"pin"').hexdigest()
    assert salted_hash(canonical("pin"), salt) == by_hand


# strict parsing


@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    assert parse(canonical(value)) == value
    assert parse(json.dumps(value)) == value


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a duplicate key": ('{"a":1,"a":2}', "The key 'a' stands twice"),
    "a duplicate key within": ('[{"x":{"a":1,"b":2,"a":1}}]', "The key 'a' stands twice"),
    "a duplicate key, escaped": (r'{"a":1,"\u0061":2}', "The key 'a' stands twice"),
    "NaN": ('{"a":NaN}', "NaN is not JSON"),
    "Infinity": ("[Infinity]", "Infinity is not JSON"),
    "-Infinity": ("-Infinity", "-Infinity is not JSON"),
    "a number that overflows": ("[1e400]", "value at /0 is refused: numbers must be finite"),
    "an integer beyond 2^53": ("9007199254740992", "value at / is refused: integers"),
    "an integer below -2^53": ('{"a":[-9007199254740992]}', "value at /a/0 is refused: integers"),
    "a whole number beyond 2^53": ("[1e16]", "whole numbers must be within"),
    "an integer of 5,000 digits": ("1" * 5000, "a number that cannot be read"),
    "a lone high surrogate": (r'["\ud800"]', "value at /0 is refused: text must not"),
    "a lone low surrogate": (r'"\udc00"', "text must not hold lone surrogates"),
    "surrogates in the wrong order": (r'"\ude00\ud83d"', "lone surrogates"),
    "a surrogate in a key": (r'{"\ud800":1}', "lone surrogates"),
    "a surrogate on the path": (r'{"\ud800":{"\ud800":1}}', "lone surrogates"),
    "33 levels": ("[" * 33 + "]" * 33, "at most 32 levels deep"),
    "33 levels of objects": ('{"a":' * 33 + "1" + "}" * 33, "at most 32 levels deep"),
    "100,000 levels": ("[" * 100_000, "nested deeper than 32 levels"),
    "bytes that are not UTF-8": (b'"\xff"', "not UTF-8: invalid start byte at byte 1"),
    "an overlong form": (b'"\xc0\xaf"', "not UTF-8"),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', "not UTF-8"),
    "a cut off character": (b'"\xe2\x82"', "not UTF-8"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "not UTF-8"),
    "a byte order mark": (b'\xef\xbb\xbf{"a":1}', "not JSON"),
    "nothing": (b"", "not JSON"),
    "two values": ("{} {}", "not JSON: Extra data at line 1 column 4"),
    "a trailing comma": ("[1,]", "not JSON"),
    "single quotes": ("{'a':1}", "not JSON"),
    "a comment": ("[1] // one", "not JSON"),
    "a leading zero": ("01", "not JSON"),
    "a leading plus": ("+1", "not JSON"),
    "no digit before the point": (".5", "not JSON"),
    "no digit after the point": ("1.", "not JSON"),
    "a control character in text": ('"a\nb"', "not JSON"),
    "Python's None": ("None", "not JSON"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_parsing_refuses(name: str) -> None:
    text, why = REFUSED[name]
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert why in caught.value.detail


def test_what_parsing_takes() -> None:
    assert parse(r'"\ud83d\ude00"') == "\U0001f600"
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert parse(f"[{MAX_INT},{-MAX_INT},-0,1E2]") == [MAX_INT, -MAX_INT, 0, 100]
    assert parse(b' {"a" : null }\n') == {"a": None}
    assert parse('{"a":{"a":{"a":1}}}') == {"a": {"a": {"a": 1}}}


def test_a_refusal_says_where() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse('{"a":{"b":[0,9007199254740993]}}')
    assert [e.path for e in caught.value.errors] == ["/a/b/1"]


@given(st.binary())
def test_any_bytes_are_a_value_or_a_refusal(data: bytes) -> None:
    try:
        value = parse(data)
    except InvalidInput:
        return
    assert parse(canonical(value)) == value


@pytest.mark.parametrize(
    "value", [(1, 2), {1: 2}, {"a": b"x"}, [{1}], object(), {"a": float("nan")}]
)
def test_what_is_no_json_value(value: Any) -> None:
    with pytest.raises(InvalidInput, match="is refused"):
        check_value(value)


def test_a_duplicate_among_many_keys_is_found_in_one_pass() -> None:
    keys = ", ".join(f'"{n}": 0' for n in range(60_000))
    with pytest.raises(InvalidInput, match="'59999' stands twice"):
        parse("{" + keys + ', "59999": 1}')
