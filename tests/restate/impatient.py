"""`python -m tests.restate.impatient DATA_DIR [name=value …]`: a server that holds no call of
Restate's for longer than a moment, so that every step outlasts it."""

import sys

from tests import api_helpers

from federation_core.api import restate

if __name__ == "__main__":
    restate._HOLD_S = 0.05
    api_helpers._main(*sys.argv[1:])
