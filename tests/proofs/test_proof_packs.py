"""Forged packs are refused for what is wrong with them, by a verifier that runs on its own."""

import ast
from base64 import b64decode, b64encode
from pathlib import Path

import msgspec
import pytest

from federation_core.errors import OperatorError
from federation_core.evidence.verify import VerifierKey, parse_trust, verify_inclusion
from federation_core.proofs import pack_judging
from federation_core.proofs.forger import Forger, Tree
from federation_core.proofs.fresh import Fresh, Judgement, installed_verifier
from federation_core.proofs.pack_forging import PACK_FORGERIES, PackForgery, Scene
from federation_core.proofs.pack_judging import PackAttack, PackTrial, judge_packs
from federation_core.proofs.packing import packed, sealed, unpacked
from federation_core.proofs.transcript import Transcript

Honest = dict[str, Transcript]
FORGERY_IDS = [f"{f.test}: {f.what}" for f in PACK_FORGERIES]


@pytest.mark.parametrize("index", range(len(PACK_FORGERIES)), ids=FORGERY_IDS)
def test_each_forged_pack_gets_its_verdict(packs: PackTrial, index: int) -> None:
    forgery, attack = PACK_FORGERIES[index], packs.attacks[index]
    assert (attack.test, attack.what) == (forgery.test, forgery.what)
    assert attack.trouble is None
    assert attack.said == forgery.wanted
    assert attack.held


def test_what_must_be_attacked_is(packs: PackTrial) -> None:
    assert packs.held
    assert packs.failures == []
    codes = {a.wanted for a in packs.attacks}
    for code in (
        *("FILE_DIGEST", "CHAIN_BROKEN", "CHAIN_GAP", "CHAIN_FORK", "ROOT_MISMATCH", "ORIGIN"),
        *("BAD_SIGNATURE", "UNKNOWN_KEY", "RECEIPT_MISMATCH", "PAYLOAD_MISMATCH", "UNSAFE_PATH"),
        *("STEP_WITHOUT_ALLOW", "MISSING_APPROVAL", "ILLEGAL_TRANSITION", "INCONSISTENT"),
    ):
        assert ("INVALID", code) in codes
    assert {("UNTRUSTED", "NO_TRUST"), ("INCOMPLETE", "FILE_MISSING"), ("VALID", None)} <= codes


def test_the_true_packs_are_valid_and_nobody_else_stands_behind_them(honest: Honest) -> None:
    for t in honest.values():
        assert t.pack is not None
        assert t.pack.said is not None
        assert t.pack.said.command[1:4] == ["-I", "-S", "../verify.py"]
        assert "--seen" in t.pack.said.command
        assert t.pack.said.output.startswith("VALID\n")
        assert t.pack.said.output.endswith("witnesses:  0\n")
        assert t.pack.verdict is not None
        assert t.pack.verdict["witnesses"] == []


def test_nothing_is_installed_where_the_verifier_runs(packs: PackTrial, tmp_path: Path) -> None:
    assert "site-packages" not in packs.look.output
    assert packs.look.output.splitlines()[1] == "[]"
    here = msgspec.structs.replace(packs.look, output="federation_core: ModuleSpec")
    assert not msgspec.structs.replace(packs, look=here).held
    assert "not bare" in msgspec.structs.replace(packs, look=here).failures[0]
    Fresh(tmp_path, b"").judge([["x"]])
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        pytest.param({"verdict": "VALID", "error": None}, 0, id="accepted"),
        pytest.param({"verdict": "INVALID", "error": {"code": "QUORUM"}}, 1, id="another error"),
        pytest.param({"verdict": "INVALID", "error": {"code": "ORIGIN"}}, 0, id="another status"),
        pytest.param({}, None, id="no answer"),
    ],
)
def test_a_verifier_that_does_not_say_it_is_a_proof_that_failed(
    packs: PackTrial, verdict: dict[str, object], status: int | None
) -> None:
    attack = PackAttack("A", "something", ("INVALID", "ORIGIN"), status, verdict)
    assert not attack.held
    [failure] = msgspec.structs.replace(packs, attacks=[attack]).failures
    assert "pack A: something: the verifier says" in failure


def test_a_verifier_that_breaks_gives_no_verdict(tmp_path: Path) -> None:
    fresh = Fresh(tmp_path, b"def main(arguments):\n    raise KeyError(arguments[0])\n")
    assert fresh.judge([["x"], ["y"]]) == [Judgement(None, {})] * 2


def test_a_verifier_that_says_too_much_gives_no_verdict(tmp_path: Path) -> None:
    said = (
        b"import sys\ndef main(arguments):\n    sys.__stdout__.write('[0]\\n')\n    print('{}')\n"
    )
    assert Fresh(tmp_path, said).judge([["x"]]) == [Judgement(None, {})]


def test_a_forgery_that_cannot_be_made_is_told(
    honest: Honest, packs: PackTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impossible(scene: Scene, test: str) -> None:
        raise LookupError("nothing to forge")

    forgery = PackForgery("A", "something", ("INVALID", "ORIGIN"), impossible)  # type: ignore[arg-type]
    monkeypatch.setattr(pack_judging, "PACK_FORGERIES", (forgery,))
    trial, _ = judge_packs(packs.fetched, list(honest.values()), tmp_path)
    assert not trial.held
    assert "could not be made: LookupError: nothing to forge" in trial.failures[0]


def test_a_run_without_a_pack_is_no_proof(honest: Honest, packs: PackTrial, tmp_path: Path) -> None:
    without = msgspec.structs.replace(honest["A"], pack=None)
    with pytest.raises(OperatorError, match="no evidence pack of test A"):
        judge_packs(packs.fetched, [without], tmp_path)


def test_packing_what_was_unpacked_is_the_same(honest: Honest) -> None:
    pack = honest["A"].pack
    assert pack is not None
    assert unpacked(packed(pack.files)) == pack.files
    assert sealed(pack.files) == pack.files
    with pytest.raises(OperatorError, match="cannot be unpacked"):
        unpacked(b"PK no zip")


def test_the_installed_verifier_is_found() -> None:
    assert installed_verifier().startswith(b"#!/usr/bin/env python3\n")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 100])
def test_the_forgers_tree_is_one(size: int) -> None:
    leaves = {i: bytes([i]) * 32 for i in {0, size // 2, size - 1}}
    tree = Tree(leaves, size)
    for index, leaf in leaves.items():
        proof = [_bytes(node) for node in tree.path(index)]
        verify_inclusion(leaf, index, size, proof, tree.root)
    assert len(tree.root) == 32


def test_the_forgers_key_is_one() -> None:
    forger = Forger("some.example/log")
    [key] = parse_trust(forger.trust).logs
    assert isinstance(key, VerifierKey)
    assert (key.text, key.name) == (forger.key, "some.example/log")
    assert Forger("some.example/log").key != forger.key


def _bytes(text: str) -> bytes:
    data = b64decode(text)
    assert b64encode(data).decode() == text
    return data


def test_the_harness_imports_nothing_of_what_it_judges() -> None:
    """Neither the verifier nor what makes packs and ledgers; asking and naming people is all."""
    used = set()
    for path in Path(pack_judging.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                above = len(path.relative_to(_ROOT).parts) - node.level
                if node.level and above == 0 and node.module:
                    used.add(node.module.partition(".")[0])
    assert used == {"client", "errors", "identity"}


_ROOT = Path(pack_judging.__file__).parents[1]
