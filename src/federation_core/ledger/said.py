"""What a failure said, read from its payload as long as that is there (see `spine.failures`)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ..spine.failures import REPORTED, RUN_REPORTED, SENTENCES, message_of, type_of
from .append import Payload

__all__ = ["ERASED", "WITHHELD", "Errors", "reported", "run_said", "step_said"]

Errors = Mapping[str, Payload]
"""Payloads of errors by their hash; those that were erased are missing."""

ERASED = "what it said was erased"
WITHHELD = "withheld: the step is sensitive"


def step_said(error_type: str, error_hash: str | None, errors: Errors) -> tuple[str, str]:
    """The type and the message of a failed attempt, a client's in its own words."""
    if error_hash is None:
        return error_type, SENTENCES.get(error_type) or SENTENCES[REPORTED]
    payload = errors.get(error_hash)
    if error_type == REPORTED and payload is not None:
        error_type = type_of(msgspec.json.decode(payload.value)) or error_type
    return error_type, _said(error_hash, errors) or SENTENCES[REPORTED]


def run_said(
    reason: str | None, error_code: str | None, error_hash: str | None, errors: Errors
) -> str | None:
    """Why a run ended, in one line. A client's reason is its own word; the engine's says where it
    failed, and goes before what was said there."""
    if error_hash is None:
        return reason
    said = _said(error_hash, errors)
    if _is_clients(error_code):
        return reason or said
    return ": ".join(part for part in (reason, said) if part)


def reported(error_code: str | None, error_hash: str | None, errors: Errors) -> Any:
    """The error details that a client reported of a run, as they are; None where there are none."""
    payload = errors.get(error_hash or "")
    if payload is None or payload.salt is not None or not _is_clients(error_code):
        return None
    return msgspec.json.decode(payload.value)


def _is_clients(error_code: str | None) -> bool:
    return error_code in (None, RUN_REPORTED)


def _said(error_hash: str, errors: Errors) -> str | None:
    payload = errors.get(error_hash)
    if payload is None:
        return ERASED
    if payload.salt is not None:
        return WITHHELD
    return message_of(msgspec.json.decode(payload.value))
