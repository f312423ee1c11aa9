"""Events dropped, added, repeated and reordered by somebody who does not hold the key.

Plainly, and by one who makes everything anew that can be without it: links, receipts in the events,
decision hashes, the index, the proofs, the manifest. The signed checkpoint and receipt stay.
"""

import json
from collections.abc import Callable
from functools import cache

import pytest
from tests.evidence.attack_worlds import (
    Attacker,
    assert_refused,
    assert_valid,
    path_of,
    verdict,
    world,
)
from tests.evidence.pack_forge import Json, canonical, repack, unpack

COUNT = 34
"""Events of the run `main`: tests are named by their lines."""


def path() -> str:
    return path_of(world().runs["main"])


def lines() -> list[bytes]:
    return unpack(world().packs["main"])[path()].splitlines(keepends=True)


@cache
def intruder(name: str = "main") -> Attacker:
    """Without the key. Until he changes something his pack is valid."""
    attacker = Attacker(world(), name, holds_key=False)
    assert_valid(attacker.made(), world().trust)
    return attacker


def refused(pack: bytes, code: str, file: str, line: int | None = None) -> None:
    assert_refused(pack, world().trust, code, file, line)


def with_lines(*lines: bytes) -> bytes:
    """The pack with these lines, and all else as it was."""
    return repack(world().packs["main"], {path(): b"".join(lines)})


def test_the_lines_as_they_are() -> None:
    assert len(lines()) == COUNT
    assert_valid(with_lines(*lines()), world().trust)


# plainly


@pytest.mark.parametrize("line", range(1, COUNT))
def test_an_event_is_dropped(line: int) -> None:
    refused(with_lines(*lines()[: line - 1], *lines()[line:]), "CHAIN_GAP", path(), line)


@pytest.mark.parametrize("line", range(1, COUNT + 1))
def test_an_event_is_repeated(line: int) -> None:
    refused(with_lines(*lines()[:line], *lines()[line - 1 :]), "CHAIN_FORK", path(), line + 1)


@pytest.mark.parametrize("line", range(1, COUNT))
def test_two_events_change_places(line: int) -> None:
    told = lines()
    told[line - 1], told[line] = told[line], told[line - 1]
    refused(with_lines(*told), "CHAIN_GAP", path(), line)


@pytest.mark.parametrize("line", range(2, COUNT + 1))
def test_an_event_of_another_run_is_put_in(line: int) -> None:
    other = unpack(world().packs["other"])[path_of(world().runs["other"])].splitlines(True)
    put = other[min(line, len(other)) - 1]
    refused(
        with_lines(*lines()[: line - 1], put, *lines()[line - 1 :]), "CHAIN_BROKEN", path(), line
    )


def test_an_event_is_added_at_the_end_and_links_well() -> None:
    last = json.loads(lines()[-1])
    attacker = intruder().edit(
        lambda events: [*events, last | {"seq": -1, "type": "FC-AUTH-001"}], relink=True
    )
    event = canonical(attacker.events[-1])
    refused(with_lines(*lines(), event + b"\n"), "INDEX_RANGE", "index.json")


def test_all_events_are_dropped() -> None:
    refused(with_lines(), "FILE_MISSING", path())


def test_the_last_newline_is_dropped() -> None:
    refused(with_lines(*lines()[:-1], lines()[-1][:-1]), "NOT_CANONICAL", path(), COUNT)


def test_an_event_that_is_spelled_in_another_way() -> None:
    spaced = lines()[3].replace(b":", b": ", 1)
    refused(with_lines(*lines()[:3], spaced, *lines()[4:]), "NOT_CANONICAL", path(), 4)


def test_an_event_with_a_key_twice() -> None:
    twice = lines()[3].replace(b'{"actor"', b'{"actor":"x","actor"', 1)
    refused(with_lines(*lines()[:3], twice, *lines()[4:]), "NOT_CANONICAL", path(), 4)


def test_an_event_of_another_version() -> None:
    other = lines()[3].replace(b'"v":1,"via"', b'"v":2,"via"')
    refused(with_lines(*lines()[:3], other, *lines()[4:]), "UNKNOWN_VERSION", path(), 4)


# with everything made anew that can be

ANEW: dict[str, tuple[Callable[[Attacker, int], Attacker], range]] = {
    "dropped": (lambda a, line: a.drop(line), range(2, COUNT)),
    "moved": (lambda a, line: a.edit(lambda e: _moved(e, line)), range(2, COUNT - 1)),
    "rephrased": (lambda a, line: a.change(line, actor="somebody else"), range(1, COUNT)),
}


