"""The proof proves that it can fail: it changes copies of what it holds, and each change must be
refused by what accepts the original."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import msgspec

from .at_rest import copy, flip_byte, opened
from .checks import check_transcript
from .checks.receipts import receipted
from .forging import FORGERIES
from .hashing import canonical, sha256
from .scenarios import CASES
from .transcript import Transcript

__all__ = ["Seen", "Tampering", "tamper_ledger", "tamper_receipt", "tamper_transcripts"]

_VERIFY_S = 60
_DIGITS = b'"input_hash":"'
_BROKEN = (1, 4)
"""Exit statuses by which `fedcore ledger verify` may say that a ledger is broken."""


class Tampering(msgspec.Struct, frozen=True):
    """What was changed in a copy, who judged it, whether they refused it and in what words.
    `wanted` is False for the control: the copy in which nothing was changed."""

    what: str
    judge: str
    refused: bool
    answer: str
    wanted: bool = True

    @property
    def held(self) -> bool:
        return self.refused == self.wanted


def tamper_receipt(transcript: Transcript, folder: Path) -> Iterator[Tampering]:
    """One byte of a copied receipt file, judged by the hash that the run's chain tells."""
    judge = "SHA-256 of the file against the chain of receipts"
    details = receipted(transcript)[0]["details"]
    told = details["receipt_hash"]
    path = folder / "receipt.json"
    data = canonical(details["receipt"])
    at = len(data) // 2
    for what, content, wanted in (
        (f"nothing in the receipt of step {details['step_id']}", data, False),
        (f"byte {at} of {len(data)} in the same receipt", flip_byte(data, at), True),
    ):
        path.write_bytes(content)
        found = sha256(path.read_bytes())
        answer = f"the file hashes to {found[:16]}…, the chain tells {told[:16]}…"
        yield Tampering(what, judge, found != told, answer, wanted)


def tamper_transcripts(transcripts: Iterable[Transcript]) -> Iterator[Tampering]:
    """Forged transcripts, judged by the checks that the true ones pass."""
    expected = {case.letter: case.expected for case in CASES}
    true = {t.test: t for t in transcripts}
    for forgery in FORGERIES:
        if forgery.test in true:
            forged = forgery.make(true[forgery.test])
            wrong = [f for f in check_transcript(forged, expected[forgery.test]) if not f.held]
            names = ", ".join(f.check for f in wrong) or "no check objects"
            first = f": {wrong[0].problems[0]}" if wrong else ""
            what = f"{forgery.what} ({forgery.test})"
            yield Tampering(what, "the checks of this report", bool(wrong), f"{names}{first}")


class Seen(msgspec.Struct, frozen=True):
    """A checkpoint that was fetched while the ledger grew, and a copy of the ledger from before."""

    checkpoint: str
    backup: Path


class _Damage(msgspec.Struct, frozen=True):
    """`do` changes the copy of `source`, which is the ledger as it is unless it is given; `names`
    are members of the verifier's answer that must come out, none for the control. `is_seen` holds
    it against the checkpoint, too."""

    what: str
    do: Callable[[Connection], None] = lambda _: None
    names: dict[str, Any] = {}
    source: Path | None = None
    is_seen: bool = False


def tamper_ledger(
    transcript: Transcript, intact: Path, folder: Path, seen: Seen
) -> list[Tampering]:
    """Copies of the ledger in `intact`, judged by `fedcore ledger verify`, which must also name
    the first event that is wrong."""
    damages = [_Damage("nothing in the ledger"), *_seen(seen), *_damages(transcript, intact)]
    note = folder / "seen.checkpoint"
    note.write_text(seen.checkpoint, "utf-8")

    def judged(i: int) -> Tampering:
        damage = damages[i]
        target = copy(damage.source or intact, folder / f"ledger-{i}")
        with opened(target) as db:
            damage.do(db)
        return _verify(target, damage, note if damage.is_seen else None)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(judged, range(len(damages))))


