"""Every error that leaves a public function, branched by who has to act.

`CallerError`: whoever asked must ask differently. `OperatorError`: whoever runs the system must
mend something; nothing happened. `IntegrityError`: what is stored is not what was written; stop.
Only `api` knows what status an error has over HTTP, only `cli` what exit status.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one part of a request: `path` as `/a/b/0`, `message` a sentence."""

    path: str
    message: str


class FederationError(Exception):
    """Base of all. `code` is stable, `detail` a sentence that says what was wrong and expected."""

    code: ClassVar[str] = "error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[FieldError] = (),
        **facts: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.error_code = code or self.code
        self.errors = tuple(errors)
        self.facts = facts


class CallerError(FederationError):
    """The caller has to change the request."""

    code = "bad_request"


class InvalidInput(CallerError):
    """The request does not validate; `errors` names each place."""

    code = "invalid_input"


class TooLarge(CallerError):
    """The body, or a value in it, is over its size limit."""

    code = "too_large"


class TooManyRequests(CallerError):
    """More requests than the server takes at once."""

    code = "too_many_requests"


class Unauthenticated(CallerError):
    """No token, or one that cannot be believed."""

    code = "unauthenticated"


class Forbidden(CallerError):
    """The actor may not do this: scope, approver, tenant or policy."""

    code = "forbidden"


class NotFound(CallerError):
    """No such thing for this tenant."""

    code = "not_found"


class Conflict(CallerError):
    """The state does not have this transition; nothing was changed."""

    code = "conflict"


class OperatorError(FederationError):
    """The operator has to mend something; nothing happened."""

    code = "operator"


class SettingsError(OperatorError):
    """A setting, a file or a bundle that cannot be used as it is."""

    code = "settings"


class LedgerUnavailable(OperatorError):
    """The ledger cannot be written or read now; nothing was written."""

    code = "ledger_unavailable"


class StaleAppend(FederationError):
    """The stream moved on since it was read: read it again. `facts`: stream, expected, actual."""

    code = "stale"


class IntegrityError(FederationError):
    """What is stored is not what was written. `facts` name the first place that is wrong."""

    code = "integrity"