def _moved(events: list[Json], line: int) -> list[Json]:
    one, other = events[line - 1], events[line]
    one["at"] = other["at"] = events[line - 2]["at"]
    events[line - 1], events[line] = other, one
    return events


@pytest.mark.parametrize(
    ("what", "line"), [(what, line) for what, (_, those) in ANEW.items() for line in those]
)
def test_an_event_is_tampered_with_and_all_that_follows_made_anew(what: str, line: int) -> None:
    """With the proofs as they were, of the leaves that there were, the first line that is no
    longer a leaf is told; with other proofs not even the first one is proved any more."""
    attacker = ANEW[what][0](intruder(), line)
    refused(attacker.made(), "ROOT_MISMATCH", path(), 1)
    files = unpack(attacker.made())
    kept = {"log/proofs.json": unpack(attacker.pack)["log/proofs.json"]}
    index = json.loads(files["index.json"])
    [stream] = index
    old = json.loads(unpack(attacker.pack)["index.json"])[stream]
    if len(index[stream]) < len(old):
        proofs = json.loads(kept["log/proofs.json"])
        del proofs[str(old.pop())]
        kept = {"index.json": canonical({stream: old}), "log/proofs.json": canonical(proofs)}
    else:
        kept["index.json"] = canonical({stream: old})
    refused(attacker.made(kept), "ROOT_MISMATCH", path(), line)


@pytest.mark.parametrize("line", range(2, COUNT))
def test_an_event_is_put_in_and_all_that_follows_made_anew(line: int) -> None:
    """There are more leaves then than were signed: the last does not stand in the tree."""
    attacker = intruder()
    attacker = attacker.insert(line, attacker.events[line - 1])
    refused(attacker.made(), "ROOT_MISMATCH", path(), 1)
    attacker.size += 1
    refused(attacker.made(), "INDEX_RANGE", "index.json")


def test_the_index_alone_is_changed() -> None:
    files = unpack(world().packs["main"])
    [stream] = index = json.loads(files["index.json"])
    leaves = index[stream]
    for changed, code, file, line in (
        ([leaves[0] - 1, *leaves[1:]], "PROOF_SHAPE", "log/proofs.json", None),
        ([*leaves[:-1], leaves[-1] + 1], "INDEX_RANGE", "index.json", None),
        (leaves[:-1], "INDEX_RANGE", "index.json", None),
        ([*leaves, leaves[-1] + 1], "INDEX_RANGE", "index.json", None),
        (leaves[::-1], "INDEX_RANGE", "index.json", None),
        ([leaves[0], *leaves[:-1]], "INDEX_RANGE", "index.json", None),
        ([*leaves[:-1], 10**9], "INDEX_RANGE", "index.json", None),
        ([-1, *leaves[1:]], "INDEX_RANGE", "index.json", None),
        ([], "INDEX_RANGE", "index.json", None),
    ):
        pack = repack(world().packs["main"], {"index.json": canonical({stream: changed})})
        refused(pack, code, file, line)


def test_the_index_names_a_stream_that_is_not_of_the_pack() -> None:
    pack = world().packs["main"]
    index = json.loads(unpack(pack)["index.json"])
    for stream in ("log", "policy:default", f"run:{world().runs['other']}"):
        changed = canonical(index | {stream: [0]})
        refused(repack(pack, {"index.json": changed}), "INDEX_RANGE", "index.json")


def test_a_stream_of_another_run_is_put_in() -> None:
    pack, other = world().packs["main"], world().packs["other"]
    run_id = world().runs["other"]
    added = unpack(other)[path_of(run_id)]
    refused(repack(pack, {path_of(run_id): added}), "FILE_EXTRA", path_of(run_id))
    index = json.loads(unpack(pack)["index.json"]) | json.loads(unpack(other)["index.json"])
    both = repack(pack, {path_of(run_id): added, "index.json": canonical(index)})
    refused(both, "FILE_EXTRA", path_of(run_id))


@pytest.mark.parametrize("change", ["shorter", "longer", "other", "surplus", "missing"])
def test_proofs_that_are_not_those_of_the_leaves(change: str) -> None:
    pack = world().packs["main"]
    proofs = json.loads(unpack(pack)["log/proofs.json"])
    index = json.loads(unpack(pack)["index.json"])
    line = 5
    leaf = str(index[f"run:{world().runs['main']}"][line - 1])
    code, file, at = "PROOF_SHAPE", path(), line
    match change:
        case "shorter":
            proofs[leaf] = proofs[leaf][:-1]
        case "longer":
            proofs[leaf].append(proofs[leaf][0])
        case "other":
            proofs[leaf] = proofs[leaf][::-1]
            code = "ROOT_MISMATCH"
        case "surplus":
            proofs["0"] = proofs[leaf]
            file = "log/proofs.json"
        case "missing":
            del proofs[leaf]
            file = "log/proofs.json"
    changed = repack(pack, {"log/proofs.json": canonical(proofs)})
    refused(changed, code, file, at if file == path() else None)


