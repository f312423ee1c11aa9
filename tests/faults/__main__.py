"""`make faults`, after its tests: what is counted goes to `results.json`.

The long form kills at every write of every chapter, and plays 200 seeds under load (`SEEDS`), the
first of them drawn and printed. `FORM=short` plays ten, one or more at each place; `SEED=n` plays
that one. These two write nothing.
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
    short = os.environ.get("FORM") == "short"
    count = int(os.environ.get("SEEDS", "10" if short else "200"))
    first = random.SystemRandom().randrange(1_000_000) if one is None else int(one)
    seeds = list(range(first, first + (count if one is None else 1)))
    say(f"seeds {seeds[0]} to {seeds[-1]}")
    if short or one is not None:
        return _told(under_load(seeds))
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
