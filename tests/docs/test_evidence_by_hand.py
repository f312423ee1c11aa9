"""The page about evidence is true: what it tells to type gives the hashes and verdicts it says.

It needs `bash`, `jq`, `openssl` and `sha256sum`, as the page does.
"""

import re
import subprocess
from pathlib import Path

import pytest
from tests.core_helpers import begin, core, py, until
from tests.docs.test_documentation import ROOT, blocks

from federation_core.evidence import verify

PAGE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")


@pytest.fixture
async def pack_hash(tmp_path: Path) -> str:
    """A pack and a trust file in `tmp_path`; the evidence pack hash."""
    async with core(tmp_path / "data") as fc:
        call = fc.call("auditor")
        run_id = (await until(fc, await begin(fc, py("a"), py("b")))).run.run_id
        pack = await fc.evidence.pack(call, run_id)
        with pack.file as file:
            (tmp_path / "pack.zip").write_bytes(file.read())
        (tmp_path / "trust.txt").write_text(await fc.log.trust(call), encoding="utf-8")
    return pack.summary.pack_hash


def by_hand(folder: Path) -> "subprocess.CompletedProcess[str]":
    (script,) = blocks(PAGE, "bash")
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_by_hand_the_same_hashes_and_signatures_come_out(
    tmp_path: Path, pack_hash: str
) -> None:
    done = by_hand(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{pack_hash}  manifest.json\n")
    assert done.stdout.count("Signature Verified Successfully") == 2
    assert done.stdout.endswith("the values are those that the events name\n")


async def test_by_hand_another_key_is_found_out(tmp_path: Path, pack_hash: str) -> None:
    trust = tmp_path / "trust.txt"
    other = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
    trust.write_text(re.sub(r"(issuer .*\+)\S+", rf"\g<1>{other}", trust.read_text()))
    assert pack_hash
    assert by_hand(tmp_path).returncode != 0


def test_the_page_names_every_error_and_verdict_of_the_verifier() -> None:
    codes = {code for stage in verify._STAGES for code in stage}
    table = PAGE[PAGE.index("| stage | errors |") : PAGE.index("| verdict |")]
    assert set(re.findall(r"`([A-Z][A-Z_]+)`", table)) == codes
    rows = re.findall(r"^\| (\d+) .*?\| (.*)\|$", table, re.MULTILINE)
    for number, told in rows:
        for code in re.findall(r"`([A-Z][A-Z_]+)`", told):
            assert verify._STAGE_OF[code] == int(number)
