"""The packs of a campaign before their judge: the true ones, and the forged ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import OperatorError
from .forger import Forger
from .fresh import Fresh, Judgement
from .pack_forging import PACK_FORGERIES, Forged, PackForgery, Scene
from .packing import Said
from .packs import Fetched
from .scenarios import CASES
from .transcript import Transcript

__all__ = ["PackAttack", "PackTrial", "judge_packs"]

_NAMES = {case.letter: case.name for case in CASES}


class PackAttack(msgspec.Struct, frozen=True):
    """A changed pack (`test` is the letter of its run) and what the verifier said of it.

    `wanted` is the verdict and the error that had to come. `trouble` says why the change could not
    be made.
    """

    test: str
    what: str
    wanted: tuple[str, str | None]
    status: int | None = None
    verdict: dict[str, Any] = {}
    trouble: str | None = None

    @property
    def is_control(self) -> bool:
        return self.wanted[1] is None

    @property
    def said(self) -> tuple[str | None, str | None]:
        error = self.verdict.get("error") or {}
        return self.verdict.get("verdict"), error.get("code")

    @property
    def held(self) -> bool:
        return self.said == self.wanted and (self.status == 0) == self.is_control


def _told(said: tuple[str | None, str | None]) -> str:
    return " ".join(filter(None, said)) or "nothing"


class PackTrial(msgspec.Struct, frozen=True):
    """What came of the packs; `look` is what the fresh interpreter said of itself."""

    fetched: Fetched
    look: Said
    attacks: list[PackAttack]

    @property
    def is_bare(self) -> bool:
        """Whether nothing is installed where the verifier ran."""
        return Fresh.is_bare(self.look)

    @property
    def held(self) -> bool:
        return self.is_bare and bool(self.attacks) and all(a.held for a in self.attacks)

    @property
    def failures(self) -> list[str]:
        """What did not hold, a line for each."""
        lines = [] if self.is_bare else [f"the interpreter is not bare: {self.look.output}"]
        for a in self.attacks:
            if not a.held:
                told = a.trouble or f"the verifier says {_told(a.said)}, not {_told(a.wanted)}"
                lines.append(f"pack {a.test}: {a.what}: {told}")
        return lines


def judge_packs(
    fetched: Fetched, played: Sequence[Transcript], folder: Path
) -> tuple[PackTrial, list[Transcript]]:
    """The forged packs judged, and the transcripts with the verdicts on their packs, in order.

    The verifier is the one out of the first pack; a check compares all of them. What is given to
    it is written into `folder`.
    """
    packs = [t.pack for t in played if t.pack is not None]
    fresh = Fresh(folder, packs[0].files.get("verify.py", b"") if packs else b"")
    honest = [_honest(fresh, fetched, t) for t in played]
    said = [fresh.verify(job) for job in honest]
    made = _forged(Scene(_by_letter(played), fetched, Forger(packs[0].log))) if packs else []
    forged = [
        _job(fresh, f"forged-{i}", one)
        for i, (_, one) in enumerate(made)
        if isinstance(one, Forged)
    ]
    judged = fresh.judge([*honest, *forged])
    verdicts = iter(judged[len(honest) :])
    attacks = [
        _attack(forgery, one if isinstance(one, str) else next(verdicts)) for forgery, one in made
    ]
    told = [_with_verdict(*pair) for pair in zip(played, said, judged, strict=False)]
    return PackTrial(fetched, fresh.look(), attacks), told


def _by_letter(played: Sequence[Transcript]) -> dict[str, Transcript]:
    return {t.test: t for t in played}


def _honest(fresh: Fresh, fetched: Fetched, t: Transcript) -> list[str]:
    """As an auditor asks: about this run and tenant, and what they saw before."""
    pack = t.pack
    if pack is None:
        raise OperatorError(f"There is no evidence pack of test {t.test}.")
    one = Forged(pack.data, fetched.trust, t.run_id, fetched.seen, pack.consistency)
    return [*_job(fresh, _NAMES[t.test], one), "--tenant", str(t.run["tenant_id"])]


def _job(fresh: Fresh, name: str, one: Forged) -> list[str]:
    """The arguments of the verifier, after its files were written."""
    arguments = [fresh.write(f"{name}.evidence.zip", one.data)]
    if one.trust is not None:
        own = "trust.txt" if name in _NAMES.values() else f"{name}.trust.txt"
        arguments += ["--trust", fresh.write(own, one.trust.encode())]
    if one.run_id is not None:
        arguments += ["--run", one.run_id]
    if one.seen is not None:
        arguments += ["--seen", fresh.write("seen.checkpoint", one.seen.encode())]
    if one.consistency is not None:
        proof = fresh.write(f"{name}.consistency.json", one.consistency.encode())
        arguments += ["--consistency", proof]
    return arguments


def _forged(scene: Scene) -> list[tuple[PackForgery, Forged | str]]:
    """Each forgery, or why it could not be made: the record is another than it was to be."""
    made: list[tuple[PackForgery, Forged | str]] = []
    for forgery in PACK_FORGERIES:
        try:
            made.append((forgery, forgery.make(scene, forgery.test)))
        except (LookupError, ValueError, TypeError, StopIteration) as e:
            made.append((forgery, f"it could not be made: {type(e).__name__}: {e}"))
    return made


def _attack(forgery: PackForgery, came: Judgement | str) -> PackAttack:
    about = (forgery.test, forgery.what, forgery.wanted)
    if isinstance(came, str):
        return PackAttack(*about, trouble=came)
    return PackAttack(*about, status=came.status, verdict=came.verdict)


def _with_verdict(t: Transcript, said: Said, judged: Judgement) -> Transcript:
    assert t.pack is not None
    pack = msgspec.structs.replace(t.pack, said=said, verdict=judged.verdict)
    return msgspec.structs.replace(t, pack=pack)
