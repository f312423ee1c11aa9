"""A bundle is loaded whole and sound, or not at all; and every problem is told at once."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.policy_helpers import MANIFEST, PERMIT, bundle, bundle_files, request, rule

from federation_core.errors import IntegrityError, SettingsError
from federation_core.policy import (
    PolicyInfo,
    bundle_hash,
    check_bundle,
    judge,
    load_bundle,
    read_bundle_folder,
    shipped_bundle,
)

FLAG = """
@id("large") @effect("flag") @tier("3") @reason("Large.")
@approvers("role:finance, alice") @quorum("2") @expires("24h")
forbid (principal, action, resource);
"""


def noted(notes: str, head: str = "permit") -> str:
    return f"{notes} {head} (principal, action, resource);"


def test_what_a_bundle_says_of_itself() -> None:
    loaded = bundle(
        PERMIT,
        FLAG,
        manifest='id: refunds\nversion: "2"\nmode: loose\ntier: 1\ndescription: For refunds.\n',
    )
    assert (loaded.bundle_id, loaded.version, loaded.mode, loaded.tier) == (
        "refunds",
        "2",
        "loose",
        "1",
    )
    assert loaded.description == "For refunds."
    assert loaded.policies == (
        PolicyInfo("permit", "permit", "p0.cedar", "1"),
        PolicyInfo("large", "flag", "p1.cedar", "3", "Large.", ("alice", "role:finance"), 2, 86400),
    )


def test_defaults() -> None:
    loaded = bundle(PERMIT)
    assert (loaded.mode, loaded.tier, loaded.description) == ("strict", "0", "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800), ("366d", 366 * 86400)],
)
def test_times(text: str, seconds: int) -> None:
    flag = noted(f'@id("f") @effect("flag") @expires("{text}")', "forbid")
    assert bundle(PERMIT, flag).policies[1].expires_s == seconds


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (noted(""), "@id is missing"),
        (noted("@id"), "@id must be"),
        (noted('@id("a b")'), "@id must be"),
        (noted('@id("a\\nb")'), "@id must be"),
        (noted('@id("a") @id("b")'), "duplicate annotation"),
        (noted('@id("a") @owner("x")'), "@owner is no annotation that is known"),
        (noted('@id("a") @tier("high")'), "@tier must be"),
        (noted('@id("a") @tier("01")'), "@tier must be"),
        (noted('@id("a") @tier("100")'), "@tier must be"),
        (noted('@id("a") @reason("")'), "@reason must be"),
        (noted('@id("a") @reason'), "@reason must be"),
        (noted(f'@id("a") @reason("{"x" * 301}")'), "@reason must be"),
        (noted('@id("a") @effect("flag")'), "@effect must be"),
        (noted('@id("a") @effect("deny")', "forbid"), "@effect must be"),
        (noted('@id("a") @approvers("x")'), "@approvers counts only beside"),
        (noted('@id("a") @quorum("1")', "forbid"), "@quorum counts only beside"),
        (noted('@id("a") @expires("1h")', "forbid"), "@expires counts only beside"),
        (noted('@id("a") @effect("flag") @quorum("0")', "forbid"), "@quorum must be"),
        (noted('@id("a") @effect("flag") @quorum("two")', "forbid"), "@quorum must be"),
        (noted('@id("a") @effect("flag") @approvers("a,,b")', "forbid"), "@approvers must"),
        (noted('@id("a") @effect("flag") @approvers("role:")', "forbid"), "@approvers must"),
        (noted('@id("a") @effect("flag") @approvers("a, a")', "forbid"), "@approvers must"),
        (noted('@id("a") @effect("flag") @expires("1w")', "forbid"), "@expires must be"),
        (noted('@id("a") @effect("flag") @expires("0s")', "forbid"), "@expires must be"),
        (noted('@id("a") @effect("flag") @expires("367d")', "forbid"), "@expires must be"),
        (
            noted('@id("a") @effect("flag") @approvers("x, y") @quorum("3")', "forbid"),
            "asks for more people than the 2",
        ),
        ('@id("a") permit (principal == ?principal, action, resource);', "templates"),
        ('@id("a") permit (principal, action resource);', "unexpected token `resource`"),
        ('@id("a") permit (principal, action, resource)', "unexpected end of input"),
        (rule("a", "context.inptu == 1"), "context has no attribute 'inptu'"),
        (rule("a", "context has amount"), "context has no attribute 'amount'"),
        (rule("a", 'principal in Roles::"x"'), "there is no entity type 'Roles'"),
        (rule("a", "resource is Steps"), "there is no entity type 'Steps'"),
        ('@id("a") permit (principal is User, action, resource);', "no entity type 'User'"),
        (
            rule("a", 'action == Action::"step.atc"'),
            "there is no action 'step.atc'; did you mean 'step.act'?",
        ),
        (
            '@id("a") permit (principal, action in [Action::"run.strat"], resource);',
            "there is no action 'run.strat'",
        ),
    ],
)
def test_a_policy_that_is_not_taken(policy: str, problem: str) -> None:
    [told] = check_bundle(bundle_files(PERMIT, policy))
    assert told.startswith("p1.cedar: line 1: ")
    assert problem in told


def test_a_role_among_the_approvers_may_stand_for_any_number() -> None:
    flag = noted('@id("f") @effect("flag") @approvers("x, role:y") @quorum("3")', "forbid")
    assert bundle(PERMIT, flag).policies[1].quorum == 3


def test_all_problems_are_told_at_once_with_file_and_line() -> None:
    files = {
        "bundle.yaml": b"id: UPPER\nversion: 1\n",
        "a.cedar": b"\n\n// first\npermit (principal, action, resource);\n\nnonsense;\n",
        "b.cedar": b'@id("x") @tier("?") permit (principal, action, resource);',
        "c.cedar": b"\xff",
        "notes.txt": b"",
    }
    problems = check_bundle(files)
    assert [p.partition(": ")[0] for p in problems] == [
        "c.cedar",
        "notes.txt",
        "bundle.yaml",
        "a.cedar",
        "a.cedar",
        "b.cedar",
    ]
    assert "line 4: @id is missing" in problems[3]
    assert "line 6: " in problems[4]
    with pytest.raises(SettingsError, match=r"c\.cedar: it is not UTF-8.*\(and 5 more\)") as error:
        load_bundle(files)
    assert [f"{e.path}: {e.message}" for e in error.value.errors] == problems


def test_an_id_stands_once_in_the_whole_bundle() -> None:
    [problem] = check_bundle(bundle_files(PERMIT, rule("x", "true"), PERMIT))
    assert problem == 'p2.cedar: @id("permit") stands in p0.cedar already'


@pytest.mark.parametrize(
    "manifest",
    [
        "id: a",
        "version: '1'",
        "id: a\nversion: 1.0",
        "id: a\nversion: '1'\nmode: lax",
        "id: a\nversion: '1'\ntier: 100",
        "id: a\nversion: '1'\ntier: x",
        "id: a\nversion: '1'\nowner: x",
        "id: a\nid: b\nversion: '1'",
        "id: \"a\\n\"\nversion: '1'",
        "id: a\nversion: ''",
        "- a",
        "a: [",
        "!!python/object:os.system x",
        "&a [*a]",
        "[" * 2000,
        "id: a\nversion: '1'\ndescription: |\n  " + "x" * 16_384,
        "\x01",
        "2024-99-99",
        "   ",
        "null",
        "[]",
    ],
)
def test_a_manifest_that_is_not_taken(manifest: str) -> None:
    [problem] = check_bundle(bundle_files(PERMIT, manifest=manifest))
    assert problem.startswith("bundle.yaml: ")


def test_a_bundle_needs_its_manifest_and_a_policy() -> None:
    assert check_bundle({}) == [
        "bundle.yaml: it is missing; it says the bundle's id and version",
        "*.cedar: there is no policy; the bundle would deny everything",
    ]
    assert len(check_bundle({"bundle.yaml": MANIFEST, "a.cedar": b"// nothing\n"})) == 1


@pytest.mark.parametrize(
    "name",
    ["../a.cedar", "a/b.cedar", "/a.cedar", ".a.cedar", "a.cedar\n", "", "a.CEDAR", "Bundle.yaml"],
)
def test_names_that_no_bundle_has(name: str) -> None:
    files = bundle_files(PERMIT) | {name: b""}
    assert len(check_bundle(files)) == 1


def test_sizes() -> None:
    assert check_bundle(bundle_files(PERMIT, "//" + "x" * 262_142)) == []
    assert "more than 262144 bytes" in check_bundle(bundle_files(PERMIT, "//" + "x" * 262_143))[0]
    many = {f"{i}.cedar": rule(f"r{i}", "true").encode() for i in range(99)}
    assert check_bundle({"bundle.yaml": MANIFEST} | many) == []
    assert "at most 100 files" in check_bundle(bundle_files(PERMIT, PERMIT) | many)[0]


SCHEMA = """
type Context = { input: { amount?: Long }, now: Long };
entity Role; entity Tenant; entity Workflow in [Tenant]; entity Step in [Workflow];
entity Actor in [Role] = { kind: String, roles: Set<String>, tenant: String };
action "step.act" appliesTo { principal: Actor, resource: Step, context: Context };
"""


def test_policies_are_checked_against_the_schema() -> None:
    guarded = rule("ok", "context.input has amount && context.input.amount > 5")
    assert check_bundle(bundle_files(guarded, schema=SCHEMA)) == []
    problems = check_bundle(
        bundle_files(
            guarded,
            rule("bare", "context.input.amount > 5"),
            rule("typed", 'context.now == "today" || context.now.lessThan(1)'),
            schema=SCHEMA,
        )
    )
    assert len(problems) >= 2
    assert problems[0].startswith('p1.cedar: @id("bare"): unable to guarantee safety of access')
    assert all(p.startswith('p2.cedar: @id("typed"): ') for p in problems[1:])
    assert not any("policy0" in p for p in problems)


@pytest.mark.parametrize("schema", ["entity", "entity X in [Y];", "\x00"])
def test_a_schema_that_is_none(schema: str) -> None:
    [problem] = check_bundle(bundle_files(PERMIT, schema=schema))
    assert problem.startswith("schema.cedarschema: ")


BOMBS = {
    "brackets": "(" * 2000 + "true" + ")" * 2000,
    "brackets unclosed": "(" * 100_000,
    "brackets behind a comment that a carriage return ends": "true // \r" + "(" * 2000,
    "brackets behind an error": "} ) ] ; permit" + "(" * 2000,
    "brackets behind half a string": 'true == "a\\\n' + "(" * 2000,
    "records": "{a: " * 2000 + "1" + "}" * 2000,
    "sets": "[" * 2000 + "]" * 2000,
    "ands": " && ".join(["true"] * 40_000),
    "ands of a readable length": " && ".join(["true"] * 900),
    "ifs": "if true then " * 10_000 + "true" + " else false" * 10_000,
    "sums": "1" + "+1" * 60_000 + " == 1",
    "attributes": "context" + ".a" * 60_000 + " == 1",
    "attributes asked for": "context has input" + ".a" * 900,
}


@pytest.mark.parametrize("name", BOMBS)
def test_text_that_would_end_the_process_is_refused(name: str) -> None:
    problems = check_bundle(bundle_files(PERMIT, rule("bomb", BOMBS[name])))
    assert problems
    assert all(len(p) < 500 for p in problems)


def test_a_schema_that_would_end_the_process_is_refused() -> None:
    for text in ("Set<" * 5000 + "Long" + ">" * 5000, "{a: " * 5000 + "Long" + "}" * 5000):
        [problem] = check_bundle(bundle_files(PERMIT, schema=f"entity A {{ a: {text} }};"))
        assert "nested deeper" in problem


def test_a_policy_may_be_long() -> None:
    terms = " || ".join(f"context.input.n == {i}" for i in range(150))
    names = ", ".join(f'"name{i}"' for i in range(800))
    loaded = bundle(rule("long", terms), rule("list", f"[{names}].contains(context.input.n)"))
    assert judge(loaded, request(input={"n": 149})).decision == "allow"
    assert judge(loaded, request(input={"n": "name799"})).decision == "allow"
    assert judge(loaded, request(input={"n": "x"})).decision == "deny"


@given(st.text() | st.text(alphabet='@id(")permitforbd,;/\n\r\\{}[]?<> '))
@settings(max_examples=200, deadline=None)
def test_any_text_is_taken_or_told(text: str) -> None:
    for name in ("p.cedar", "bundle.yaml", "schema.cedarschema"):
        files = bundle_files(PERMIT) | {name: text.encode("utf-8", "replace")}
        assert isinstance(check_bundle(files), list)


def test_semicolons_in_strings_and_comments_end_nothing() -> None:
    text = """
    // a; b "
    @id("a") @reason("one; two // three \\" four;") // end;
    permit (principal, action, resource) when { context.input.s == ";//" };
    // and; nothing
    """
    loaded = bundle(text)
    assert [p.reason for p in loaded.policies] == ['one; two // three " four;']
    assert judge(loaded, request(input={"s": ";//"})).decision == "allow"


def test_the_hash_is_over_names_and_bytes() -> None:
    """The published form: SHA-256 of `{"files":{"bundle.yaml":"<sha256>","p0.cedar":…}}`."""
    files = bundle_files(PERMIT)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    text = json.dumps({"files": hashes}, sort_keys=True, separators=(",", ":"))
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert load_bundle(files).bundle_hash == bundle_hash(files) == expected


def test_the_hash_changes_with_any_byte_of_any_file() -> None:
    files = shipped_bundle("strict")
    seen = {bundle_hash(files)}
    for name, data in files.items():
        for changed in (data + b"\n", data[:-1], b" " + data, data.swapcase()):
            seen.add(bundle_hash(files | {name: changed}))
        seen.add(bundle_hash({k: v for k, v in files.items() if k != name}))
        seen.add(bundle_hash({**{k: v for k, v in files.items() if k != name}, f"x{name}": data}))
    seen.add(bundle_hash(files | {"empty.cedar": b""}))
    assert len(seen) == 2 + 6 * len(files)


def test_the_order_of_files_means_nothing() -> None:
    files = shipped_bundle("strict")
    backwards = dict(reversed(files.items()))
    assert list(files) != list(backwards)
    one, other = load_bundle(files), load_bundle(backwards)
    assert one.bundle_hash == other.bundle_hash
    assert one.policies == other.policies


def test_another_hash_than_expected_is_refused_before_anything_is_read() -> None:
    files = bundle_files("nonsense")
    with pytest.raises(IntegrityError) as error:
        load_bundle(files, expected_hash="0" * 64)
    assert error.value.facts == {"expected": "0" * 64, "actual": bundle_hash(files)}
    good = bundle_files(PERMIT)
    assert load_bundle(good, expected_hash=bundle_hash(good)).bundle_hash == bundle_hash(good)


def test_a_bundle_does_not_change_under_its_hash() -> None:
    files = bundle_files(PERMIT)
    loaded = load_bundle(files)
    files["p0.cedar"] = b"other"
    assert loaded.files["p0.cedar"] == PERMIT.encode()
    taken: Any = loaded.files
    with pytest.raises(TypeError):
        taken["p0.cedar"] = b"other"


class TestFolder:
    def test_reads_what_is_there(self, tmp_path: Path) -> None:
        files = bundle_files(PERMIT)
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        assert read_bundle_folder(tmp_path) == files

    def test_refuses_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(PERMIT.encode())
        folder = tmp_path / "bundle"
        folder.mkdir()
        (folder / "a.cedar").symlink_to(tmp_path / "secret")
        with pytest.raises(SettingsError, match="is a link"):
            read_bundle_folder(folder)

    def test_refuses_other_names_and_folders(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        with pytest.raises(SettingsError, match=r"only bundle\.yaml"):
            read_bundle_folder(tmp_path)
        (tmp_path / "sub").rename(tmp_path / "sub.cedar")
        with pytest.raises(SettingsError, match="is not a file"):
            read_bundle_folder(tmp_path)

    def test_refuses_what_is_no_plain_file_without_waiting_for_it(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.cedar")
        with pytest.raises(SettingsError, match="is not a file"):
            read_bundle_folder(tmp_path)

    def test_refuses_a_large_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.cedar").write_bytes(b" " * 262_145)
        with pytest.raises(SettingsError, match="more than 262144 bytes"):
            read_bundle_folder(tmp_path)

    def test_refuses_too_many_files(self, tmp_path: Path) -> None:
        for i in range(101):
            (tmp_path / f"{i}.cedar").touch()
        with pytest.raises(SettingsError, match="at most 100"):
            read_bundle_folder(tmp_path)

    def test_says_what_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="cannot be read"):
            read_bundle_folder(tmp_path / "none")

    def test_only_what_is_shipped_is_shipped(self) -> None:
        for name in ("../strict", "", "lax"):
            with pytest.raises(SettingsError, match="no shipped bundle"):
                shipped_bundle(name)
