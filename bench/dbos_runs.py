"""The workflow through DBOS on SQLite: five steps, each checkpointed in a transaction of its own;
no policy, no chain, no receipts. Prints its results as one JSON list."""

import asyncio
import json
import sys
import tempfile

from dbos import DBOS, DBOSConfig

from bench.workload import IN_FLIGHT, measure

RUNS = {1: 60, 16: 120, 256: 300}


@DBOS.step()
async def observe(n: int) -> dict[str, int]:
    return {"n": n}


@DBOS.step()
async def decide(seen: dict[str, int]) -> dict[str, int]:
    return {"n": seen["n"] + 1}


@DBOS.step()
async def gate(_decided: dict[str, int]) -> dict[str, bool]:
    return {"approved": True}


@DBOS.step()
async def act(decided: dict[str, int]) -> dict[str, int]:
    return {"n": decided["n"] + 1}


@DBOS.step()
async def transform(acted: dict[str, int]) -> dict[str, int]:
    return {"n": acted["n"] + 1}


@DBOS.workflow()
async def workflow(n: int) -> dict[str, int]:
    decided = await decide(await observe(n))
    await gate(decided)
    return await transform(await act(decided))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config: DBOSConfig = {
            "name": "bench",
            "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
            "log_level": "ERROR",
        }
        DBOS(config=config)
        DBOS.launch()

        async def run_once(n: int) -> None:
            handle = await DBOS.start_workflow_async(workflow, n)
            result = await handle.get_result()
            if result != {"n": n + 3}:
                sys.exit("The peer's workflow went wrong; the figures would mean nothing.")

        results = [
            await measure("dbos-sqlite", run_once, in_flight=n, runs=RUNS[n]) for n in IN_FLIGHT
        ]
        DBOS.destroy()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