# the end of a run


def cut(attacker: Attacker, last: int, *, receipt: bool = True) -> bytes:
    """Only the first `last` events, with an index and proofs that fit."""
    files = unpack(attacker.pack)
    [stream] = index = json.loads(files["index.json"])
    index[stream], lost = index[stream][:last], index[stream][last:]
    proofs = json.loads(files["log/proofs.json"])
    for leaf in lost:
        del proofs[str(leaf)]
    told = b"".join(lines()[:last])
    changes: dict[str, bytes | None] = {
        path(): told,
        "index.json": canonical(index),
        "log/proofs.json": canonical(proofs),
    }
    named = ("payloads/", "policies/")
    gone = [p for p in files if p.startswith(named) and p[9:73].encode() not in told]
    changes |= dict.fromkeys(gone)
    return repack(attacker.pack, changes if receipt else changes | {"receipt.dsse.json": None})


@pytest.mark.parametrize("last", range(1, COUNT))
def test_the_last_events_of_a_run_are_dropped(last: int) -> None:
    """With its receipt the pack contradicts itself; without, it is known not to be whole."""
    attacker = intruder()
    refused(with_lines(*lines()[:last]), "INDEX_RANGE", "index.json")
    pack = cut(attacker, last)
    refused(pack, "RECEIPT_MISMATCH", "receipt.dsse.json")
    found = verdict(cut(attacker, last, receipt=False), world().trust)
    assert (found.verdict, found.exit_status) == ("INCOMPLETE", 4)
    assert found.error is not None
    assert found.error["code"] == "FILE_MISSING"
    assert found.error["file"] == "receipt.dsse.json"


def test_the_receipt_alone_is_dropped() -> None:
    pack = repack(world().packs["main"], {"receipt.dsse.json": None})
    refused(pack, "FILE_MISSING", "receipt.dsse.json")


def test_two_runs_exchange_their_receipts() -> None:
    for one, other in (("main", "other"), ("other", "main"), ("main", "denied")):
        theirs = unpack(world().packs[other])["receipt.dsse.json"]
        pack = repack(world().packs[one], {"receipt.dsse.json": theirs})
        refused(pack, "RECEIPT_MISMATCH", "receipt.dsse.json")


def test_a_run_that_has_not_ended_gets_the_receipt_of_another() -> None:
    open_pack = world().packs["open"]
    assert verdict(open_pack, world().trust).verdict == "INCOMPLETE"
    theirs = unpack(world().packs["main"])["receipt.dsse.json"]
    pack = repack(open_pack, {"receipt.dsse.json": theirs})
    refused(pack, "RECEIPT_MISMATCH", "receipt.dsse.json")


# a decision, and an approval


def test_a_deny_becomes_an_allow() -> None:
    attacker = intruder("denied")
    line = attacker.line("FC-POLICY-001", decision="deny")
    pack = attacker.change(line, decision="allow").made()
    refused(pack, "ROOT_MISMATCH", path_of(attacker.run_id), 1)


def test_a_deny_becomes_an_allow_with_the_proofs_as_they_were() -> None:
    attacker = intruder("denied")
    line = attacker.line("FC-POLICY-001", decision="deny")
    proofs = unpack(attacker.pack)["log/proofs.json"]
    pack = attacker.change(line, decision="allow").made({"log/proofs.json": proofs})
    refused(pack, "ROOT_MISMATCH", path_of(attacker.run_id), line)


@pytest.mark.parametrize("by", ["added", "another's name", "a role"])
def test_an_approval_is_forged(by: str) -> None:
    attacker = intruder()
    proofs = {"log/proofs.json": unpack(attacker.pack)["log/proofs.json"]}
    answer = attacker.line("FC-GATE-002", actor="ben")
    if by == "added":
        second = attacker.events[answer - 2 : answer]
        made = attacker.insert(answer + 1, *second).made()
        refused(made, "ROOT_MISMATCH", path(), 1)
        return
    told = {"actor": "the boss"} if by == "another's name" else {"role": "board"}
    refused(attacker.change(answer, **told).made(proofs), "ROOT_MISMATCH", path(), answer)
