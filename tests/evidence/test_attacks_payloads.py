"""Values, policies and definitions exchanged, taken out, or put in; and what erasing excuses."""

import json
from base64 import b64encode
from typing import Any

import pytest
from tests.evidence.attack_worlds import (
    Attacker,
    assert_refused,
    assert_valid,
    events_of,
    path_of,
    verdict,
    world,
)
from tests.evidence.pack_forge import Forge, canonical, digest, payload_file, repack, unpack

SALT = b"\5" * 32


def payloads(name: str) -> dict[str, dict[str, Any]]:
    files = unpack(world().packs[name])
    return {p: json.loads(data) for p, data in files.items() if p.startswith("payloads/")}


def plain() -> str:
    """A payload of the pack that is not salted, and says something."""
    return next(p for p, told in payloads("main").items() if "salt" not in told and told["value"])


def salted() -> str:
    return next(p for p, told in payloads("secret").items() if "salt" in told)


def refused(pack: bytes, code: str, file: str) -> None:
    assert_refused(pack, world().trust, code, file)


def incomplete(pack: bytes, file: str) -> None:
    found = verdict(pack, world().trust)
    assert (found.verdict, found.exit_status) == ("INCOMPLETE", 4)
    assert found.error is not None
    assert (found.error["code"], found.error["file"]) == ("PAYLOAD_MISSING", file)
    assert found.payloads["missing"] == 1


def test_untouched() -> None:
    secret = assert_valid(world().packs["secret"], world().trust)
    main = assert_valid(world().packs["main"], world().trust)
    bare = assert_valid(world().packs["bare"], world().trust)
    assert secret.payloads["withheld"] == secret.payloads["missing"] == 0
    assert secret.payloads["present"] == main.payloads["present"] + main.payloads["withheld"]
    assert main.payloads["withheld"] >= 3
    assert bare.payloads["present"] == bare.payloads["missing"] == 0


# values


def test_a_value_is_exchanged() -> None:
    pack = repack(world().packs["main"], {plain(): b'{"value":{"paid":1000000}}'})
    refused(pack, "PAYLOAD_MISMATCH", plain())


def test_a_value_of_a_sensitive_step_is_exchanged_with_its_salt_kept() -> None:
    told = payloads("secret")[salted()] | {"value": "nothing"}
    pack = repack(world().packs["secret"], {salted(): canonical(told)})
    refused(pack, "PAYLOAD_MISMATCH", salted())


def test_a_value_of_a_sensitive_step_is_exchanged_with_its_salt() -> None:
    _, data = payload_file(b'"nothing"', SALT)
    pack = repack(world().packs["secret"], {salted(): data})
    refused(pack, "PAYLOAD_MISMATCH", salted())


def test_the_salt_is_changed() -> None:
    told = payloads("secret")[salted()]
    for salt in (SALT.hex(), told["salt"][::-1], told["salt"].upper(), told["salt"][:-2], ""):
        pack = repack(world().packs["secret"], {salted(): canonical(told | {"salt": salt})})
        refused(pack, "PAYLOAD_MISMATCH", salted())


def test_the_salt_is_taken_out() -> None:
    told = payloads("secret")[salted()]
    pack = repack(world().packs["secret"], {salted(): canonical({"value": told["value"]})})
    refused(pack, "PAYLOAD_MISMATCH", salted())


def test_a_salt_is_put_in() -> None:
    told = payloads("main")[plain()] | {"salt": SALT.hex()}
    pack = repack(world().packs["main"], {plain(): canonical(told)})
    refused(pack, "PAYLOAD_MISMATCH", plain())


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data.replace(b'{"value":', b'{"more":1,"value":'),
        lambda data: data[:-1] + b',"worth":1}',
        lambda data: data.replace(b'"value":', b'"value": '),
        lambda data: data + b"\n",
        lambda data: b"",
    ],
    ids=["before", "after", "spaced", "newline", "empty"],
)
def test_a_value_with_something_else_beside_it(harm: Any) -> None:
    data = unpack(world().packs["main"])[plain()]
    refused(repack(world().packs["main"], {plain(): harm(data)}), "PAYLOAD_MISMATCH", plain())


