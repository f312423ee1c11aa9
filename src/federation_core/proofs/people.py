"""Who takes part in the proof, each with a client of their own."""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import msgspec

from ..client import Client
from ..identity import Claims, Scope, issue_token

__all__ = [
    "APPROVER",
    "AUDITOR",
    "OPERATOR",
    "STRANGER",
    "People",
    "delegated",
    "observer_token",
    "own",
]

OPERATOR, APPROVER, STRANGER = "proof-operator", "proof-approver", "proof-stranger"
AUDITOR = "proof-auditor"
_DELEGATES = (OPERATOR, APPROVER, STRANGER)
_READ = (Scope.WORKFLOW_READ,)
_ANSWER = (Scope.WORKFLOW_READ, Scope.GATE_READ, Scope.GATE_WRITE)
_RUN = (*_ANSWER, Scope.WORKFLOW_WRITE)
_CHANGE = (*_READ, Scope.WORKFLOW_WRITE, Scope.POLICY_WRITE)
_VALID_S = 3600


class People(msgspec.Struct, frozen=True):
    """The operator starts runs and is one of the approvers that policy names, the approver is the
    other one, the stranger may answer gates but none that names somebody, the forger shows a token
    that the server never issued. The administrator brings workflow and policy; the auditor may only
    read."""

    administrator: Client
    operator: Client
    approver: Client
    stranger: Client
    forger: Client
    auditor: Client


@contextmanager
def own(url: str, secret: str) -> Iterator[People]:
    """Each with a token of their own, which `secret` signs, and no more scopes than they need."""

    def token(name: str, scopes: Sequence[str]) -> str:
        return issue_token(secret, _claims(name, scopes))

    tokens = [
        token("proof-administrator", _CHANGE),
        token(OPERATOR, _RUN),
        token(APPROVER, _ANSWER),
        token(STRANGER, _ANSWER),
        _forged(_claims(APPROVER, _ANSWER)),
        token(AUDITOR, _READ),
    ]
    with ExitStack() as stack:
        yield People(*(stack.enter_context(Client(url, token)) for token in tokens))


@contextmanager
def delegated(url: str, token: str, tenant: str | None) -> Iterator[People]:
    """One token speaks for all of them: it has the scope `actor:delegate`, or the server is a
    development one. The administrator is the token's own actor."""
    with ExitStack() as stack:
        several = [Client(url, token, actor=a, tenant=tenant) for a in (None, *_DELEGATES)]
        several.append(Client(url, _forged(_claims(APPROVER, _ANSWER)), tenant=tenant))
        several.append(Client(url, token, actor=AUDITOR, tenant=tenant))
        yield People(*map(stack.enter_context, several))


def observer_token(secret: str) -> str:
    """What the OBSERVE step shows to the registry: it may read, and nothing else."""
    return issue_token(secret, _claims("proof-observer", _READ))


def _claims(name: str, scopes: Sequence[str]) -> Claims:
    now = int(time.time())
    return Claims(
        server_id=name,
        scopes=tuple(map(str, scopes)),
        iat=now,
        exp=now + _VALID_S,
        jti=secrets.token_hex(8),
    )


def _forged(claims: Claims) -> str:
    return issue_token(secrets.token_hex(32), claims)
