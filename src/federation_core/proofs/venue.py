"""Where the proof is played: on a server of its own, or on one that is running already."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..errors import OperatorError
from .effects import EffectService
from .given import Given
from .hashing import sha256
from .people import People, delegated, own
from .server import OwnServer, own_server

__all__ = ["EFFECTS", "TENANT", "TOKEN", "Brought", "Venue", "require_token", "venue"]

TOKEN = "FEDCORE_TOKEN"  # noqa: S105 (a name)
TENANT = "FEDCORE_PROOF_TENANT"
EFFECTS = "FEDCORE_PROOF_EFFECTS"
"""Environment variables that say how to call a server that is running already: the token, the
tenant to use, and the address at which the effect service is to listen for it."""

_EFFECTS_AT = "127.0.0.1:9406"


class Brought(msgspec.Struct, frozen=True):
    """What the server says of what it was given: the hash of the workflow's definition, and who
    activated the policy when."""

    definition_hash: str = "unknown"
    activation: str = "not activated"


class Venue(msgspec.Struct, frozen=True):
    """`server` is None where it is somebody else's; `work` is a folder for what is passing."""

    url: str
    people: People
    effects: EffectService
    server: OwnServer | None
    version: str

    @property
    def registry(self) -> str:
        """What the OBSERVE step asks."""
        return f"{self.url}/workflows"

    def bring(self, given: Given) -> Brought:
        """Give the workflow and the policy to the server. Raises what the client raises, and
        `OperatorError` where the server has other ones than it was given."""
        administrator = self.people.administrator
        if self.server is None:
            administrator.activate_policy(given.files)
        active = [p for p in administrator.policies() if p["active"]]
        if [p["bundle_hash"] for p in active] != [given.policy[1]]:
            raise OperatorError("The server has another policy than the proof gave it.")
        hashes = administrator.register_workflow(given.workflow)["artifact_hashes"]
        if hashes["workflow.yaml"] != sha256(given.workflow.encode()):
            raise OperatorError("The server registered another workflow than the proof gave it.")
        by, at = active[0]["activated_by"], active[0]["activated_at"]
        return Brought(str(hashes["definition.json"]), f"activated by {by} at {at}")


def require_token(url: str | None, environ: Mapping[str, str]) -> None:
    """Raises `OperatorError` where `url` is to be called and there is no token for it."""
    if url is not None and not environ.get(TOKEN):
        raise OperatorError(
            f"To prove on {url} a token is needed; put one into {TOKEN}, with the scope "
            "actor:delegate unless that server is a development one.",
            code="no_token",
        )


@contextmanager
def venue(url: str | None, environ: Mapping[str, str], work: Path, given: Given) -> Iterator[Venue]:
    """The stage is set when the block is entered, and struck when it is left, however it is."""
    if url is None:
        with (
            _effects("127.0.0.1:0") as service,
            own_server(work, policy=given.folder / "policy", effects=service.address) as server,
            own(server.url, server.secret) as people,
        ):
            yield _venue(server.url, people, service, server)
        return
    url = url.rstrip("/")
    with (
        _effects(environ.get(EFFECTS, _EFFECTS_AT)) as service,
        delegated(url, environ[TOKEN], environ.get(TENANT)) as people,
    ):
        yield _venue(url, people, service, None)


def _venue(url: str, people: People, service: EffectService, server: OwnServer | None) -> Venue:
    version = str(people.administrator.health().get("version", "unknown"))
    return Venue(url, people, service, server, version)


def _effects(address: str) -> EffectService:
    host, _, port = address.rpartition(":")
    try:
        return EffectService(host, int(port))
    except (OSError, ValueError, OverflowError) as e:
        raise OperatorError(
            f"The effect service cannot listen at {address!r} ({e}); name a free host:port in "
            f"{EFFECTS}.",
            code="no_effects",
        ) from e
