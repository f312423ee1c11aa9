"""`python -m tests.evidence.corpus` writes what the verifier says to every case; read the
difference before it is committed, for it is what the tests then hold the verifier to."""

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.evidence.corpus.calls import said
from tests.evidence.corpus.verdicts import (
    EXPECTED,
    call_groups,
    life_groups,
    pack_groups,
    short,
    verdict_of,
)


def _write(told: dict[str, dict[str, Any]]) -> None:
    lines = []
    for group, cases in told.items():
        rows = [f"  {json.dumps(name)}: {json.dumps(said)}" for name, said in cases.items()]
        lines.append(f" {json.dumps(group)}: {{\n" + ",\n".join(rows) + "\n }")
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    told: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for group, cases in pack_groups().items():
            told[group] = {case.name: short(verdict_of(case, Path(folder))) for case in cases}
            assert len(told[group]) == len(cases), group
    for group, lives in life_groups().items():
        told[group] = {life.name: life.verdict() for life in lives}
        assert len(told[group]) == len(lives), group
    for group, calls in call_groups().items():
        told[group] = {name: said(call, arguments) for name, call, arguments in calls}
        assert len(told[group]) == len(calls), group
    _write(told)


main()