def test_two_values_change_places() -> None:
    files = unpack(world().packs["secret"])
    for one, other in ((salted(), plain()), (plain(), salted())):
        pack = repack(world().packs["secret"], {one: files[other], other: files[one]})
        refused(pack, "PAYLOAD_MISMATCH", min(one, other))


def test_a_value_under_its_own_hash_that_no_event_names() -> None:
    named, data = payload_file(b'"something else"')
    pack = repack(world().packs["main"], {f"payloads/{named}.json": data})
    refused(pack, "FILE_EXTRA", f"payloads/{named}.json")


def test_a_value_is_exchanged_and_the_event_names_the_new_one() -> None:
    attacker = Attacker(world(), holds_key=False)
    line = attacker.line("FC-STEP-002", step_id="plain")
    old = attacker.events[line - 1]["data"]["output_hash"]
    named, data = payload_file(b'{"did":"nothing"}')
    changed = attacker.change(line, output_hash=named)
    pack = changed.made({f"payloads/{old}.json": None, f"payloads/{named}.json": data})
    assert_refused(pack, world().trust, "ROOT_MISMATCH", path_of(attacker.run_id), 1)


# values that are gone


def test_a_value_is_taken_out() -> None:
    incomplete(repack(world().packs["main"], {plain(): None}), plain())


def test_a_value_of_a_sensitive_step_may_be_withheld_and_no_other() -> None:
    found = assert_valid(repack(world().packs["secret"], {salted(): None}), world().trust)
    assert found.payloads["withheld"] == 1
    incomplete(repack(world().packs["secret"], {plain(): None}), plain())


def test_what_was_erased_is_said_to_be() -> None:
    found = verdict(world().packs["gone"], world().trust)
    assert (found.verdict, found.exit_status, found.error) == ("VALID_WITH_REDACTIONS", 0, None)
    assert found.payloads["erased"] > 3
    assert found.payloads["missing"] == found.payloads["withheld"] == 0
    assert found.payloads["present"] == 0
    assert_valid(world().packs["erased"], world().trust)  # which was made before


def test_a_value_is_shown_that_the_log_says_was_erased() -> None:
    """By whoever kept the pack from before, or an operator that did not erase: any one of them."""
    gone, before = world().packs["gone"], unpack(world().packs["erased"])
    kept = [path for path in before if path.startswith("payloads/")]
    assert len(kept) > 3
    for path in kept:
        refused(repack(gone, {path: before[path]}), "PAYLOAD_MISMATCH", path)
    refused(repack(gone, {path: before[path] for path in kept}), "PAYLOAD_MISMATCH", min(kept))


def test_a_value_that_another_run_still_has_may_be_shown() -> None:
    """In a pack of both runs, until it was erased of both."""
    forge = Forge()
    for run_id in ("r1", "r2"):
        run = forge.run(run_id).start().complete()
    forge.erase("r1", run.input_hash)
    forge.keep({"order": 7})
    assert_valid(forge.pack(), forge.trust())
    path = f"payloads/{run.input_hash}.json"
    assert_refused(forge.pack(runs=["r1"]), forge.trust(), "PAYLOAD_MISMATCH", path)
    forge.erase("r2", run.input_hash)
    forge.keep({"order": 7})
    assert_refused(forge.pack(), forge.trust(), "PAYLOAD_MISMATCH", path)


def test_the_erasure_is_taken_out() -> None:
    """Then payloads were left out, as anybody may; a single one that is there shows that not all
    were."""
    gone, before = world().packs["gone"], unpack(world().packs["erased"])
    files = unpack(gone)
    index, proofs = json.loads(files["index.json"]), json.loads(files["log/proofs.json"])
    for leaf in index.pop("log:default"):
        del proofs[str(leaf)]
    without: dict[str, bytes | None] = {
        "events/log:default.jsonl": None,
        "index.json": canonical(index),
        "log/proofs.json": canonical(proofs),
    }
    alone = assert_valid(repack(gone, without), world().trust)
    assert (alone.payloads["erased"], alone.payloads["present"]) == (0, 0)
    kept = next(p for p in before if p.startswith("payloads/"))
    found = verdict(repack(gone, {**without, kept: before[kept]}), world().trust)
    assert (found.verdict, found.error and found.error["code"]) == ("INCOMPLETE", "PAYLOAD_MISSING")


