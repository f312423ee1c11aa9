"""`make faults`: the long form, whose counts go to `results.json`.

`SEEDS` says how many seeds are played under load (200), the first of them drawn and printed;
`SEED=n` plays that one alone, and writes nothing.
"""

import os
import random
import sys

import msgspec
from tests.faults.campaign import Tally, each_write, say, under_load
from tests.faults.report import RESULTS


def main() -> int:
    """The exit status: 0 where nothing was lost, doubled, wrong or stuck."""
    one = os.environ.get("SEED")
    if one is not None:
        return _told(under_load([int(one)]))
    first = random.SystemRandom().randrange(1_000_000)
    seeds = list(range(first, first + int(os.environ.get("SEEDS", "200"))))
    say(f"seeds {seeds[0]} to {seeds[-1]}")
    tallies = [*each_write(), *under_load(seeds)]
    rows = [msgspec.to_builtins(tally.campaign) for tally in tallies]
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(rows)) + b"\n")
    return _told(tallies)


def _told(tallies: list[Tally]) -> int:
    for tally in tallies:
        say(msgspec.json.encode(tally.campaign).decode())
        for error in tally.errors:
            say(f"WRONG {error}")
    return any(tally.errors for tally in tallies)


if __name__ == "__main__":
    sys.exit(main())
