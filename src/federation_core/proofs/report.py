"""The report, in Markdown, for somebody who trusts nobody."""

from collections.abc import Iterator

from .checks import CHECKS
from .layers import layers
from .markdown import table, text
from .people import APPROVER, AUDITOR, OPERATOR, STRANGER
from .report_packs import forged_packs, packs
from .report_tail import limits, verify_yourself
from .result import NAME, Result
from .transcript import Finding

__all__ = ["report_lines"]

_PROVED = """\
**Verdict: PROVED.** All three tests did what they must, every attack on the server was refused, the
evidence pack of each run is VALID, and every changed copy of the record was found out. Witnesses
that stand behind the record beside the server itself: """
_ROLES = """\
The server decides, executes and records. The harness only asks for runs, watches them over HTTP,
answers the gate, tries what must be refused, and checks everything anew with code that it does not
share with the server."""
_PEOPLE = (
    (f"`{OPERATOR}`", "start runs; policy names it as an approver, though never of its own runs"),
    (f"`{APPROVER}`", "answer gates; policy names it as an approver"),
    (f"`{STRANGER}`", "answer gates, and is not named by policy"),
    (f"`{AUDITOR}`", "read; takes the evidence away"),
)
_WORKFLOW = """\
Each run asks the server's own registry what is installed (OBSERVE), works out the risk of a change
from the number of machines it reaches (DECIDE), passes a GATE that asks people only where policy
flags it, sends the change to a service outside (ACT), and sums up (TRANSFORM). The service runs in
the harness, where the server cannot write: it records each request with its idempotency key."""
_CONTROL = """\
A proof that cannot fail proves nothing. Each judge had to accept the untouched copy and to refuse
the changed one."""


def report_lines(result: Result) -> Iterator[str]:
    """The lines of `PT-004_workflow_orchestration_PROOF_REPORT.md`."""
    yield "# PT-004 Workflow orchestration: proof report"
    yield ""
    yield from _verdict(result)
    yield from _facts(result)
    if not result.trials:
        yield "No test was begun."
        return
    yield from _runs(result)
    yield from _checks(result)
    yield from packs(result)
    yield from _attacks(result)
    yield from _tamperings(result)
    yield from forged_packs(result)
    yield from layers(result.trials)
    yield from verify_yourself(result)
    yield from limits(result)


def _verdict(result: Result) -> Iterator[str]:
    if result.held:
        yield f"{_PROVED}{_witnesses(result)}."
    else:
        yield "**Verdict: NOT PROVED.** What did not hold:"
        yield ""
        yield from (f"- {text(line)}" for line in result.failures or ["the campaign is not whole"])
    yield ""


def _witnesses(result: Result) -> int:
    """The fewest that stand behind one of the packs."""
    found = [t.transcript.pack for t in result.trials if t.transcript]
    return min(len((pack.verdict or {}).get("witnesses", ())) for pack in found if pack)


def _facts(result: Result) -> Iterator[str]:
    facts = result.facts
    whose = "the campaign's own, started for it with fresh data" if facts.own else "not its own"
    yield from table(
        ("what", "value"),
        [
            ("time", f"{facts.started} to {facts.ended}"),
            ("server", f"{facts.url}, {whose}"),
            ("version", f"{facts.server_version} (harness {facts.harness_version})"),
            ("git SHA", facts.revision),
            ("tenant", facts.tenant),
            (
                "workflow",
                f"{facts.workflow[0]} {facts.workflow[1]}, definition {facts.workflow[2]}",
            ),
            ("policy bundle", f"{facts.policy[0]}, hash {facts.policy[1]}, {facts.activation}"),
        ],
    )
    yield _ROLES
    yield ""
    yield from table(("who", "may"), _PEOPLE)


def _runs(result: Result) -> Iterator[str]:
    yield "## The three tests"
    yield ""
    rows = []
    for trial in result.trials:
        t = trial.transcript
        seen = " → ".join(s.status.upper() for s in t.sightings) if t else trial.trouble or ""
        rows.append(
            (
                f"**{trial.case.letter}** [{trial.case.name}]({NAME}/{trial.case.name}.txt)",
                t.run_id if t else "–",
                seen,
                f"{len(t.effects)} (expected {trial.case.expected.effects})" if t else "–",
                "PROVED" if trial.held else "NOT PROVED",
            )
        )
    yield from table(
        ("test", "run id", "statuses as the harness saw them", "effects outside", "verdict"), rows
    )
    for trial in result.trials:
        yield f"- **{trial.case.letter}**: {trial.case.title} ({trial.case.machines:,} machines)."
    yield ""
    yield _WORKFLOW
    yield ""


def _checks(result: Result) -> Iterator[str]:
    yield "## What was checked"
    yield ""
    found = {(t.case.letter, f.check): f for t in result.trials for f in t.findings}
    letters = [trial.case.letter for trial in result.trials]
    yield from table(
        ("check", "claim", *letters),
        [
            (
                f"`{check.name}`",
                check.claim,
                *(_mark(found.get((letter, check.name))) for letter in letters),
            )
            for check in CHECKS
        ],
    )
    skipped = {f.check: f.skipped for f in found.values() if f.skipped}
    for name, why in skipped.items():
        yield f"`{name}` was skipped: {why}."
        yield ""


def _mark(finding: Finding | None) -> str:
    if finding is None:
        return "–"
    return "skipped" if finding.skipped else "held" if finding.held else "**FAILED**"


def _attacks(result: Result) -> Iterator[str]:
    yield "## What was attacked over HTTP, and how it was refused"
    yield ""
    attacks = [a for trial in result.trials if trial.transcript for a in trial.transcript.attacks]
    yield from table(
        ("test", "attack", "answer", "the server's words", "outcome"),
        [
            (a.test, a.what, f"{a.status} `{a.code}`", a.detail, _refused(a.is_refused))
            for a in attacks
        ],
    )
    for trial in result.trials:
        taken = trial.transcript.effects_at_pause if trial.transcript else None
        if taken is not None:
            yield f"After the attacks on the gate of {trial.case.letter}, just before the approval,"
            yield f"the service outside had taken {taken} of the run's requests."
            yield ""


def _refused(refused: bool) -> str:
    return "refused" if refused else "**NOT REFUSED**"


def _tamperings(result: Result) -> Iterator[str]:
    yield "## What was changed in copies, and who found it out"
    yield ""
    yield _CONTROL
    yield ""
    yield from table(
        ("changed in a copy", "judge", "answer", "outcome"),
        [
            (
                t.what,
                t.judge,
                t.answer,
                ("refused" if t.refused else "accepted") if t.held else "**WRONG**",
            )
            for t in result.tamperings
        ],
    )
