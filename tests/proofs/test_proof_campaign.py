"""The whole campaign against a real server, and campaigns that must not hold."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from federation_core.errors import OperatorError
from federation_core.evidence.verify import verify_pack
from federation_core.identity import ALL_SCOPES, Claims, issue_token
from federation_core.proofs import prove
from federation_core.proofs.effects import EffectService
from federation_core.proofs.given import MATERIAL
from federation_core.proofs.pack_forging import PACK_FORGERIES
from federation_core.proofs.server import OwnServer, own_server

NAME = "PT-004_workflow_orchestration"
REPORT = f"{NAME}_PROOF_REPORT.md"


class Proof:
    """A campaign that was run: its exit status, what it said, what it left."""

    def __init__(self, out: Path, url: str | None = None, **more: object) -> None:
        said = io.StringIO()
        console = Console(file=said, width=200)
        facts = {"commit": False, "tag": None, "console": console, **more}
        self.status = prove(out, url, **facts)  # type: ignore[arg-type]
        self.said = said.getvalue()
        self.folder = out / NAME
        self.report = (out / REPORT).read_text("utf-8")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "prover")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "prover@example.invalid")
    git(tmp_path, "init", "--quiet")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_it_proves_on_a_server_of_its_own(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDCORE_POLICY_DIR", "/nowhere")  # what the prover has set is not its own
    out = repository / "REPORT" / "PROOFS"
    (out / NAME).mkdir(parents=True)
    (out / NAME / "of_an_earlier_campaign.txt").write_text("old")
    proof = Proof(out, commit=True, tag="proof-1")
    assert proof.status == 0, proof.said
    assert "PROVED in" in proof.said
    assert str(out / REPORT) in proof.said
    for line in (
        "PENDING → RUNNING → COMPLETED",
        "PENDING → RUNNING → PAUSED → RUNNING → COMPLETED",
        "PENDING → RUNNING → FAILED",
    ):
        assert line in proof.said
        assert line in proof.report
    assert "**Verdict: PROVED.**" in proof.report
    _receipts_hold(proof.folder)
    _events_hold(proof.folder)
    _packs_hold(proof)
    assert "3 of 3 evidence packs VALID, witnesses: 0; 26 of 26 forged ones refused" in proof.said
    _committed(repository, out)
    _server_is_gone(proof.report)


def _receipts_hold(folder: Path) -> None:
    """As `sha256sum -c` would find."""
    counts = {}
    for sums in sorted(folder.glob("receipts/*/SHA256SUMS")):
        lines = sums.read_text().splitlines()
        for line in lines:
            told, name = line.split("  ")
            assert hashlib.sha256((sums.parent / name).read_bytes()).hexdigest() == told
        counts[sums.parent.name] = len(lines)
    assert counts == {"happy_path": 6, "policy_flag": 7, "policy_deny": 4}


def _events_hold(folder: Path) -> None:
    for name in ("happy_path", "policy_flag", "policy_deny"):
        bodies = (folder / "logs" / f"{name}.events.jsonl").read_bytes().splitlines()
        trail = (folder / "logs" / f"{name}.jsonl").read_text("utf-8").splitlines()
        hashes = [hashlib.sha256(b"\0" + body).hexdigest() for body in bodies]
        assert hashes == [json.loads(line)["hash"] for line in trail]
        assert "VERDICT: PROVED" in (folder / f"{name}.txt").read_text("utf-8")
    effects = (folder / "logs" / "effects.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["body"]["change"] for line in effects] == ["PT-004 A", "PT-004 B"]
    assert "listens on" in (folder / "logs" / "server.log").read_text("utf-8")


def _packs_hold(proof: Proof) -> None:
    """As an auditor would find who has the folder and nothing else."""
    trust = (proof.folder / "trust.txt").read_text("utf-8")
    seen = (proof.folder / "seen.checkpoint").read_bytes()
    for name in ("happy_path", "policy_flag", "policy_deny"):
        path, between = (proof.folder / f"{name}.{end}" for end in _KEPT)
        consistency = between.read_bytes() if between.exists() else None
        verdict = verify_pack(path, trust, seen=seen, consistency=consistency)
        assert (verdict.verdict, verdict.witnesses) == ("VALID", ())
        with zipfile.ZipFile(path) as file:
            digest = hashlib.sha256(file.read("manifest.json")).hexdigest()
        assert f"`{digest}` | {verdict.checkpoint['size']} events" in proof.report  # type: ignore[index]
        assert f"../verify.py ../{name}.evidence.zip --trust ../trust.txt --run" in proof.report
    told = (proof.folder / "forged_packs.jsonl").read_text("utf-8").splitlines()
    assert len(told) == len(PACK_FORGERIES)
    assert "**witnesses: 0.** Nobody but the server's key" in proof.report
    assert "**WRONG**" not in proof.report


_KEPT = ("evidence.zip", "consistency.json")


def _committed(repository: Path, out: Path) -> None:
    assert git(repository, "status", "--porcelain") == ""
    names = git(repository, "show", "--format=", "--name-only", "proof-1").splitlines()
    assert f"REPORT/PROOFS/{REPORT}" in names
    assert not (out / NAME / "of_an_earlier_campaign.txt").exists()


def _server_is_gone(report: str) -> None:
    url = report.partition("| server | ")[2].partition(",")[0]
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/health", trust_env=False)


def sabotaged(tmp_path: Path, *changes: tuple[str, str, str]) -> Path:
    """The proof's material, where in these files of the policy what a pattern finds is replaced."""
    folder = tmp_path / "material"
    shutil.copytree(MATERIAL, folder)
    for name, pattern, new in changes:
        path = folder / "policy" / name
        text, count = re.subn(pattern, new, path.read_text("utf-8"), flags=re.DOTALL)
        assert count == 1
        path.write_text(text, "utf-8")
    return folder


