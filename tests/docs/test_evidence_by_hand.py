"""The page about evidence is true, and so is each REPORT.md: what they tell to type gives the
hashes and signatures that they say, whichever key of the log signed.

It needs `bash`, `jq`, `openssl` and `sha256sum`, as they do.
"""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest
from tests.core_helpers import begin, core, gate, open_gates, py, until
from tests.core_steps import new_stage
from tests.docs.test_documentation import ROOT, blocks

from federation_core.evidence import verify
from federation_core.service import FederationCore
from federation_core.service.requests import RotateRequest

PAGE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")


class World:
    """A pack made before the key was rotated, and packs made after it: of the same run, of a later
    one without its values, and of one that goes on. One trust file, with both keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashes: dict[str, str] = {}

    async def make(self) -> None:
        async with core(self.folder / "data") as fc:
            old = (await until(fc, await begin(fc, py("a"), py("b")))).run.run_id
            await self._keep(fc, "before", old)
            await fc.log.rotate(fc.call("auditor"), RotateRequest())
            await self._keep(fc, "after", old)
            new = (await until(fc, await begin(fc, py("a"), version="2.0.0"))).run.run_id
            await self._keep(fc, "no values", new, payloads=False)
            open_run = await begin(fc, gate("ask", "boss"), version="3.0.0")
            await open_gates(fc, open_run)
            await self._keep(fc, "under way", open_run)
            trust = await fc.log.trust(fc.call("auditor"))
        (self.folder / "trust.txt").write_text(trust, encoding="utf-8")

    async def _keep(self, fc: FederationCore, name: str, run_id: str, **asked: bool) -> None:
        made = await fc.evidence.pack(fc.call("auditor"), run_id, **asked)
        self.hashes[name] = made.summary.pack_hash
        with made.file as file:
            (self.folder / f"{name}.zip").write_bytes(file.read())

    def unpacked(self, name: str, folder: Path) -> Path:
        """As a reader of its REPORT.md has it: with the trust text in the folder."""
        with ZipFile(self.folder / f"{name}.zip") as pack:
            pack.extractall(folder)
        shutil.copy(self.folder / "trust.txt", folder)
        return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("by-hand"))
    new_stage()
    asyncio.run(made.make())
    return made


def run(folder: Path, script: str, *shell: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*shell, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )


def by_hand(folder: Path) -> "subprocess.CompletedProcess[str]":
    """What the page tells to type, where `pack.zip` and `trust.txt` are."""
    (script,) = blocks(PAGE, "bash")
    return run(folder, script, "bash", "-euo", "pipefail")


def by_report(folder: Path) -> "subprocess.CompletedProcess[str]":
    """What the REPORT.md of an unpacked pack tells to type."""
    (script,) = blocks((folder / "REPORT.md").read_text(encoding="utf-8"), "sh")
    return run(folder, script, "sh")


@pytest.mark.parametrize("name", ["before", "after", "no values"])
def test_by_hand_the_same_hashes_and_signatures_come_out(
    world: World, name: str, tmp_path: Path
) -> None:
    shutil.copy(world.folder / f"{name}.zip", tmp_path / "pack.zip")
    shutil.copy(world.folder / "trust.txt", tmp_path)
    done = by_hand(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{world.hashes[name]}  manifest.json\n")
    assert done.stdout.count("Signature Verified Successfully") == 2
    assert done.stdout.endswith("the values are those that the events name\n")


@pytest.mark.parametrize("name", ["before", "after", "no values", "under way"])
def test_the_commands_of_a_report_find_the_key_that_signed(
    world: World, name: str, tmp_path: Path
) -> None:
    done = by_report(world.unpacked(name, tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{world.hashes[name]}  manifest.json\nevery file is the one")
    signed = ["checkpoint.txt", "receipt.pae"][: 1 if name == "under way" else 2]
    trust = (tmp_path / "trust.txt").read_text()
    issuers = re.findall(r"^issuer (.*\+[0-9a-f]{8})\+", trust, re.MULTILINE)
    key = issuers[0 if name == "before" else 1]
    for file in signed:
        assert f"Signature Verified Successfully\n  of {file}, by {key}\n" in done.stdout
    assert done.stdout.count("Signature") == len(signed)


def _other_key(folder: Path) -> None:
    trust = folder / "trust.txt"
    other = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
    trust.write_text(re.sub(r"((?:issuer|log) .*\+)\S+", rf"\g<1>{other}", trust.read_text()))


def test_by_hand_another_key_is_found_out(world: World, tmp_path: Path) -> None:
    shutil.copy(world.folder / "before.zip", tmp_path / "pack.zip")
    shutil.copy(world.folder / "trust.txt", tmp_path)
    _other_key(tmp_path)
    assert by_hand(tmp_path).returncode != 0


def test_the_commands_of_a_report_find_out_another_key(world: World, tmp_path: Path) -> None:
    _other_key(world.unpacked("after", tmp_path))
    assert "Successfully" not in by_report(tmp_path).stdout


def test_the_commands_of_a_report_name_a_key_that_is_not_trusted(
    world: World, tmp_path: Path
) -> None:
    trust = world.unpacked("after", tmp_path) / "trust.txt"
    trust.write_text("\n".join(trust.read_text().split("\n")[:5]))  # from before the rotation
    told = by_report(tmp_path).stdout
    assert "Successfully" not in told
    assert len(re.findall(r"^trust.txt has no (log|issuer) ", told, re.MULTILINE)) == 2


def test_the_page_names_every_error_and_verdict_of_the_verifier() -> None:
    codes = {code for stage in verify._STAGES for code in stage}
    table = PAGE[PAGE.index("| stage | errors |") : PAGE.index("| verdict |")]
    assert set(re.findall(r"`([A-Z][A-Z_]+)`", table)) == codes
    rows = re.findall(r"^\| (\d+) .*?\| (.*)\|$", table, re.MULTILINE)
    for number, told in rows:
        for code in re.findall(r"`([A-Z][A-Z_]+)`", told):
            assert verify._STAGE_OF[code] == int(number)
