"""The page about evidence is true: what it tells to type gives the hashes and verdicts it says.

It needs `bash`, `jq`, `openssl` and `sha256sum`, as the page does.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.core_helpers import begin, core, py, start, until
from tests.docs.test_documentation import ROOT, blocks

from federation_core.evidence import verify
from federation_core.service import FederationCore, RotateRequest

PAGE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")


@pytest.fixture
async def pack_hash(tmp_path: Path) -> str:
    """A pack and a trust file in `tmp_path`; the evidence pack hash."""
    async with core(tmp_path / "data") as fc:
        run_id = (await until(fc, await begin(fc, py("a"), py("b")))).run.run_id
        return await put(fc, run_id, tmp_path)


async def put(fc: FederationCore, run_id: str, folder: Path, *, payloads: bool = True) -> str:
    """The pack of a run and the trust file as they are now; the evidence pack hash."""
    folder.mkdir(exist_ok=True)
    call = fc.call("auditor")
    pack = await fc.evidence.pack(call, run_id, payloads=payloads)
    with pack.file as file:
        (folder / "pack.zip").write_bytes(file.read())
    (folder / "trust.txt").write_text(await fc.log.trust(call), encoding="utf-8")
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


def assert_holds(folder: Path, pack_hash: str) -> None:
    done = by_hand(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{pack_hash}  manifest.json\n")
    assert done.stdout.count("Signature Verified Successfully") == 2


async def test_by_hand_before_and_after_the_key_was_changed(tmp_path: Path) -> None:
    """What an old run's pack is signed with changes with the key; both are in the trust file."""
    async with core(tmp_path / "data") as fc:
        old = (await until(fc, await begin(fc, py("a")))).run.run_id
        before = await put(fc, old, tmp_path / "before")
        await fc.log.rotate(fc.call("boss"), RotateRequest(reason="it is time"))
        new = await start(fc)
        await until(fc, new)
        again = await put(fc, old, tmp_path / "again")
        after = await put(fc, new, tmp_path / "after")
        late = (tmp_path / "again" / "trust.txt").read_text(encoding="utf-8")
    assert again != before
    assert_holds(tmp_path / "before", before)
    assert_holds(tmp_path / "again", again)
    assert_holds(tmp_path / "after", after)
    assert late.count("\nissuer ") == 2
    keys = []
    for name in ("before", "again"):
        envelope = json.loads((tmp_path / name / "pack" / "receipt.dsse.json").read_bytes())
        keys.append(envelope["signatures"][0]["keyid"])
    assert keys[0] != keys[1]
    (tmp_path / "before" / "trust.txt").write_text(late, encoding="utf-8")
    assert_holds(tmp_path / "before", before)


async def test_by_hand_without_values(tmp_path: Path) -> None:
    async with core(tmp_path / "data") as fc:
        run_id = (await until(fc, await begin(fc, py("a")))).run.run_id
        bare = await put(fc, run_id, tmp_path / "bare", payloads=False)
    assert_holds(tmp_path / "bare", bare)


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


def _members(cell: str) -> dict[str, object]:
    """Member → what it means where it is left out; `...` where it never is, None where nothing."""
    told: dict[str, object] = {}
    for name, mark, default in re.findall(r"`([a-z_]+)(\??)(?:=(.+?))?`(?:, |$)", cell):
        told[name] = json.loads(default) if default else (None if mark else ...)
    return told


def test_the_page_has_every_member_that_the_verifier_knows() -> None:
    start = PAGE.index("| type | what it says | its data |")
    table = PAGE[start : PAGE.index("\n\n", start)]
    rows = re.findall(r"^\| `(FC-[A-Z]+-\d+)` \| .+? \| (.+) \|$", table, re.MULTILINE)
    others = {"FC-KEY-001", "FC-DATA-001"}
    assert len(rows) == table.count("\n") - 1
    assert {code for code, _ in rows} == verify._SHAPES.keys() - others
    for code, cell in rows:
        shape = {
            name.removesuffix("?"): verify._LEFT_OUT.get(name.removesuffix("?"))
            if name.endswith("?")
            else ...
            for name in verify._SHAPES[code]
        }
        assert _members(cell) == shape, code


def test_the_page_has_the_members_of_events_of_other_streams() -> None:
    for code in ("FC-KEY-001", "FC-DATA-001"):
        told = re.search(rf"^`{code}`: `{{(.+?)}}`", PAGE, re.MULTILINE)
        assert told is not None
        names = {n + mark for n, mark in re.findall(r'"([a-z_]+)"(\??)(?:,|:|$| |\})', told[1])}
        assert {n.removesuffix("?") for n in verify._SHAPES[code]} <= {
            n.removesuffix("?") for n in names
        }


def test_the_page_names_every_reason_for_which_a_run_ends() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `error_code` |"))
    codes = set(re.findall(r"`([a-z_]+)`", row)) - {"error_code"}
    causes = {"policy_denied", "step_failed", "gate_rejected", "gate_expired", "reported"}
    assert codes == causes | verify._CUT_SHORT | {"run_timeout", "parent_ended"}
