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
from tests.postgres import Postgres

__all__ = ["Beginnings", "Theatre"]

Made = tuple[Path, list[Effect], str]
"""A folder to be copied, the effects that were had, and the name of a database to be copied."""
_CUT_SHORT = Fault("kill", "FC-STEP-001", "after")


class Beginnings:
    """What was played before a chapter, played once for all tests. With a `server` the ledgers are
    there, one database for each; else each is in its data directory."""

    def __init__(
        self, lives: Nursery, service: Outside, memory: Path, server: Postgres | None = None
    ) -> None:
        self._lives, self._service, self._memory = lives, service, memory
        self.server = server
        self._made: dict[tuple[str, ...], Made] = {}

    def of(self, chapters: tuple[str, ...]) -> Made:
        if chapters not in self._made:
            base = Path(mkdtemp(dir=self._memory))
            self._service.restart([])
            database = "template0"
            if chapters:
                database = self._play(chapters, base)
            else:
                write_bundle(base / "policy", BUNDLE)
            self._made[chapters] = base, self._service.effects, database
        return self._made[chapters]

    def fresh(self, template: str) -> str | None:
        """The URL of a copy of a database."""
        return None if self.server is None else self.server.fresh(template=template)

    def _play(self, chapters: tuple[str, ...], base: Path) -> str:
        before, effects, template = self.of(chapters[:-1])
        url = self.fresh(template)
        self._service.restart(effects)
        shutil.copytree(before, base, dirs_exist_ok=True)
        cut = chapters[-1] == "cut short"
        name, fault = ("short", _CUT_SHORT) if cut else (chapters[-1], None)
        life = self._lives.live(base / "data", name, self._service.url, fault, database=url)
        assert life.killed if cut else life.status == 0, life.said
        return url.rpartition("/")[2] if url else template


class Theatre:
    """One test's. `folder` is the data directory."""

    def __init__(
        self, room: Path, lives: Nursery, service: Outside, beginnings: Beginnings
    ) -> None:
        self.room, self.service = room, service
        self._lives, self._beginnings = lives, beginnings
        self.database: str | None = None

    @property
    def folder(self) -> Path:
        return self.room / "data"

    def begin(self, chapter: str) -> None:
        """All is as it was before `chapter`."""
        before, effects, template = self._beginnings.of(BEGINNINGS[chapter])
        self.database = self._beginnings.fresh(template)
        self.service.restart(effects)
        shutil.rmtree(self.room)
        shutil.copytree(before, self.room)

    def end(self) -> None:
        """The database is not needed any more."""
        server = self._beginnings.server
        if server is not None and self.database is not None:
            server.execute(f"DROP DATABASE {self.database.rpartition('/')[2]} WITH (FORCE)")

    def play(self, chapter: str, fault: Fault | None = None, *, record: bool = False) -> Life:
        """One life, from the first line of the chapter on."""
        url, database = self.service.url, self.database
        return self._lives.live(self.folder, chapter, url, fault, record=record, database=database)

    def played(self, chapter: str, fault: Fault | None = None, *, record: bool = False) -> Life:
        """One life that comes to the end of the chapter."""
        life = self.play(chapter, fault, record=record)
        assert life.status == 0, life.said
        return life

    def examine(self, *lives: Life) -> Findings:
        """What is there when these lives are over."""
        told = [body for life in lives for _, body in life.told]
        events = [event for body in told for event in shown(json.loads(body))]
        target = self.database or self.folder / "fedcore.db"
        return examine(target, self.service, events)

    def check(self, *lives: Life) -> None:
        """All that must hold, when these lives are over."""
        errors = self.examine(*lives).errors
        assert not errors, "\n".join(errors)
