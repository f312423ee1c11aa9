"""A thousand refunds, from the first run to the last check.

    python -m examples.refunds

Exit status 1 where anything is not as it must be.
"""

import argparse
import json
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from subprocess import CalledProcessError

import httpx
from rich.console import Console

from federation_core.errors import FederationError

from .batch import read_refunds
from .job import Job
from .servers import HERE, Servers, started
from .summary import Summary


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.refunds", description=__doc__)
    add = parser.add_argument
    add("--limit", type=int, metavar="N", help="only the first N requests")
    add("--in-flight", type=int, default=24, metavar="N", help="runs under way at a time (24)")
    add("--work", type=Path, default=HERE / "work", metavar="DIR", help="data and logs")
    add("--port", type=int, default=9405, help="of Federation Core (9405)")
    add("--service-port", type=int, default=9406, help="of the payment service (9406)")
    add("--url", help="a server that runs already; with --service and --data-dir")
    add("--service", metavar="URL", help="a payment service that runs already")
    add("--data-dir", type=Path, metavar="DIR", help="of the server that runs already")
    add("--json", action="store_true", help="the summary as JSON on standard output")
    return parser.parse_args()


def _servers(args: argparse.Namespace) -> AbstractContextManager[Servers]:
    if args.url is None:
        return started(args.work, args.port, args.service_port)
    return nullcontext(Servers(args.url, args.service, args.data_dir))


def _run(args: argparse.Namespace, console: Console) -> Summary:
    refunds = read_refunds(HERE / "refunds.csv", args.limit)
    with _servers(args) as servers:
        job = Job(servers, console, args.in_flight)
        began = time.monotonic()
        job.start(refunds)
        job.ask_people()
        runs = job.finish()
        console.print(f"\nAll of it took {time.monotonic() - began:.1f} s.", highlight=False)
        settlements = httpx.get(f"{servers.service_url}/settlements", trust_env=False).json()
    return Summary(refunds, runs, settlements)


def main() -> int:
    args = _arguments()
    console = Console(stderr=args.json)
    try:
        summary = _run(args, console)
    except KeyboardInterrupt:
        console.print("Stopped. Call it again, and it goes on from here.")
        os._exit(130)  # threads that wait for the servers would keep us
    except CalledProcessError as e:
        console.print(
            f"{e.cmd} failed: {e.stderr.strip()}", style="red", markup=False, soft_wrap=True
        )
        return 1
    except (FederationError, httpx.HTTPError, RuntimeError) as e:
        console.print(f"The job stopped: {e}", style="red", markup=False, soft_wrap=True)
        return 1
    console.print(summary.table())
    console.print(summary.verdict(), highlight=False, soft_wrap=True)
    if args.json:
        json.dump(summary.as_json(), sys.stdout, indent=2)
    return 1 if summary.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