def erasure_in(pack: bytes) -> dict[str, bytes | None]:
    """The erasure of another run, with its proof, put into this pack; it is under the checkpoint
    of the pack that was made after it."""
    gone, mine = unpack(world().packs["gone"]), unpack(pack)
    attacker = Attacker(world(), "gone", holds_key=False)
    index = json.loads(mine["index.json"])
    index["log:default"] = json.loads(gone["index.json"])["log:default"]
    tree = attacker.forge.tree()
    proofs = {
        str(leaf): [b64encode(node).decode() for node in tree.inclusion(leaf, attacker.size)]
        for leaves in index.values()
        for leaf in leaves
    }
    return {
        "events/log:default.jsonl": gone["events/log:default.jsonl"],
        "index.json": canonical(index),
        "log/proofs.json": canonical(proofs),
        "log/checkpoint": gone["log/checkpoint"],
    }


def test_the_erasure_of_another_run_excuses_nothing() -> None:
    """Though it names the hash of the very same value."""
    pack = world().packs["other"]
    with_theirs = repack(pack, erasure_in(pack))
    assert_valid(with_theirs, world().trust)
    erased = {
        h
        for line in unpack(world().packs["gone"])["events/log:default.jsonl"].splitlines()
        for h in json.loads(line)["data"]["payload_hashes"]
    }
    shared = [p for p in payloads("other") if p[9:-5] in erased]
    assert len(shared) > 1
    for path in shared:
        incomplete(repack(with_theirs, {path: None}), path)


@pytest.mark.parametrize(
    "facts",
    [{"stream": "run:another"}, {"payload_hashes": []}, {"reason": "no reason"}],
    ids=lambda facts: next(iter(facts)),
)
def test_an_erasure_is_changed(facts: dict[str, Any]) -> None:
    attacker = Attacker(world(), "gone", holds_key=False)

    def edit(events: list[Any]) -> list[Any]:
        events[0]["data"] |= facts
        return events

    changed = attacker.edit(edit, stream="log:default", relink=False)
    proofs = {"log/proofs.json": unpack(attacker.pack)["log/proofs.json"]}
    pack = changed.made(proofs)
    assert_refused(pack, world().trust, "ROOT_MISMATCH", "events/log:default.jsonl", 1)


def test_an_erasure_of_another_tenant_excuses_nothing() -> None:
    """Even where the key signed it: a stream of erasures is of the tenant in its name."""
    attacker = Attacker(world(), "gone", holds_key=True)

    def edit(events: list[Any]) -> list[Any]:
        events[0]["tenant"] = "other"
        return events

    changed = attacker.edit(edit, stream="log:default", relink=False)
    assert_refused(changed.made(), world().trust, "CHAIN_BROKEN", "events/log:default.jsonl", 1)


# policies and definitions


def bundle() -> str:
    return next(p for p in unpack(world().packs["main"]) if p.endswith("/files.json"))


def text() -> str:
    return bundle().replace("files.json", "policies.cedar")


def test_a_policy_text_is_not_the_one_that_decided() -> None:
    permit = b"permit (principal, action, resource);"
    refused(repack(world().packs["main"], {text(): permit}), "FILE_DIGEST", text())


def test_a_policy_text_is_exchanged_and_the_list_of_texts_with_it() -> None:
    permit = b"permit (principal, action, resource);"
    files = unpack(world().packs["main"])
    told = json.loads(files[bundle()])
    told["files"]["policies.cedar"] = digest(permit)
    changes: dict[str, bytes | None] = {text(): permit, bundle(): canonical(told)}
    refused(repack(world().packs["main"], changes), "FILE_DIGEST", bundle())


