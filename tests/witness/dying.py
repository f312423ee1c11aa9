"""A witness that is killed in the middle of a swap: `python -m tests.witness.dying <folder> <when>
<old size> <new size>`, `before` or `after` its memory is written."""

import os
import signal
import sys
from pathlib import Path

from tests.witness.witness_helpers import LOG

from federation_core.witness import Home, Seen, Store, Witness, open_home


class Dying(Store):
    """Ends the process beside its one swap."""

    when = ""

    def swap(self, origin: str, old: Seen | None, new: Seen) -> bool:
        if self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().swap(origin, old, new)
        os.kill(os.getpid(), signal.SIGKILL)
        return True


def main(folder: str, when: str, old: str, new: str) -> None:
    home = open_home(Path(folder))
    store = Dying(Path(folder) / "witness.db")
    store.when = when
    witness = Witness(Home(home.verifier, home.key, store), [LOG.verifier])
    print(witness.add_checkpoint(LOG.request(int(old), int(new))))  # noqa: T201 (never comes here)


if __name__ == "__main__":
    main(*sys.argv[1:])
