"""A log with two futures, or two pasts: whoever holds the key can make them, and what an auditor
has seen before tells them apart."""

import json
from base64 import b64encode
from typing import Any

import pytest
from tests.evidence.attack_worlds import (
    Attacker,
    World,
    assert_refused,
    assert_valid,
    forked,
    small,
    verdict,
    world,
)
from tests.evidence.pack_forge import Key, canonical, consistency_proof, repack, sign_note, unpack

from federation_core.evidence.audit import audit


def seen(world: World, name: str = "first") -> bytes:
    """The checkpoint that an auditor kept from this pack."""
    return unpack(world.packs[name])["log/checkpoint"]


def refused(pack: bytes, code: str, file: str = "log/checkpoint", **options: Any) -> None:
    assert_refused(pack, forked().past.trust, code, file, **options)


def test_each_future_alone_is_valid() -> None:
    """Which is why somebody has to remember."""
    f = forked()
    for future, proof in zip((f.ours, f.theirs), f.proofs, strict=True):
        assert_valid(future.packs["second"], f.past.trust)
        past = seen(f.past)
        assert_valid(future.packs["second"], f.past.trust, seen=past, consistency=proof)


def test_a_log_that_was_rolled_back_and_grew_another_future() -> None:
    """Two signed trees of one size."""
    f = forked()
    ours, theirs = f.ours.packs["second"], f.theirs.packs["second"]
    sizes = [verdict(pack, f.past.trust).checkpoint for pack in (ours, theirs)]
    assert sizes[0] is not None
    assert sizes[1] is not None
    assert sizes[0]["size"] == sizes[1]["size"]
    assert sizes[0]["root"] != sizes[1]["root"]
    for mine, other in ((f.ours, theirs), (f.theirs, ours)):
        refused(other, "INCONSISTENT", seen=seen(mine, "second"))
    assert_valid(ours, f.past.trust, seen=seen(f.ours, "second"))


def proof_between(world: World, old: int, new: int) -> bytes:
    """What the server of this future answers."""
    tree = Attacker(world, "first", holds_key=True).forge.tree()
    hashes = [b64encode(node).decode() for node in consistency_proof(tree, old, new)]
    return json.dumps({"hashes": hashes}).encode()


def size_of(pack: bytes) -> int:
    return int(unpack(pack)["log/checkpoint"].split(b"\n")[1])


def test_another_future_that_has_grown_beyond_the_one_seen() -> None:
    f = forked()
    third = f.theirs.packs["third"]
    mine = seen(f.ours, "second")
    old, new = size_of(f.ours.packs["second"]), size_of(third)
    assert new > old
    proof = proof_between(f.theirs, old, new)
    assert_valid(third, f.past.trust, seen=seen(f.theirs, "second"), consistency=proof)
    refused(third, "INCONSISTENT", seen=mine, consistency=proof)


def test_without_a_proof_nothing_connects_the_two() -> None:
    f = forked()
    found = verdict(f.theirs.packs["third"], f.past.trust, seen=seen(f.ours, "second"))
    assert (found.verdict, found.exit_status) == ("INCOMPLETE", 4)
    assert found.error is not None
    assert found.error["file"] == "log/checkpoint"


def test_a_log_that_was_rolled_back_and_stays_behind() -> None:
    """The auditor has seen more than there is now: the proof leads from the pack to that."""
    f = forked()
    old, new = size_of(f.past.packs["first"]), size_of(f.ours.packs["second"])
    assert new > old
    later = seen(f.ours, "second")
    proof = proof_between(f.ours, old, new)
    assert_valid(f.past.packs["first"], f.past.trust, seen=later, consistency=proof)
    wrong = seen(f.theirs, "second")
    refused(f.past.packs["first"], "INCONSISTENT", seen=wrong, consistency=proof)


@pytest.mark.parametrize("harm", ["wrong", "reversed"])
def test_a_consistency_proof_that_fails(harm: str) -> None:
    f = forked()
    hashes = json.loads(f.proofs[0])["hashes"]
    assert len(hashes) > 1
    other = hashes[::-1] if harm == "reversed" else [hashes[0], *hashes[:1], *hashes[2:]]
    proof = json.dumps({"hashes": other}).encode()
    pack = f.ours.packs["second"]
    refused(pack, "INCONSISTENT", seen=seen(f.past), consistency=proof)


