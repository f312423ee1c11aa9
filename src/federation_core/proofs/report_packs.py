"""The part of the report about the evidence packs."""

import re
import shlex
from collections.abc import Iterator, Sequence

from .hashing import sha256
from .markdown import table, text
from .pack_judging import PackAttack, PackTrial
from .packing import Pack, Said
from .people import AUDITOR
from .result import NAME, Result, Trial

__all__ = ["forged_packs", "packs"]

_FETCHED = """\
fetched a checkpoint of the log after run A, and after run C
the trust file and the evidence pack of each run, all over HTTP. Each pack was verified by the
`verify.py` that is in it, which shares no code with the server. It was told the run, the tenant and
the checkpoint seen, and run as an auditor would on a machine of their own: from an empty folder, by
a Python that has no site-packages at all (`-I -S`)."""
_NO_WITNESS = """\
**witnesses: 0.** Nobody but the server's key stands behind these checkpoints. They show that
whoever holds that key signed this history. That they never signed another one is shown by none of
the packs, only by whoever kept a checkpoint and holds the packs against it. Here that is the
harness: it kept the one below while runs B and C were still to come, and the log of every pack had
to agree with it."""
_FORGED = """\
Copies of the packs were changed, and judged by the same `verify.py` in the same bare Python. What
the row says was made anew, as far as that goes without the log's key, so that each gets as far as
it can. `<A>`, `<B>` and `<C>` stand for the ids of the runs; hashes are cut. The whole verdicts are
in"""
_STOLEN = """\
The last rows are about what no signature can show. Their auditor was made to trust the forger's
key, which stands for a log's key that was stolen, or for an operator who lies. To such an auditor a
lawful lie is VALID, until they hold it against a checkpoint that they, or a witness, saw before. An
unlawful one is refused, whoever signed it."""


def packs(result: Result) -> Iterator[str]:
    """The packs, whom the auditor trusts, and each verification as it was run."""
    trial = result.packs
    if trial is None:
        return
    yield "## The evidence packs"
    yield ""
    yield f"`{AUDITOR}`{', whose token may only read,' if result.facts.own else ''} {_FETCHED}"
    yield ""
    found = [(t, t.transcript.pack) for t in result.trials if t.transcript and t.transcript.pack]
    yield from _table(found)
    yield from _witnesses([pack for _, pack in found])
    yield from _kept(trial)
    yield from _bare(trial, [pack for _, pack in found])
    for one, pack in found:
        if pack.said is not None:
            yield f"{one.case.letter}, `{one.case.name}`:"
            yield ""
            yield from _shown(pack.said)


def _table(found: Sequence[tuple[Trial, Pack]]) -> Iterator[str]:
    rows = []
    for one, pack in found:
        _, size, root = pack.checkpoint
        name = f"{one.case.name}.evidence.zip"
        verdict = pack.verdict or {}
        rows.append(
            (
                f"**{one.case.letter}** [{name}]({NAME}/{name})",
                f"`{pack.digest}`",
                f"{size:,} events",
                f"`{root}`",
                len(verdict.get("witnesses", ())),
                verdict.get("verdict", "none"),
            )
        )
    head = ("pack", "evidence pack hash", "checkpoint over", "root", "witnesses", "verdict")
    yield from table(head, rows)


def _witnesses(found: Sequence[Pack]) -> Iterator[str]:
    names = sorted({name for p in found for name in (p.verdict or {}).get("witnesses", ())})
    if names:
        yield f"Witnesses that the trust file names cosigned: {', '.join(names)}."
    else:
        yield _NO_WITNESS
    yield ""


def _kept(trial: PackTrial) -> Iterator[str]:
    yield f"The checkpoint that was seen after run A, over {trial.fetched.seen_size:,} events"
    yield f"([seen.checkpoint]({NAME}/seen.checkpoint)):"
    yield ""
    yield from _block(trial.fetched.seen)
    yield f"The trust file ([trust.txt]({NAME}/trust.txt)):"
    yield ""
    yield from _block(trial.fetched.trust)


def _bare(trial: PackTrial, found: Sequence[Pack]) -> Iterator[str]:
    hashes = sorted({sha256(pack.files.get("verify.py", b"")) for pack in found})
    yield "`verify.py`, which the check `pack-verifier` compared with the installed one, has the"
    yield f"SHA-256 `{'` or `'.join(hashes)}`."
    yield "What it ran in: the version, what is in the folder, whence modules come, and three that"
    yield "the server needs and that are not there:"
    yield ""
    yield from _shown(trial.look)


def _shown(said: Said) -> Iterator[str]:
    yield from _block(
        f"$ {shlex.join(said.command)}\n{said.output.rstrip()}\nexit status {said.status}"
    )


def _block(content: str) -> Iterator[str]:
    yield "```text"
    yield from (line.replace("```", "'''") for line in content.rstrip().splitlines())
    yield "```"
    yield ""


def forged_packs(result: Result) -> Iterator[str]:
    """Each forgery, what had to come, and what came."""
    trial = result.packs
    if trial is None:
        return
    yield "## Which forged packs were refused, and why"
    yield ""
    yield f"{_FORGED} [forged_packs.jsonl]({NAME}/forged_packs.jsonl)."
    yield ""
    ids = {t.transcript.run_id: f"<{t.case.letter}>" for t in result.trials if t.transcript}
    yield from table(
        ("pack", "changed in a copy", "must be", "`verify.py` says", "where", "exit", "outcome"),
        [
            (a.test, a.what, _code(a.wanted), _code(a.said), _where(a, ids), a.status, _outcome(a))
            for a in trial.attacks
        ],
    )
    yield _STOLEN
    yield ""


def _code(said: tuple[str | None, str | None]) -> str:
    verdict, code = said
    return f"{verdict or 'nothing'}{f' `{code}`' if code else ''}"


def _where(attack: PackAttack, ids: dict[str, str]) -> str:
    if attack.trouble:
        return attack.trouble
    error = attack.verdict.get("error") or {}
    place = text(error.get("file") or "")
    for run_id, name in ids.items():
        place = place.replace(run_id, name)
    place = re.sub("([0-9a-f]{8})[0-9a-f]{56}", r"\1…", place)
    line = f", line {error['line']}" if error.get("line") else ""
    return f"`{place}`{line}" if place else "–"


def _outcome(attack: PackAttack) -> str:
    if not attack.held:
        return "**WRONG**"
    if attack.is_control:
        return "accepted"
    return "refused" if attack.said[0] == "INVALID" else "not accepted"
