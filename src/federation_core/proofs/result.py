"""What came of a campaign."""

import msgspec

from .pack_judging import PackTrial
from .tampering import Tampering
from .transcript import Case, Finding, Transcript

__all__ = ["NAME", "Facts", "Result", "Trial"]

NAME = "PT-004_workflow_orchestration"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """When, what and where.

    Times are RFC 3339; `own` says that the server was the campaign's own; `revision` is the git
    commit of the harness's source. `policy` is id and hash, `activation` says who made it the one
    that decides, and when; `workflow` is id, version and hash of the definition.
    """

    started: str
    ended: str
    harness_version: str
    server_version: str
    revision: str
    url: str
    own: bool
    tenant: str
    policy: tuple[str, str]
    activation: str
    workflow: tuple[str, str, str]


class Trial(msgspec.Struct, frozen=True):
    """One test as it was played: `transcript` is None where it did not come to its end, and
    `trouble` says why."""

    case: Case
    story: list[str]
    transcript: Transcript | None = None
    findings: list[Finding] = []
    trouble: str | None = None

    @property
    def held(self) -> bool:
        return self.transcript is not None and all(f.held for f in self.findings)


class Result(msgspec.Struct, frozen=True):
    """`trouble` is what kept the campaign from its end, None where nothing did; `packs` is None
    where it did not come to the evidence packs."""

    facts: Facts
    trials: list[Trial]
    tamperings: list[Tampering]
    trouble: str | None = None
    packs: PackTrial | None = None

    @property
    def held(self) -> bool:
        """Whether everything was shown: all three tests, their evidence packs, and that each change
        is refused."""
        return (
            self.trouble is None
            and len(self.trials) == 3
            and all(trial.held for trial in self.trials)
            and all(trial.transcript and trial.transcript.pack for trial in self.trials)
            and self.packs is not None
            and self.packs.held
            and bool(self.tamperings)
            and all(tampering.held for tampering in self.tamperings)
        )

    @property
    def failures(self) -> list[str]:
        """What did not hold, a line for each, the failing check named first."""
        lines = [self.trouble] if self.trouble else []
        for trial in self.trials:
            if trial.trouble:
                lines.append(f"{trial.case.letter} did not come to its end: {trial.trouble}")
            lines += [
                f"{trial.case.letter} {finding.check}: {problem}"
                for finding in trial.findings
                for problem in finding.problems
            ]
        lines += [
            f"tampering: {t.what}: {'accepted' if t.wanted else 'refused'} by {t.judge}: {t.answer}"
            for t in self.tamperings
            if not t.held
        ]
        return lines + (self.packs.failures if self.packs else [])
