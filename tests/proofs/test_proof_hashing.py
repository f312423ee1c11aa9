"""The checks' own hashing gives what the system's gives, and refuses what it was not made for."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.proofs.hashing import canonical, digest, leaf_hash
from federation_core.proofs.transcript import Transcript, event_bytes
from federation_core.spine.canonical import canonical as rfc8785
from federation_core.spine.canonical import value_hash

KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=4) | st.dictionaries(KEYS, v, max_size=4), max_leaves=12
)


@given(VALUES)
def test_it_is_rfc_8785(value: Any) -> None:
    assert canonical(value) == rfc8785(value)
    assert digest(value) == value_hash(value)


@pytest.mark.parametrize("value", [0.5, {"ä": 1}, [{"a": 1.0}], {1: 2}, b"x", {"a"}])
def test_what_it_cannot_write_as_rfc_8785_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="only values"):
        canonical(value)


def test_a_leaf_is_hashed_as_rfc_9162_says() -> None:
    assert leaf_hash(b"") == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"x") == hashlib.sha256(b"\0x").hexdigest()


@pytest.mark.parametrize("letter", "ABC")
def test_events_are_built_anew_byte_for_byte(honest: dict[str, Transcript], letter: str) -> None:
    t = honest[letter]
    assert t.log is not None
    log, tenant = t.log, t.run["tenant_id"]
    assert [event_bytes(entry, tenant=tenant, log=log) for entry in t.logs] == t.bodies
