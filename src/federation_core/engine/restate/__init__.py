"""Restate as the engine: it says on which node a run is driven, and when. The ledger says whether.

Restate's own library is needed by the endpoint alone (`api/restate.py`); nothing here imports it.
"""

from .engine import Busy, RestateEngine
from .options import Restate

__all__ = ["Busy", "Restate", "RestateEngine"]
