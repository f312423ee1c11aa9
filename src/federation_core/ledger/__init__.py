"""The append-only store: group commit, hash chain, projections, migrations."""

from .append import Answer, Append, Erasure, Payload
from .ledger import Ledger

__all__ = ["Answer", "Append", "Erasure", "Ledger", "Payload"]