def _seen(seen: Seen) -> list[_Damage]:
    size = int(seen.checkpoint.split("\n")[1])
    with opened(seen.backup) as db:
        events = db.execute("SELECT count(*) FROM events").fetchone()[0]
    back = f"the ledger put back to a copy from before the runs, of {events} events"
    return [
        _Damage(f"nothing in the ledger, held against the checkpoint seen at {size}", is_seen=True),
        _Damage(back, names={"code": "INCONSISTENT"}, source=seen.backup, is_seen=True),
    ]


def _damages(transcript: Transcript, intact: Path) -> list[_Damage]:
    stream = f"run:{transcript.run_id}"
    with opened(intact) as db:
        position, seq, body = db.execute(
            "SELECT position, seq, body FROM events WHERE stream = ? AND type = 'FC-STEP-001' "
            "ORDER BY seq LIMIT 1",
            (stream,),
        ).fetchone()
        of_next = db.execute(
            "SELECT stream, seq FROM events WHERE position = ?", (position + 1,)
        ).fetchone()
        digest, value = db.execute(
            "SELECT hash, value FROM payloads WHERE stream = ? "
            "ORDER BY length(value) DESC, hash LIMIT 1",
            (stream,),
        ).fetchone()
    data = body.encode()
    at = data.index(_DIGITS) + len(_DIGITS)
    flipped = flip_byte(data, at).decode()
    other = value.replace("1", "2") if "1" in value else f"{value} "
    return [
        _Damage(
            f"byte {at} of {len(data)} in event {seq} of {stream}",
            lambda db: _run(db, "UPDATE events SET body = ? WHERE position = ?", flipped, position),
            {"position": position, "stream": stream, "seq": seq},
        ),
        _Damage(
            f"event {seq} of {stream} removed",
            lambda db: _run(db, "DELETE FROM events WHERE position = ?", position),
            {"position": position + 1, "stream": of_next[0], "seq": of_next[1]},
        ),
        _Damage(
            f"payload {digest[:16]}… of {stream} changed",
            lambda db: _run(
                db,
                "UPDATE payloads SET value = ? WHERE stream = ? AND hash = ?",
                *(other, stream, digest),
            ),
            {"stream": stream},
        ),
    ]


def _run(db: Connection, statement: str, *values: Any) -> None:
    db.execute(statement, values)


def _verify(data_dir: Path, damage: _Damage, note: Path | None) -> Tampering:
    command = [sys.executable, "-m", "federation_core", "ledger", "verify"]
    command += ["--data-dir", str(data_dir), "--json"]
    command += ["--seen", str(note)] if note else []
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FEDCORE_")}
    done = subprocess.run(  # noqa: S603 (our own program)
        command, env=environ, capture_output=True, timeout=_VERIFY_S, check=False
    )
    told = _json(done.stdout)
    judge = f"`fedcore ledger verify{' --seen' if note else ''}`"
    said = f"exit status {done.returncode}: "
    if not damage.names:
        is_refused = done.returncode != 0 or told.get("error") is not None
        return Tampering(damage.what, judge, is_refused, said + _counted(told), wanted=False)
    where = ", ".join(f"{name} {told.get(name)}" for name in damage.names)
    named = all(told.get(name) == value for name, value in damage.names.items())
    refused = done.returncode in _BROKEN and named
    why = told.get("error") or "the ledger verifies"
    return Tampering(damage.what, judge, refused, f"{said}{why} ({where})")


def _counted(told: dict[str, Any]) -> str:
    """What the verifier says of a ledger that holds."""
    if told.get("error") or "root" not in told:
        return str(told.get("error") or "no verdict")
    return (
        f"the record holds: {told['events']} events with the root {told['root'][:16]}…, "
        f"{told['checkpoints']} checkpoints, witnesses: {told['witnesses']}"
    )


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
