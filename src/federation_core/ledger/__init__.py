"""The append-only store: group commit, hash chain, projections, migrations."""

from .append import Answer, Append, Payload
from .ledger import Ledger

__all__ = ["Answer", "Append", "Ledger", "Payload"]
