"""The workflow through Federation Core, in-process: policy, chain and receipts on, every commit
flushed to the disk. Prints its results as one JSON list."""

import asyncio
import json
import sys
import tempfile

from bench.workload import IN_FLIGHT, measure
from federation_core import CreateRunRequest, FederationCore, RegisterRequest

WORKFLOW = """
workflow: bench
version: 1.0.0
input: {type: object, required: [n], properties: {n: {type: integer}}}
steps:
  - {id: observe, type: OBSERVE, run: expression, value: '${ {"n": input.n} }'}
  - {id: decide, type: DECIDE, run: expression, value: '${ {"n": steps.observe.output.n + 1} }'}
  - {id: gate, type: GATE}
  - {id: act, type: ACT, run: expression, value: '${ {"n": steps.decide.output.n + 1} }'}
  - {id: transform, type: TRANSFORM, run: expression, value: '${ {"n": steps.act.output.n + 1} }'}
output: '${steps.transform.output}'
"""
RUNS = {1: 150, 16: 600, 256: 1_500}


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with FederationCore.open(folder, shipped_policy="strict") as fc:
            call = fc.call("bench", roles=["operator"])
            await fc.workflows.register(call, RegisterRequest(workflow_yaml=WORKFLOW))

            async def run_once(n: int) -> None:
                request = CreateRunRequest(workflow_id="bench", input_payload={"n": n})
                born = await fc.runs.create(call, request)
                await fc.runs.wait(call, born.run.run_id, 60, newborn=True)

            results = [
                await measure("federation-core", run_once, in_flight=n, runs=RUNS[n])
                for n in IN_FLIGHT
            ]
            page = await fc.runs.page(call, status="completed", limit=10)
            if len(page) < 10 or page[0].output_payload["n"] < 0:
                sys.exit("The runs did not complete; the figures would mean nothing.")
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)  # as the server does
    asyncio.run(main())