def test_a_policy_that_lets_too_much_through_is_found_out(tmp_path: Path) -> None:
    """Without its deny, what must not happen is seen outside; in loose mode the run's starter
    approves their own run."""
    material = sabotaged(
        tmp_path,
        ("rollout.cedar", r'@id\("pt004.act.unacceptable-risk"\).*?\};', ""),
        ("bundle.yaml", "mode: strict", "mode: loose"),
    )
    proof = Proof(tmp_path / "out", material=material)
    assert proof.status == 1
    assert "NOT PROVED in" in proof.said
    assert "**Verdict: NOT PROVED.**" in proof.report
    for failure in (
        "C statuses-seen: the harness saw pending → running → completed",
        "C decisions: policy answered deny about nothing, expected act",
        "C effect: the effect service took 1 requests, expected 0",
        "B attacks: approval by a named approver who started the run: answered 200 accepted",
        "B people-first: proof-operator approved gate",
    ):
        assert failure in proof.said or failure in proof.report
    verdicts = {p.stem: p.read_text("utf-8").splitlines()[-1] for p in proof.folder.glob("*_*.txt")}
    assert verdicts == {
        "happy_path": "VERDICT: PROVED",
        "policy_flag": "VERDICT: NOT PROVED",
        "policy_deny": "VERDICT: NOT PROVED",
    }


def test_a_policy_that_cannot_be_loaded_is_a_proof_that_failed(repository: Path) -> None:
    broken = sabotaged(repository, ("bundle.yaml", "version: 1.0.0", "version: [1.0.0]"))
    proof = Proof(repository / "out", material=broken, commit=True)
    assert proof.status == 1
    assert "did not start" in proof.said
    assert "did not start" in proof.report
    assert "Not committed" in proof.said
    assert (proof.folder / "logs" / "server.log").read_text("utf-8").strip()


@contextmanager
def _running(tmp_path: Path) -> Iterator[tuple[OwnServer, dict[str, str]]]:
    """A production server that somebody else started, and what its prover has to be told."""
    with EffectService() as probe:
        effects = probe.address
    folder = tmp_path / "somebody"
    folder.mkdir()
    with own_server(folder, policy=MATERIAL / "policy", effects=effects) as server:
        now = int(time.time())
        claims = Claims(
            server_id="console",
            scopes=tuple(sorted(ALL_SCOPES)),
            iat=now,
            exp=now + 600,
            jti="1",
        )
        token = issue_token(server.secret, claims)
        yield server, {"FEDCORE_TOKEN": token, "FEDCORE_PROOF_EFFECTS": effects}


def test_it_proves_on_a_server_that_is_running_already(tmp_path: Path) -> None:
    with _running(tmp_path) as (server, environ):
        proof = Proof(tmp_path / "out", f"{server.url}/", environ=environ)
        assert proof.status == 0, proof.said
        again = Proof(tmp_path / "out", server.url, environ=environ)
        assert again.status == 0, again.said
        assert httpx.get(f"{server.url}/health", trust_env=False).is_success
    assert "was skipped" not in proof.report
    assert "proof-operator via console" in proof.report
    _packs_hold(again)
    assert "cannot read the file" in proof.report
    assert not (proof.folder / "logs" / "server.log").exists()


def test_where_nobody_answers_the_proof_fails(tmp_path: Path) -> None:
    environ = {"FEDCORE_TOKEN": "t", "FEDCORE_PROOF_EFFECTS": "127.0.0.1:0"}
    proof = Proof(tmp_path, "http://127.0.0.1:1", environ=environ)
    assert proof.status == 1
    assert "No server answers at http://127.0.0.1:1" in proof.report


def test_what_makes_it_pointless_to_begin_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="lies in no git repository"):
        prove(tmp_path / "out", None, True, None)
    with pytest.raises(OperatorError, match="FEDCORE_TOKEN"):
        prove(tmp_path / "out", "http://127.0.0.1:1", False, None, environ={})
    with pytest.raises(OperatorError, match="cannot be read"):
        prove(tmp_path / "out", None, False, None, material=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environ = {"FEDCORE_TOKEN": "t", "FEDCORE_PROOF_EFFECTS": "127.0.0.1:0"}
    with pytest.raises(OperatorError, match="cannot be written"):
        prove(tmp_path / "file", "http://127.0.0.1:1", False, None, environ=environ)