@pytest.mark.parametrize("harm", ["surplus", "missing", "empty", "no list", "no json", "short"])
def test_a_consistency_proof_that_is_none(harm: str) -> None:
    f = forked()
    hashes = json.loads(f.proofs[0])["hashes"]
    proof = {
        "surplus": json.dumps({"hashes": [*hashes, hashes[0]]}),
        "missing": json.dumps({"hashes": hashes[:-1]}),
        "empty": json.dumps({"hashes": []}),
        "no list": json.dumps(hashes),
        "no json": "proof",
        "short": json.dumps({"hashes": [*hashes[:-1], "AAAA"]}),
    }[harm]
    pack = f.ours.packs["second"]
    refused(pack, "PROOF_SHAPE", "--consistency", seen=seen(f.past), consistency=proof.encode())


def test_a_checkpoint_that_was_seen_and_is_none_of_this_log() -> None:
    f = forked()
    refused(f.ours.packs["second"], "ORIGIN", "--seen", seen=seen(small(), "main"))
    text = seen(f.past).decode().partition("\n\n")[0] + "\n"
    stranger = sign_note(text, Key(f.past.log, b"\3" * 32))
    refused(f.ours.packs["second"], "UNKNOWN_KEY", "--seen", seen=stranger)
    refused(f.ours.packs["second"], "NOTE_MALFORMED", "--seen", seen=b"seen it")


# one pack, and a checkpoint that is not its own


def test_an_older_checkpoint_with_newer_events() -> None:
    f = forked()
    pack = repack(f.ours.packs["second"], {"log/checkpoint": seen(f.past)})
    assert_refused(pack, f.past.trust, "INDEX_RANGE", "index.json")


def test_the_checkpoint_of_the_other_future() -> None:
    """Signed by the key, of the right size; the events are not in it."""
    f = forked()
    pack = repack(f.ours.packs["second"], {"log/checkpoint": seen(f.theirs, "second")})
    stream = f"run:{f.ours.runs['second']}"
    assert_refused(pack, f.past.trust, "ROOT_MISMATCH", f"events/{stream}.jsonl", 1)


def test_a_newer_checkpoint_with_the_proofs_of_an_older() -> None:
    f = forked()
    pack = repack(f.past.packs["first"], {"log/checkpoint": seen(f.ours, "second")})
    found = verdict(pack, f.past.trust)
    assert found.verdict == "INVALID"
    assert found.error is not None
    assert (found.error["code"], found.error["line"]) == ("PROOF_SHAPE", 1)


def test_a_size_or_a_root_that_was_not_signed() -> None:
    note = seen(world(), "main").split(b"\n")
    for line, other in ((1, b"%d" % (int(note[1]) + 1)), (2, b64encode(bytes(32)))):
        changed = b"\n".join([*note[:line], other, *note[line + 1 :]])
        pack = repack(world().packs["main"], {"log/checkpoint": changed})
        assert_refused(pack, world().trust, "BAD_SIGNATURE", "log/checkpoint")


def test_an_empty_tree_that_the_key_signed() -> None:
    w = world()
    text = f"{w.log}\n0\n{b64encode(bytes(32)).decode()}\n"
    pack = repack(w.packs["main"], {"log/checkpoint": sign_note(text, Key(w.log, w.seed))})
    assert_refused(pack, w.trust, "INDEX_RANGE", "index.json")


# the whole ledger


def test_the_whole_ledger_against_what_was_seen_of_the_other_future() -> None:
    f = forked()
    for mine, other in ((f.ours, f.theirs), (f.theirs, f.ours)):
        file = mine.folder / "fedcore.db"
        assert audit(file).error is None
        assert audit(file, seen=seen(f.past)).error is None
        assert audit(file, seen=seen(mine, "second")).error is None
        report = audit(file, seen=seen(other, "second"))
        assert (report.code, report.position) == (
            "INCONSISTENT",
            size_of(other.packs["second"]) - 1,
        )


def test_the_whole_ledger_is_shorter_than_what_was_seen() -> None:
    f = forked()
    report = audit(f.ours.folder / "fedcore.db", seen=seen(f.theirs, "third"))
    assert report.code == "INCONSISTENT"
    assert report.position == report.events


def test_the_index_of_a_pack_moves_with_its_future() -> None:
    """The same places of the log are other events in the other future."""
    f = forked()
    ours, theirs = (json.loads(unpack(w.packs["second"])["index.json"]) for w in (f.ours, f.theirs))
    assert list(ours.values()) == list(theirs.values())
    assert canonical(ours) != canonical(theirs)
