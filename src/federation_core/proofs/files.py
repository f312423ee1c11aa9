"""What a campaign leaves behind beside its report."""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import OperatorError
from .checks.receipts import receipted, workflow_receipt
from .hashing import canonical, digest
from .pack_judging import PackTrial
from .result import NAME, Result, Trial
from .transcript import Json, Transcript

__all__ = ["REPORT", "write_files"]

REPORT = f"{NAME}_PROOF_REPORT.md"


def write_files(
    result: Result, out: Path, material: Path, leftovers: tuple[Path, Iterable[Json]]
) -> Path:
    """Write the evidence into `out`, in place of what an earlier campaign left there; returns its
    folder. `leftovers` are the server's log (it may be missing) and what the effect service took.
    Raises `OperatorError` where that cannot be written."""
    folder = out / NAME
    server_log, effects = leftovers
    try:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "logs").mkdir(parents=True)
        (folder / "receipts").mkdir()
        shutil.copytree(material, folder / "material")
        for trial in result.trials:
            _write_trial(trial, folder, result)
        _write_packs(result.packs, folder)
        _write(folder / "logs" / "effects.jsonl", [json.dumps(e, sort_keys=True) for e in effects])
        if server_log.exists():
            shutil.copyfile(server_log, folder / "logs" / "server.log")
    except OSError as e:
        raise OperatorError(f"The proof cannot be written into {out}: {e.strerror}.") from e
    return folder


def _write_trial(trial: Trial, folder: Path, result: Result) -> None:
    case, t = trial.case, trial.transcript
    _write(folder / f"{case.name}.txt", _story(trial, result))
    if t is None:
        return
    logs = folder / "logs"
    _write(logs / f"{case.name}.jsonl", [json.dumps(e, sort_keys=True) for e in t.logs])
    bodies = t.pack.events if t.bodies is None and t.pack else t.bodies
    if bodies is not None:
        _write(logs / f"{case.name}.events.jsonl", [body.decode() for body in bodies])
    if t.pack is not None:
        (folder / f"{case.name}.evidence.zip").write_bytes(t.pack.data)
        if t.pack.consistency is not None:
            _write(folder / f"{case.name}.consistency.json", [t.pack.consistency])
    _write_receipts(t, folder / "receipts" / case.name)


def _write_packs(packs: PackTrial | None, folder: Path) -> None:
    """What the auditor fetched beside the packs, and the verdicts on the forged ones."""
    if packs is None:
        return
    (folder / "trust.txt").write_text(packs.fetched.trust, "utf-8")
    (folder / "seen.checkpoint").write_text(packs.fetched.seen, "utf-8")
    told = (
        {
            "pack": a.test,
            "changed": a.what,
            "wanted": a.wanted,
            "exit_status": a.status,
            "verdict": a.verdict,
        }
        for a in packs.attacks
    )
    _write(folder / "forged_packs.jsonl", [json.dumps(one, sort_keys=True) for one in told])


def _write_receipts(t: Transcript, folder: Path) -> None:
    """Each receipt's exact bytes, so that `sha256sum -c SHA256SUMS` holds the files against the
    hashes that the log told."""
    folder.mkdir()
    sums = []
    for i, entry in enumerate(receipted(t), 1):
        details = entry["details"]
        what = "gate" if entry["event_type"].startswith("FC-GATE") else "step"
        name = f"{i:02}_{what}_{details.get('step_id') or 'run'}.json"
        (folder / name).write_bytes(canonical(details["receipt"]))
        sums.append(f"{details['receipt_hash']}  {name}")
    (folder / "workflow_receipt.json").write_bytes(canonical(workflow_receipt(t)))
    sums.append(f"{t.run['workflow_receipt_hash']}  workflow_receipt.json")
    _write(folder / "SHA256SUMS", sums)


def _story(trial: Trial, result: Result) -> Iterator[str]:
    case, facts, t = trial.case, result.facts, trial.transcript
    yield f"PT-004 {case.letter}  {case.title}"
    yield f"server    {facts.url} (federation-core {facts.server_version})"
    yield f"tenant    {facts.tenant}"
    yield f"workflow  {' '.join(facts.workflow)}"
    yield f"policy    {' '.join(facts.policy)}"
    yield f"date      {facts.started[:10]} (times are UTC, of the harness)"
    if t is not None:
        yield f"run       {t.run_id}"
    yield ""
    yield from trial.story
    yield ""
    if t is None:
        yield f"DID NOT COME TO ITS END: {trial.trouble}"
        return
    seen = " → ".join(s.status.upper() for s in t.sightings)
    yield f"statuses seen     {seen}"
    yield f"effects outside   {len(t.effects)}"
    yield f"receipts          {len(receipted(t))}"
    yield f"workflow receipt  {t.run['workflow_receipt_hash']} as the run told it"
    yield f"                  {digest(workflow_receipt(t))} made anew"
    if t.pack is not None:
        _, size, root = t.pack.checkpoint
        yield f"evidence pack     {t.pack.digest}"
        yield f"checkpoint        over {size} events, root {root}"
    yield ""
    for finding in trial.findings:
        mark = "skip" if finding.skipped else "ok" if finding.held else "FAIL"
        yield f"{mark:<5} {finding.check:<17} {finding.claim}"
        yield from (f"      {' ' * 17} {problem}" for problem in finding.problems)
    yield ""
    yield f"VERDICT: {'PROVED' if trial.held else 'NOT PROVED'}"


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
