"""`python -m bench`: both systems, one after the other, a table, and `results/latest.json`."""

import importlib.metadata
import json
import os
import platform
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.workload import IN_FLIGHT

RESULTS = Path(__file__).parent / "results" / "latest.json"
SYSTEMS = ("federation_core_runs", "dbos_runs")


def run(module: str) -> list[dict[str, Any]]:
    """Results of one system, measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{module}"],
        check=True,
        stdout=subprocess.PIPE,
        timeout=600,
    )
    results: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return results


def machine() -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("federation-core", "dbos")}
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "versions": versions,
    }


def main() -> None:
    console = Console()
    results: list[dict[str, Any]] = []
    for module in SYSTEMS:
        with console.status(f"measuring {module} …"):
            results += run(module)
    own, peer = (
        {r["in_flight"]: r for r in results if r["system"] == name}
        for name in ("federation-core", "dbos-sqlite")
    )
    ratios = {
        f"steps_per_s_at_{n}": round(own[n]["steps_per_s"] / peer[n]["steps_per_s"], 2)
        for n in IN_FLIGHT
    }
    table = Table(title="The same five-step workflow, in one run on one machine")
    for column in ("system", "in flight", "steps/s", "ms a step, p50", "p99", "ratio"):
        table.add_column(column, justify="left" if column == "system" else "right")
    for result in results:
        n = result["in_flight"]
        ratio = f"{ratios[f'steps_per_s_at_{n}']:.1f} x" if result in own.values() else ""
        table.add_row(
            result["system"],
            str(n),
            f"{result['steps_per_s']:,.0f}",
            f"{result['p50_ms']:.2f}",
            f"{result['p99_ms']:.2f}",
            ratio,
        )
    console.print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    document = {"machine": machine(), "results": results, "ratios": ratios}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
