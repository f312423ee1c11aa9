"""PT-004: three governed workflows on a live server, watched from outside, checked anew, and a
report of all that was seen."""

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.console import Console

from .. import __version__
from ..client import Client
from ..errors import FederationError
from .at_rest import snapshot, with_bytes
from .checks import check_transcript
from .effects import now
from .files import REPORT, write_files
from .given import MATERIAL, Given
from .narration import Narration
from .pack_judging import PackTrial, judge_packs
from .packs import Fetched, fetch
from .report import report_lines
from .repository import plan, source_revision
from .result import Facts, Result, Trial
from .scenarios import CASES, Stage, perform
from .summary import conclude, introduce
from .tampering import Seen, Tampering, tamper_ledger, tamper_receipt, tamper_transcripts
from .transcript import Json, Transcript
from .venue import Brought, Venue, require_token, venue

__all__ = ["prove"]


def prove(
    out: Path,
    url: str | None,
    commit: bool,
    tag: str | None,
    console: Console | None = None,
    *,
    material: Path = MATERIAL,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run the campaign and write its report into `out`; 0 if everything held, else 1.

    Without `url` it starts a server of its own, with fresh data. `commit` commits the report where
    everything held; `tag` tags that commit, and so commits too. Raises `OperatorError` where the
    campaign cannot begin or its report not be written; what goes wrong in between is a proof that
    failed, and is reported as one.
    """
    console = console or Console(quiet=True)
    given = Given.read(material)
    require_token(url, environ)
    step = plan(out, tag) if commit or tag else None
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fedcore-proof-") as work:
        campaign = _Campaign(given, Path(work), console)
        result = campaign.run(url, environ)
        folder = write_files(result, out, given.folder, campaign.leftovers)
        report = out / REPORT
        report.write_text("\n".join(report_lines(result)) + "\n", "utf-8")
    conclude(console, result, report, time.monotonic() - began)
    if step is not None and result.held:
        name = step.take([folder, report], f"Proof PT-004: {result.facts.started}")
        console.print(f"Committed as {name}" + (f", tagged {tag}" if tag else ""), soft_wrap=True)
    elif step is not None:
        console.print("Not committed: the proof did not hold.")
    return 0 if result.held else 1


class _Campaign:
    """The campaign under way: whatever happens to it, `run` tells how far it came."""

    def __init__(self, given: Given, work: Path, console: Console) -> None:
        self._given, self._work, self._console = given, work, console
        self._started = now()
        self._brought = Brought()
        self._here: Venue | None = None
        self._trials: list[Trial] = []
        self._tamperings: list[Tampering] = []
        self._effects: list[Json] = []
        self._trouble: str | None = None
        self._seen: str | None = None
        self._backup: Path | None = None
        self._fetched: Fetched | None = None
        self._packs: PackTrial | None = None

    def run(self, url: str | None, environ: Mapping[str, str]) -> Result:
        """Never raises a `FederationError`: it is the trouble that the result tells of."""
        try:
            with venue(url, environ, self._work, self._given) as here:
                self._play(here)
        except FederationError as e:
            self._trouble = e.detail
        facts = self._facts(url)
        return Result(facts, self._trials, self._tamperings, self._trouble, self._packs)

    def _play(self, here: Venue) -> None:
        self._here = here
        introduce(self._console, here.url, own=here.server is not None)
        self._brought = here.bring(self._given)
        stage = Stage(here, self._given, self._brought.definition_hash)
        if here.server is not None:
            self._backup = snapshot(here.server.database, self._work / "backup")
        for case in CASES:
            story = Narration()
            try:
                transcript = perform(case, stage, story)
            except FederationError as e:
                self._trials.append(Trial(case, story.lines, trouble=e.detail))
            else:
                self._trials.append(Trial(case, story.lines, transcript))
            self._effects = here.effects.of()
            self._fetch(here.people.auditor, at_end=case is CASES[-1])
        self._judge(here)

    def _fetch(self, auditor: Client, *, at_end: bool) -> None:
        """What an auditor takes home: a checkpoint while runs are to come, the packs after them."""
        try:
            if self._seen is None:
                self._seen = auditor.checkpoint()
            if at_end and (played := self._played):
                self._fetched, played = fetch(auditor, self._seen, played)
                self._replace(played)
        except FederationError as e:
            self._trouble = f"The evidence cannot be fetched: {e.detail}"

    @property
    def _played(self) -> list[Transcript]:
        return [trial.transcript for trial in self._trials if trial.transcript is not None]

    def _replace(self, played: list[Transcript]) -> None:
        """Put what became of the transcripts in their places."""
        became = {t.test: t for t in played}
        for i, trial in enumerate(self._trials):
            if trial.case.letter in became:
                new = became[trial.case.letter]
                self._trials[i] = msgspec.structs.replace(trial, transcript=new)

    def _judge(self, here: Venue) -> None:
        intact: Path | None = None
        if here.server is not None:
            here.server.stop()
            intact = snapshot(here.server.database, self._work / "intact")
            self._replace([with_bytes(t, intact) for t in self._played])
        if self._fetched is not None:
            folder = self._work / "packs"
            self._packs, played = judge_packs(self._fetched, self._played, folder)
            self._replace(played)
        for i, trial in enumerate(self._trials):
            if trial.transcript is not None:
                found = check_transcript(trial.transcript, trial.case.expected)
                self._trials[i] = msgspec.structs.replace(trial, findings=found)
        if played := self._played:
            self._tamperings += tamper_receipt(played[0], self._work)
            self._tamperings += tamper_transcripts(played)
            if intact is not None and self._seen and self._backup:
                seen = Seen(self._seen, self._backup)
                self._tamperings += tamper_ledger(played[-1], intact, self._work, seen)

    @property
    def leftovers(self) -> tuple[Path, list[Json]]:
        """The log of the campaign's own server, and every request that the effect service took."""
        return self._work / "server.log", self._effects

    def _facts(self, url: str | None) -> Facts:
        here = self._here
        born = next((t.transcript.run for t in self._trials if t.transcript), {})
        return Facts(
            started=self._started,
            ended=now(),
            harness_version=__version__,
            server_version=here.version if here else "unknown",
            revision=source_revision(),
            url=here.url if here else url or "its own",
            own=url is None,
            tenant=born.get("tenant_id", "unknown"),
            policy=self._given.policy,
            activation=self._brought.activation,
            workflow=(
                born.get("workflow_id", "unknown"),
                born.get("workflow_version", "unknown"),
                self._brought.definition_hash,
            ),
        )
