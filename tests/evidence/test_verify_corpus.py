"""Some thousand packs and lives, nearly all of them with one thing wrong, and for each of them the
whole verdict: `corpus/expected.json`, which `python -m tests.evidence.corpus` writes.

This is also what mutants of the verifier are held against (`docs/mutation.md`), so it is quick:
what is signed stands in hundreds of packs, and is verified once.
"""

import functools
import tempfile
from pathlib import Path

import pytest
from tests.evidence.corpus.calls import CALLS, said
from tests.evidence.corpus.packs import GROUPS
from tests.evidence.corpus.verdicts import (
    call_groups,
    expected,
    life_groups,
    pack_groups,
    short,
    verdict_of,
)

from federation_core.evidence import verify

_signature = functools.cache(verify.verify_signature)
_point = functools.cache(verify._decode_point)
_folder = tempfile.TemporaryDirectory(prefix="packs-")

LIVES = ("lawful", "stories", "definitions", "orders", "facts", "kin", "fans")


@pytest.fixture
def signatures_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "verify_signature", _signature)
    monkeypatch.setattr(verify, "_decode_point", _point)


@pytest.mark.parametrize("group", [*CALLS, "command", "kinship"])
def test_what_single_functions_say(group: str) -> None:
    calls, should = call_groups()[f"calls: {group}"], expected()[f"calls: {group}"]
    assert [name for name, _, _ in calls] == list(should)
    for name, call, arguments in calls:
        assert said(call, arguments) == should[name], name


@pytest.mark.usefixtures("signatures_once")
@pytest.mark.parametrize("group", GROUPS)
def test_the_verdict_on_packs(group: str) -> None:
    cases, should = pack_groups()[group], expected()[group]
    assert [case.name for case in cases] == list(should)
    for case in cases:
        assert short(verdict_of(case, Path(_folder.name))) == should[case.name], case.name


@pytest.mark.parametrize("group", LIVES)
def test_the_verdict_on_lives(group: str) -> None:
    lives, should = life_groups()[f"life: {group}"], expected()[f"life: {group}"]
    assert [life.name for life in lives] == list(should)
    for life in lives:
        assert life.verdict() == should[life.name], life.name
