"""What a witness refuses a checkpoint for, and what a log can hear instead of a cosignature."""

from typing import ClassVar

from ..errors import (
    CallerError,
    Conflict,
    FederationError,
    Forbidden,
    IntegrityError,
    NotFound,
    OperatorError,
)

__all__ = [
    "AnswerMalformed",
    "ForkedLog",
    "InconsistentLog",
    "LogSignature",
    "MemoryUnavailable",
    "RequestMalformed",
    "StaleSize",
    "UnknownLog",
    "WitnessError",
    "WitnessRefused",
    "WitnessUnreachable",
]


class WitnessError(FederationError):
    """Base of all in this package."""

    code: ClassVar[str] = "witness"


class RequestMalformed(WitnessError, CallerError):
    """Not a request as C2SP tlog-witness writes it."""

    code = "malformed"


class UnknownLog(WitnessError, NotFound):
    """A log of this origin is not among those that the witness knows."""

    code = "unknown_log"


class LogSignature(WitnessError, Forbidden):
    """The checkpoint is not signed with a key of its log."""

    code = "log_signature"


class StaleSize(WitnessError, Conflict):
    """The witness last cosigned another size than the request goes out from: `size`."""

    code = "stale_size"

    def __init__(self, size: int) -> None:
        super().__init__(f"The last checkpoint that was cosigned here has the size {size}.")
        self.size = size


class ForkedLog(WitnessError, IntegrityError):
    """The log signed two trees of one size."""

    code = "forked"


class InconsistentLog(WitnessError, IntegrityError):
    """The proof does not show that the new tree begins with the old one."""

    code = "inconsistent"


class MemoryUnavailable(WitnessError, OperatorError):
    """What the witness cosigned cannot be read or written; so nothing was cosigned."""

    code = "witness_memory"


class WitnessUnreachable(WitnessError, OperatorError):
    """No answer of the witness in time, or one that says that it cannot work."""

    code = "witness_unreachable"


class WitnessRefused(WitnessError):
    """The witness does not cosign: `status` is that of HTTP, the detail what it said."""

    code = "witness_refused"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class AnswerMalformed(WitnessError, IntegrityError):
    """An answer that is none of the protocol, or not the cosignature of this witness."""

    code = "witness_answer"