def test_a_bundle_of_another_name_is_put_in_the_place_of_the_one_that_decided() -> None:
    permit = b"permit (principal, action, resource);"
    listing = canonical({"files": {"policies.cedar": digest(permit)}})
    folder = f"policies/{digest(listing)}/"
    old = [p for p in unpack(world().packs["main"]) if p.startswith("policies/")]
    changes = dict.fromkeys(old) | {
        f"{folder}files.json": listing,
        f"{folder}policies.cedar": permit,
    }
    refused(repack(world().packs["main"], changes), "FILE_MISSING", bundle())


def test_a_bundle_that_did_not_decide_is_put_in() -> None:
    listing = canonical({"files": {}})
    path = f"policies/{digest(listing)}/files.json"
    refused(repack(world().packs["main"], {path: listing}), "FILE_EXTRA", path)


def test_a_policy_text_is_taken_out_or_put_in() -> None:
    pack = world().packs["main"]
    refused(repack(pack, {text(): None}), "FILE_MISSING", text())
    more = bundle().replace("files.json", "more.cedar")
    refused(repack(pack, {more: b"permit (principal, action, resource);"}), "FILE_EXTRA", more)


def definition() -> str:
    return next(p for p in unpack(world().packs["main"]) if p.startswith("workflow/"))


def test_the_definition_is_exchanged() -> None:
    told = json.loads(unpack(world().packs["main"])[definition()])
    told["steps"] = told["steps"][:1]
    refused(
        repack(world().packs["main"], {definition(): canonical(told)}), "FILE_DIGEST", definition()
    )


def test_another_definition_is_put_in_under_its_own_hash() -> None:
    data = canonical(json.loads(unpack(world().packs["main"])[definition()]) | {"steps": []})
    other = f"workflow/{digest(data)}/definition.json"
    pack = repack(world().packs["main"], {definition(): None, other: data})
    refused(pack, "FILE_MISSING", definition())


def test_the_definition_is_exchanged_and_the_key_signs_that_it_was_so() -> None:
    """A workflow that asks nobody: its own bytes under their own hash, named by a run whose people
    were asked all the same."""
    attacker = Attacker(world(), holds_key=True)
    told = json.loads(unpack(attacker.pack)[definition()])
    ask = next(step for step in told["steps"] if step["id"] == "ask")
    ask["gate"]["approvers"] = ["mallory"]
    data = canonical(told)
    changed = attacker.change(1, definition_hash=digest(data))
    other = f"workflow/{digest(data)}/definition.json"
    pack = changed.made({definition(): None, other: data})
    line = attacker.line("FC-GATE-001", step_id="ask")
    assert_refused(pack, world().trust, "MISSING_APPROVAL", path_of(attacker.run_id), line)


def test_the_definition_is_of_another_workflow() -> None:
    attacker = Attacker(world(), holds_key=True)
    data = canonical(json.loads(unpack(attacker.pack)[definition()]) | {"version": "9.0.0"})
    changed = attacker.change(1, definition_hash=digest(data))
    pack = changed.made({definition(): None, f"workflow/{digest(data)}/definition.json": data})
    assert_refused(pack, world().trust, "ILLEGAL_TRANSITION", path_of(attacker.run_id), 1)


def test_an_object_that_is_not_what_its_pointer_names() -> None:
    path = f"objects/{digest(b'x')}"
    refused(repack(world().packs["main"], {path: b"y"}), "FILE_DIGEST", path)


def test_the_report_and_the_verifier_of_a_pack_prove_nothing() -> None:
    """They can say anything, as long as the manifest is made anew: the auditor's own verifier is
    the one that counts, and it tells the same whatever they say."""
    pack = world().packs["main"]
    lying = repack(pack, {"REPORT.md": b"Nothing was denied.", "verify.py": b"print('VALID')"})
    assert verdict(lying, world().trust) == assert_valid(pack, world().trust)
    for path in ("REPORT.md", "verify.py"):
        files = unpack(pack) | {path: b"x"}
        whole = repack(pack, {path: b"x", "manifest.json": files["manifest.json"]})
        refused(whole, "FILE_DIGEST", path)


def test_the_events_of_both_packs_are_the_same() -> None:
    main = world().runs["main"]
    assert events_of(world().packs["main"], main) == events_of(world().packs["secret"], main)
