"""Whether a checkpoint may be cosigned. Pure: the request and what is remembered in, verdict out.

The order of the checks, and what each refusal is, are those of C2SP tlog-witness.
"""

from collections.abc import Mapping, Sequence

import msgspec

from ..transparency import (
    EMPTY_ROOT,
    Checkpoint,
    TransparencyError,
    VerifierKey,
    parse_checkpoint,
    verify_consistency,
    verify_note,
)
from ..transparency.errors import BadSignature
from .errors import (
    ForkedLog,
    InconsistentLog,
    LogSignature,
    RequestMalformed,
    StaleSize,
    UnknownLog,
)
from .protocol import AddCheckpoint

__all__ = ["NOTHING", "KnownLogs", "Seen", "authentic", "check_follows"]

KnownLogs = Mapping[str, Sequence[VerifierKey]]
"""Origin → the keys of that log, of which one has to have signed."""


class Seen(msgspec.Struct, frozen=True):
    """A tree that was cosigned: its size, and its root of 32 bytes."""

    size: int
    root: bytes


NOTHING = Seen(0, EMPTY_ROOT)
"""What is remembered of a log whose first checkpoint this is: every tree begins with it."""


def authentic(request: AddCheckpoint, logs: KnownLogs) -> Checkpoint:
    """The checkpoint of the request, which its log has signed.

    Raises `RequestMalformed`, `UnknownLog`, `LogSignature`.
    """
    try:
        checkpoint = parse_checkpoint(request.note.text)
    except TransparencyError as e:
        raise RequestMalformed(e.detail) from e
    keys = logs.get(checkpoint.origin)
    if not keys:
        raise UnknownLog(f"The log {checkpoint.origin[:80]!r} is not known to this witness.")
    try:
        signed = verify_note(request.note, keys)
    except BadSignature as e:
        raise LogSignature(e.detail) from e
    except TransparencyError as e:
        raise RequestMalformed(e.detail) from e
    if not signed:
        raise LogSignature(f"The checkpoint is not signed with a known key of {keys[0].name}.")
    if request.old_size > checkpoint.size:
        raise RequestMalformed(
            f"The old size, {request.old_size}, is above the checkpoint's, {checkpoint.size}."
        )
    return checkpoint


def check_follows(request: AddCheckpoint, checkpoint: Checkpoint, seen: Seen) -> None:
    """Return where the tree of `checkpoint` begins with the tree that was `seen`.

    Raises `StaleSize` where the request goes out from another size, `ForkedLog` for another
    tree of the same size, `InconsistentLog` where the proof does not hold.
    """
    if request.old_size != seen.size:
        raise StaleSize(seen.size)
    if checkpoint.size == seen.size and checkpoint.root != seen.root:
        raise ForkedLog(
            f"At size {seen.size} the log had the root {seen.root.hex()}, and now signs "
            f"{checkpoint.root.hex()}."
        )
    if seen.size == 0:
        if request.proof:
            raise InconsistentLog("From the empty tree there is no proof; its lines must be none.")
        return
    try:
        verify_consistency(seen.size, checkpoint.size, request.proof, seen.root, checkpoint.root)
    except TransparencyError as e:
        raise InconsistentLog(e.detail) from e
