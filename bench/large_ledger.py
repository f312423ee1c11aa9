"""What a large ledger costs: it is filled by real runs, and measured at its beginning and its end.

`python -m bench.large_ledger [EVENTS]` (`make bench-ledger`: a million) prints what it found as
JSON, and writes `results/large_ledger.json`:

- `appends`: events a second of the first and of the last tenth, and their ratio;
- `rss_mib`: what the process that filled it had in memory, after the first tenth and at the end;
- `proofs_ms`: inclusion and consistency proofs at the full size, p50 and p99;
- `start_s`: from the start of `fedcore serve` to its first answer, the best of three, for an empty
  ledger and for this one;
- `verify`: `fedcore ledger verify` of the whole, and `verify.py` on a pack of the last runs and on
  that of one run of ten thousand steps; events a second, the start of Python included;
- `bytes_an_event`: of the database file.
"""

import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from bench.federation_core_runs import WORKFLOW
from federation_core import CreateRunRequest, FederationCore, RegisterRequest
from federation_core.evidence import verify
from federation_core.ledger.tree import tree_size

RESULTS = Path(__file__).parent / "results" / "large_ledger.json"
IN_FLIGHT = 256
PROOFS = 1_000
LONG = """
workflow: long
version: 1.0.0
steps:
  - id: act
    type: ACT
    foreach: '${input.items}'
    concurrency: 200
    run: expression
    value: '${item}'
"""
ITEMS = 10_000
PACKED = 25_000
"""Events of the pack that is verified, about."""


class Filling:
    """Runs, until there are so many events."""

    def __init__(self, fc: FederationCore, events: int, say: Callable[[str], None]) -> None:
        self._fc, self._events, self._say = fc, events, say
        self._call = fc.call("bench", roles=["operator"])
        self.rates: list[float] = []
        self.rss: list[float] = []
        self.packed_since = ""

    async def fill(self) -> None:
        await self._fc.workflows.register(self._call, RegisterRequest(workflow_yaml=WORKFLOW))
        first = await self._size()
        await asyncio.gather(*(self._run(n) for n in range(10)))
        each = (await self._size() - first) / 10
        runs = iter(range(int((self._events - first) / each)))
        tenth = (self._events - first) // 10
        began, size, total = time.perf_counter(), await self._size(), 0.0

        async def worker() -> None:
            nonlocal began, size, total
            for n in runs:
                await self._run(n)
                total += each
                if total >= tenth * (len(self.rates) + 1):
                    self.rates.append(0.0)
                    now = await self._size()
                    self.rates[-1] = (now - size) / (time.perf_counter() - began)
                    self.rss.append(_rss())
                    self._say(f"{now:,} events, {self.rates[-1]:,.0f} a second")
                    began, size = time.perf_counter(), now
                if not self.packed_since and total > 10 * tenth - PACKED:
                    self.packed_since = datetime.now(UTC).isoformat().replace("+00:00", "Z")

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    async def long_run(self) -> str:
        """A run of ten thousand steps; returns its id."""
        await self._fc.workflows.register(self._call, RegisterRequest(workflow_yaml=LONG))
        request = CreateRunRequest(workflow_id="long", input_payload={"items": [*range(ITEMS)]})
        run_id = (await self._fc.runs.create(self._call, request)).run.run_id
        await self._fc.runs.wait(self._call, run_id, 300, newborn=True)
        return run_id

    async def _run(self, n: int) -> None:
        request = CreateRunRequest(workflow_id="bench", input_payload={"n": n})
        born = await self._fc.runs.create(self._call, request)
        await self._fc.runs.wait(self._call, born.run.run_id, 60, newborn=True)

    async def _size(self) -> int:
        return await self._fc._parts.ledger.read(tree_size)


def _rss() -> float:
    """MiB in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


async def _times(act: Callable[[], Awaitable[Any]], count: int) -> dict[str, float]:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await act()
        took.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(took, n=100)
    return {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}


async def _filled(folder: Path, events: int, say: Callable[[str], None]) -> dict[str, Any]:
    async with FederationCore.open(folder, shipped_policy="strict") as fc:
        filling = Filling(fc, events, say)
        await filling.fill()
        call = fc.call("bench", roles=["operator"])
        size = int((await fc.log.checkpoint(call)).split("\n")[1])
        draw = random.Random(1)
        proofs = {
            "inclusion": await _times(
                lambda: fc.log.inclusion(call, draw.randrange(size), size), PROOFS
            ),
            "consistency": await _times(
                lambda: fc.log.consistency(call, draw.randrange(1, size), size), PROOFS
            ),
        }
        many = await fc.evidence.pack_of_many(call, since=filling.packed_since)
        one = await fc.evidence.pack(call, await filling.long_run())
        for name, pack in (("many", many), ("one", one)):
            with pack.file as file:
                (folder / f"{name}.zip").write_bytes(file.read())
        (folder / "trust.txt").write_text(await fc.log.trust(call))
    return {
        "events": size,
        "appends": {
            "first_tenth_per_s": round(filling.rates[0]),
            "last_tenth_per_s": round(filling.rates[-1]),
            "ratio": round(filling.rates[-1] / filling.rates[0], 2),
        },
        "rss_mib": {"first_tenth": filling.rss[0], "end": filling.rss[-1]},
        "proofs_ms": proofs,
    }


def _started(folder: Path) -> float:
    """Seconds until a server on `folder` answers."""
    environ = {**os.environ, "FEDCORE_DATA_DIR": str(folder)}
    command = [sys.executable, "-m", "federation_core", "serve", "--port", "0"]
    began = time.perf_counter()
    server = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().partition("listens on ")[2].split()[0]
        httpx.get(f"{url}/health/ready", trust_env=False).raise_for_status()
        return round(time.perf_counter() - began, 2)
    finally:
        server.terminate()
        server.wait()


def _verified(command: list[str], read: Callable[[Any], int]) -> dict[str, float]:
    began = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - began
    events = read(json.loads(done.stdout))
    return {"events": events, "per_s": round(events / seconds)}


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as base:
        folder, empty = Path(base, "large"), Path(base, "empty")
        found = asyncio.run(_filled(folder, events, console.print))
        found["start_s"] = {
            "empty": min(_started(empty) for _ in range(3)),
            "large": min(_started(folder) for _ in range(3)),
        }
        whole = ["ledger", "verify", "--data-dir", str(folder), "--json"]
        trusting = ["--trust", str(folder / "trust.txt"), "--json"]
        alone = [sys.executable, "-I", verify.__file__]
        found["verify"] = {
            "ledger": _verified(
                [sys.executable, "-m", "federation_core", *whole], lambda told: told["events"]
            ),
            "pack_of_many": _verified(
                [*alone, str(folder / "many.zip"), *trusting], lambda told: told["events"]
            ),
            "pack_of_one": _verified(
                [*alone, str(folder / "one.zip"), *trusting], lambda told: told["events"]
            ),
        }
        size = (folder / "fedcore.db").stat().st_size
        found["bytes_an_event"] = round(size / found["verify"]["ledger"]["events"])
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    console.print_json(data=found)


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)  # as the server does
    main()
