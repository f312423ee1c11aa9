"""Where a test plays a chapter: the data directory, the service outside, and lives in it."""

import json
import shutil
from pathlib import Path
from tempfile import mkdtemp

from tests.core_helpers import write_bundle
from tests.faults.chapters import BEGINNINGS
from tests.faults.invariants import Findings, examine, shown
from tests.faults.lives import Fault, Life, Nursery
from tests.faults.outside import Effect, Outside
from tests.faults.workload import BUNDLE

__all__ = ["Beginnings", "Theatre"]

_CUT_SHORT = Fault("kill", "FC-STEP-001", "after")


class Beginnings:
    """What was played before a chapter, played once for all tests: a folder to be copied, and the
    effects that were had."""

    def __init__(self, lives: Nursery, service: Outside, memory: Path) -> None:
        self._lives, self._service, self._memory = lives, service, memory
        self._made: dict[tuple[str, ...], tuple[Path, list[Effect]]] = {}

    def of(self, chapters: tuple[str, ...]) -> tuple[Path, list[Effect]]:
        if chapters not in self._made:
            base = Path(mkdtemp(dir=self._memory))
            self._service.restart([])
            if chapters:
                self._play(chapters, base)
            else:
                write_bundle(base / "policy", BUNDLE)
            self._made[chapters] = base, self._service.effects
        return self._made[chapters]

    def _play(self, chapters: tuple[str, ...], base: Path) -> None:
        before, effects = self.of(chapters[:-1])
        self._service.restart(effects)
        shutil.copytree(before, base, dirs_exist_ok=True)
        cut = chapters[-1] == "cut short"
        name, fault = ("short", _CUT_SHORT) if cut else (chapters[-1], None)
        life = self._lives.live(base / "data", name, self._service.url, fault)
        assert life.killed if cut else life.status == 0, life.said


class Theatre:
    """One test's. `folder` is the data directory."""

    def __init__(
        self, room: Path, lives: Nursery, service: Outside, beginnings: Beginnings
    ) -> None:
        self.room, self.service = room, service
        self._lives, self._beginnings = lives, beginnings

    @property
    def folder(self) -> Path:
        return self.room / "data"

    def begin(self, chapter: str) -> None:
        """All is as it was before `chapter`."""
        before, effects = self._beginnings.of(BEGINNINGS[chapter])
        self.service.restart(effects)
        shutil.rmtree(self.room)
        shutil.copytree(before, self.room)

    def play(self, chapter: str, fault: Fault | None = None, *, record: bool = False) -> Life:
        """One life, from the first line of the chapter on."""
        return self._lives.live(self.folder, chapter, self.service.url, fault, record=record)

    def played(self, chapter: str, fault: Fault | None = None, *, record: bool = False) -> Life:
        """One life that comes to the end of the chapter."""
        life = self.play(chapter, fault, record=record)
        assert life.status == 0, life.said
        return life

    def examine(self, *lives: Life) -> Findings:
        """What is there when these lives are over."""
        told = [body for life in lives for _, body in life.told]
        events = [event for body in told for event in shown(json.loads(body))]
        return examine(self.folder, self.service, events)

    def check(self, *lives: Life) -> None:
        """All that must hold, when these lives are over."""
        errors = self.examine(*lives).errors
        assert not errors, "\n".join(errors)
