"""`verify.py` as an auditor runs it: one file, an empty folder, and what it says to the shell."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.evidence.attack_worlds import forked, world
from tests.evidence.pack_forge import repack, unpack

from federation_core.evidence import verify


class Auditor:
    """Has an empty folder, the verifier, and the files that somebody gave him."""

    def __init__(self, folder: Path) -> None:
        self.files, self.empty = folder / "files", folder / "empty"
        self.files.mkdir()
        self.empty.mkdir()
        self.verifier = self.keep("verify.py", Path(str(verify.__file__)).read_bytes())

    def keep(self, name: str, data: bytes) -> Path:
        path = self.files / name
        path.write_bytes(data)
        return path

    def run(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-I", str(self.verifier), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.empty, capture_output=True, text=True, timeout=60, check=False, env={}
        )
        assert not list(self.empty.iterdir())
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    return Auditor(tmp_path)


def test_the_verifier_in_a_pack_is_this_one() -> None:
    for pack in world().packs.values():
        assert unpack(pack)["verify.py"] == Path(str(verify.__file__)).read_bytes()


def test_each_exit_status(auditor: Auditor) -> None:
    trust = auditor.keep("trust", world().trust.encode())
    packs = {name: auditor.keep(f"{name}.zip", data) for name, data in world().packs.items()}
    forged = repack(world().packs["main"], {"index.json": b"{}"})
    bad = auditor.keep("bad.zip", forged)
    for arguments, status, first in (
        ((packs["main"], "--trust", trust), 0, "VALID"),
        ((packs["gone"], "--trust", trust), 0, "VALID_WITH_REDACTIONS"),
        ((bad, "--trust", trust), 1, "INVALID"),
        ((packs["main"],), 3, "UNTRUSTED"),
        ((packs["main"], "--trust", packs["main"]), 3, "UNTRUSTED"),
        ((packs["open"], "--trust", trust), 4, "INCOMPLETE"),
        ((packs["main"], "--trust", auditor.files / "none"), 2, ""),
        ((auditor.files / "none.zip", "--trust", trust), 2, ""),
        ((), 2, ""),
        ((packs["main"], "--unknown"), 2, ""),
        ((packs["main"], "--trust", trust, "--consistency", trust), 2, ""),
    ):
        done = auditor.run(*arguments)
        assert done.returncode == status, (arguments, done)
        assert done.stdout.partition("\n")[0] == first
        assert bool(done.stderr) is (status == 2)


def test_what_it_tells_of_an_attack(auditor: Auditor) -> None:
    trust = auditor.keep("trust", world().trust.encode())
    run_id = world().runs["main"]
    path = f"events/run:{run_id}.jsonl"
    lines = unpack(world().packs["main"])[path].splitlines(keepends=True)
    forged = repack(world().packs["main"], {path: b"".join(lines[:4] + lines[5:])})
    pack = auditor.keep("pack.zip", forged)
    done = auditor.run(pack, "--trust", trust)
    assert done.stdout.splitlines()[:2] == ["INVALID", f"  CHAIN_GAP in {path}, line 5"]
    told = json.loads(auditor.run(pack, "--trust", trust, "--json").stdout)
    assert (told["verdict"], told["exit_status"]) == ("INVALID", 1)
    assert (told["error"]["code"], told["error"]["file"], told["error"]["line"]) == (
        *("CHAIN_GAP", path),
        5,
    )


def test_it_says_aloud_that_nobody_stands_behind_the_checkpoint(auditor: Auditor) -> None:
    trust = auditor.keep("trust", world().trust.encode())
    done = auditor.run(auditor.keep("pack.zip", world().packs["main"]), "--trust", trust)
    [line] = [li.split() for li in done.stdout.splitlines() if "witnesses" in li]
    assert line == ["witnesses:", "0"]


def test_a_second_future_is_told_by_the_checkpoint_that_was_kept(auditor: Auditor) -> None:
    f = forked()
    trust = auditor.keep("trust", f.past.trust.encode())
    seen = auditor.keep("seen", unpack(f.past.packs["first"])["log/checkpoint"])
    other = auditor.keep("other", unpack(f.theirs.packs["second"])["log/checkpoint"])
    proof = auditor.keep("proof", f.proofs[0])
    pack = auditor.keep("pack.zip", f.ours.packs["second"])
    given = (pack, "--trust", trust)
    assert auditor.run(*given, "--seen", seen, "--consistency", proof).returncode == 0
    assert auditor.run(*given, "--seen", seen).returncode == 4
    done = auditor.run(*given, "--seen", other)
    assert done.returncode == 1
    assert "INCONSISTENT in log/checkpoint" in done.stdout


def test_nothing_from_a_pack_steers_the_terminal(auditor: Auditor) -> None:
    trust = auditor.keep("trust", world().trust.encode())
    name = "\x1b[2J\x1b[1;1HVALID\n"
    pack = auditor.keep("pack.zip", repack(world().packs["main"], {name: b"x"}))
    done = auditor.run(pack, "--trust", trust)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "INVALID"
    assert "\x1b" not in done.stdout
    assert "VALID" not in done.stdout.splitlines()[2:]


def test_a_name_of_another_code_page_does_not_break_it(auditor: Auditor) -> None:
    trust = auditor.keep("trust", world().trust.encode())
    pack = auditor.keep("pack.zip", repack(world().packs["main"], {"été\ud7ff.txt": b"x"}))
    done = auditor.run(pack, "--trust", trust)
    assert (done.returncode, done.stdout.partition("\n")[0]) == (1, "INVALID")
