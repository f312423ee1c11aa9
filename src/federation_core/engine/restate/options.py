"""Where Restate is, where it finds us, and what it calls us by."""

import hashlib
import hmac

import msgspec

__all__ = ["HANDLER", "PATH", "Restate", "service_of", "token_of"]

HANDLER = "drive"

PATH = "/restate"
"""Where our own HTTP server answers Restate."""

_LABEL = b"federation-core: calls of the engine's endpoint (v1)"
"""No token of the API is signed over this: it is not base64url."""


class Restate(msgspec.Struct, frozen=True, kw_only=True):
    """`ingress` takes sends, `admin` takes the registration, and `endpoint` is the URL under which
    Restate calls the nodes; none ends with a slash. Every call of the endpoint carries `token`, and
    the signature of one of `identity_keys` where there are any. What another `version` of ours has
    registered is registered anew."""

    ingress: str
    admin: str
    endpoint: str
    token: str
    version: str = ""
    identity_keys: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes with whatever a registration says, and tells nobody the token."""
        said = f"{self.version}\n{self.endpoint}\n{self.token}"
        return hashlib.sha256(said.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Restate({self.ingress}, {self.admin}, {self.endpoint})"


def service_of(log: str) -> str:
    """The virtual object whose keys are the runs of this log: installations that share a Restate
    are not called for each other's."""
    return "Run-" + "".join(c for c in log.rpartition("/")[2] if c.isalnum())


def token_of(secret: str) -> str:
    """What Restate shows at every call; nodes with the same secret take the same."""
    return hmac.new(secret.encode(), _LABEL, hashlib.sha256).hexdigest()
