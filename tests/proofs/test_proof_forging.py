"""Forged transcripts and damaged copies are refused; untouched ones are not."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from federation_core.proofs import tampering
from federation_core.proofs.at_rest import copy, flip_byte, opened
from federation_core.proofs.checks import check_transcript
from federation_core.proofs.forging import FORGERIES, Forgery, resealed
from federation_core.proofs.pack_judging import PackTrial
from federation_core.proofs.scenarios import CASES
from federation_core.proofs.tampering import (
    Seen,
    Tampering,
    tamper_ledger,
    tamper_receipt,
    tamper_transcripts,
)
from federation_core.proofs.transcript import Transcript

Honest = dict[str, Transcript]
EXPECTED = {case.letter: case.expected for case in CASES}


def failing(t: Transcript) -> set[str]:
    return {f.check for f in check_transcript(t, EXPECTED[t.test]) if not f.held}


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda f: f.what)
def test_each_forgery_is_found_out(honest: Honest, forgery: Forgery) -> None:
    assert failing(forgery.make(honest[forgery.test]))


@pytest.mark.parametrize("letter", "ABC")
def test_resealing_what_was_not_changed_changes_nothing(honest: Honest, letter: str) -> None:
    """So the forger's hashes are the real ones, and a forgery is not refused for clumsiness."""
    assert resealed(honest[letter]).logs == honest[letter].logs


def test_a_rewritten_history_is_whole_in_itself_and_betrayed_by_what_was_held(
    honest: Honest,
) -> None:
    """Every hash in it fits; only the receipts that the run told before do not."""
    forged = FORGERIES[-1].make(honest["B"])
    assert failing(forged) == {"workflow-receipt", "receipt-chain", "payload-hashes"}
    ended = forged.of_type("FC-RUN-003")[0]["details"]
    run = forged.run | {
        "workflow_receipt_hash": ended["workflow_receipt_hash"],
        "receipt_chain": [
            e["details"]["receipt_hash"] for e in forged.logs if "receipt" in e["details"]
        ],
    }
    last = {
        e["details"]["step_id"]: e["details"]["receipt_hash"] for e in forged.of_type("FC-STEP-002")
    }
    steps = [s | {"receipt_hash": last[s["step_id"]]} for s in forged.steps]
    believed = msgspec.structs.replace(forged, run=run, steps=steps)
    assert failing(believed) == set()


def test_the_forged_ones_are_all_judged(honest: Honest) -> None:
    judged = list(tamper_transcripts(honest.values()))
    assert len(judged) == len(FORGERIES)
    assert all(t.held and t.refused for t in judged)


def test_a_byte_of_a_receipt(honest: Honest, tmp_path: Path) -> None:
    control, flipped = tamper_receipt(honest["A"], tmp_path)
    assert (control.refused, control.held) == (False, True)
    assert (flipped.refused, flipped.held) == (True, True)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_flipping_a_byte_twice_is_nothing(at: int) -> None:
    assert flip_byte(b"abc", at) != b"abc"
    assert flip_byte(flip_byte(b"abc", at), at) == b"abc"


def test_copies_of_a_ledger(honest: Honest, packs: PackTrial, intact: Path, tmp_path: Path) -> None:
    backup = copy(intact, tmp_path / "backup")
    with opened(backup) as db:
        for table in ("events", "streams", "checkpoints", "tiles"):
            db.execute(f"DELETE FROM {table}")
    seen = Seen(packs.fetched.seen, backup)
    control, held_against, old, *damaged = tamper_ledger(honest["C"], intact, tmp_path, seen)
    assert _wrong([control, held_against, old, *damaged]) == []
    assert [t.refused for t in (control, held_against, old)] == [False, False, True]
    assert "rolled back" in old.answer
    assert len(damaged) == 3
    stream = f"stream run:{honest['C'].run_id}"
    assert all(stream in t.answer for t in damaged)


def test_a_ledger_that_was_broken_before_is_no_control(intact: Path, tmp_path: Path) -> None:
    broken = copy(intact, tmp_path / "broken")
    with opened(broken) as db:
        db.execute("DELETE FROM events WHERE position = 0")
    control = tampering._verify(broken, tampering._Damage("nothing"), None)
    assert control.refused
    assert not control.held


def _wrong(tamperings: Iterable[Tampering]) -> list[str]:
    return [t.answer for t in tamperings if not t.held]
