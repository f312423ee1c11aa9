"""The table of faults in `docs/reliability.md`, from what was counted.

    python -m tests.faults.report

`results.json` is a list with one object for each campaign: `fault` (a key of `FAULTS`), `how` it
was made there, `test` (`file::name`, or the command of a program), `database`, `engine`, how many
`seeds` were played under load, how often the fault was `made`, and how many `runs` there were,
`events_lost` (acknowledged and then gone) and `effects_doubled` (outside, and not asked for).
"""

import sys
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["FAULTS", "PAGE", "RESULTS", "Campaign", "load", "placed", "table"]

_ROOT = Path(__file__).resolve().parents[2]
PAGE = _ROOT / "docs" / "reliability.md"
RESULTS = Path(__file__).parent / "results.json"

BEGIN: Final = "<!-- faults: begin -->"
END: Final = "<!-- faults: end -->"

FAULTS: Final = {
    "all": "all seeds together",
    "kill": "SIGKILL before and after each durable write",
    "failed-write": "a commit that fails, or that is reported failed and was done",
    "freeze": "a node frozen with SIGSTOP past its lease, then woken",
    "database-restart": "PostgreSQL restarted under load",
    "connections-cut": "every connection to the database cut",
    "network-cut": "the network between a node and the database cut",
    "disk-full": "no space left under the database",
    "serialization": "serialization failures and deadlocks of the database",
    "clock": "the clock stepped an hour forwards, and backwards",
    "two-drivers": "two nodes driving one run",
    "restate-node": "one Restate node of three killed",
    "restate-away": "Restate gone, and back with empty data",
}
"""Key → what it is, in the order of the page."""


class Campaign(msgspec.Struct):
    fault: str
    how: str
    test: str
    database: str
    engine: str
    seeds: int = 0
    made: int = 0
    runs: int = 0
    events_lost: int = 0
    effects_doubled: int = 0


def load(path: Path = RESULTS) -> list[Campaign]:
    """Raises `msgspec.MsgspecError` for a file of another form, `ValueError` for a fault that the
    page does not know."""
    found = msgspec.json.decode(path.read_bytes(), type=list[Campaign])
    for campaign in found:
        if campaign.fault not in FAULTS:
            raise ValueError(f"There is no fault {campaign.fault!r}; it is one of {[*FAULTS]}.")
    return found


def table(campaigns: list[Campaign]) -> str:
    """Markdown: a row for each campaign, and one for each fault that has none."""
    lines = [
        "| fault | how | test | on | seeds | made | runs | events lost | effects twice |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for fault, title in FAULTS.items():
        rows = [_row(title, c) for c in campaigns if c.fault == fault]
        lines += rows or [f"| {title} | | | | | | | no count here | |"]
    return "\n".join(lines)


def _row(title: str, c: Campaign) -> str:
    numbers = (c.seeds, c.made, c.runs, c.events_lost, c.effects_doubled)
    cells = (title, c.how, f"`{c.test}`", f"{c.database}, {c.engine}", *(f"{n:,}" for n in numbers))
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def placed(page: str, shown: str) -> str:
    """`page` with `shown` between its marks. Raises `ValueError` where it has not exactly two."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"The page needs one {BEGIN} and, after it, one {END}.")
    return f"{before}{BEGIN}\n{shown}\n{END}{after}"


def main() -> None:
    PAGE.write_text(placed(PAGE.read_text("utf-8"), table(load())), "utf-8")
    sys.stdout.write(f"{PAGE.relative_to(_ROOT)} has what {RESULTS.relative_to(_ROOT)} says.\n")


if __name__ == "__main__":
    main()
