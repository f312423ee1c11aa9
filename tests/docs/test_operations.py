"""The operator's page is true: its backup can be restored, and what it names exists."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.api_helpers import Http, bearer
from tests.docs.test_documentation import ROOT, blocks

from federation_core import errors

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SOURCES = "\n".join(p.read_text("utf-8") for p in (ROOT / "src").rglob("*.py"))
BACKUP, RESTORE, NEWEST = blocks(PAGE, "bash")
FEDCORE = (sys.executable, "-m", "federation_core")


class Site:
    """A folder as the page has it: `data`, `backup`, and a command line that finds the server."""

    def __init__(self, folder: Path) -> None:
        (folder / "bin").mkdir()
        command = folder / "bin" / "fedcore"
        command.write_text(f'#!/bin/sh\nexec "{FEDCORE[0]}" -m {FEDCORE[2]} "$@"\n')
        command.chmod(0o755)
        self.folder = folder
        self.environ = {
            "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "FEDCORE_DATA_DIR": str(folder / "data"),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def sure(self, script: str) -> str:
        done = self.run(script)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def serving(self) -> Iterator[Http]:
        """A client of a production server that is killed at the end."""
        server = subprocess.Popen(
            [*FEDCORE, "serve", "--port", "0"],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        try:
            greeting = server.stdout.readline()
            found = re.search(r"http://\S+", greeting)
            assert found is not None, greeting
            self.environ["FEDCORE_URL"] = found[0]
            secret = (self.folder / "data" / "secret.key").read_text()
            scopes = ["workflow:read", "workflow:write"]
            token = bearer(secret, scopes=scopes, actor_id="alice")
            with Http(found[0], token=token) as client:
                yield client
        finally:
            server.kill()
            server.wait()
            server.stdout.close()

    def signed(self, checkpoint: str) -> int:
        """Over how many events a checkpoint is."""
        return int((self.folder / checkpoint).read_text().splitlines()[1])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_backup_is_restored_and_goes_on_and_an_older_one_is_found_out(site: Site) -> None:
    """Backup beside the server, SIGKILL, restore: what was acknowledged before the backup is
    there, and what came after it is missed by whoever has a newer checkpoint."""
    with site.serving() as client:
        kept = client.run()["run_id"]
        told = site.sure(BACKUP)
        assert "The record holds" in told
        assert (site.folder / "backup").stat().st_mode & 0o777 == 0o700
        lost = client.run()["run_id"]
        size = 0
        while size <= site.signed("backup/checkpoint"):  # it is signed within a second
            site.sure("fedcore ledger checkpoint -o newest-checkpoint")
            size = site.signed("newest-checkpoint")

    told = site.sure(RESTORE)
    assert "The record holds" in told
    assert "Every row was what the events say." in told
    assert (site.folder / "data.lost" / "fedcore.db").exists()

    found = site.run(NEWEST)
    assert found.returncode == 4
    assert "INCONSISTENT" in found.stdout
    assert "rolled back" in " ".join(found.stdout.split())

    with site.serving() as client:
        assert client.get(f"/workflows/runs/{kept}").status_code == 200
        assert client.get(f"/workflows/runs/{lost}").status_code == 404
        client.run()
        site.sure("fedcore ledger verify --seen backup/checkpoint")


def symptoms() -> list[str]:
    table = PAGE[PAGE.index("| symptom |") : PAGE.index("A clock that is stepped")]
    return re.findall(r"^\| (.*?) \|", table, re.MULTILINE)[2:]


def test_the_symptoms_are_words_that_the_server_says() -> None:
    known = SOURCES + "\n".join(dir(errors))
    words = {word for row in symptoms() for word in re.findall(r"`([a-zA-Z_]+)`", row)}
    assert len(words) >= 12
    elsewhere = {"engine_call_refused"}  # of the engine on Restate
    assert {word for word in words - elsewhere if word not in known} == set()


def test_the_numbers_are_those_that_were_measured() -> None:
    results = json.loads((ROOT / "bench" / "results" / "latest.json").read_text("utf-8"))["results"]
    own = {r["in_flight"]: r for r in results if r["system"] == "federation-core"}
    shown = " · ".join(f"{own[n]['steps_per_s']:,.0f}" for n in (1, 16, 256))
    assert f"| {shown} |" in PAGE
    one = own[1]
    assert f"| {one['p50_ms']:.1f} ms · {one['p99_ms']:.1f} ms |" in PAGE


def test_links_within_the_page_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
