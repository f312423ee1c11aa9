"""The witness: a process of its own that cosigns the checkpoints of logs, and trusts none of them.

A log could show one history to one reader and another to the next, or write it anew. A witness
remembers, of each log that it knows, the last checkpoint that it cosigned, and cosigns another
one only where the log proves that it merely added to that. Whoever demands the cosignatures of a
few witnesses sees the history that all of them saw. The protocol is C2SP tlog-witness.

`protocol` is the bytes, `decision` the rules, `store` the memory, `home` the directory with the
memory and the key, `witness` all of that together, `server` the same over HTTP, and `client` what
a log asks it with.
"""

from .client import submit
from .decision import Seen
from .errors import (
    AnswerMalformed,
    ForkedLog,
    InconsistentLog,
    LogSignature,
    MemoryUnavailable,
    RequestMalformed,
    StaleSize,
    UnknownLog,
    WitnessError,
    WitnessRefused,
    WitnessUnreachable,
)
from .home import Home, open_home
from .protocol import AddCheckpoint
from .server import WitnessApp
from .store import Store
from .witness import Witness, read_logs

__all__ = [
    "AddCheckpoint",
    "AnswerMalformed",
    "ForkedLog",
    "Home",
    "InconsistentLog",
    "LogSignature",
    "MemoryUnavailable",
    "RequestMalformed",
    "Seen",
    "StaleSize",
    "Store",
    "UnknownLog",
    "Witness",
    "WitnessApp",
    "WitnessError",
    "WitnessRefused",
    "WitnessUnreachable",
    "open_home",
    "read_logs",
    "submit",
]
