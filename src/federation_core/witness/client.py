"""What a log asks a witness with: C2SP tlog-witness over HTTP."""

import asyncio
from collections.abc import Sequence
from functools import cache
from ssl import SSLContext

import httpx

from ..transparency import NoteSignature, parse_note
from .errors import AnswerMalformed, StaleSize, WitnessError, WitnessRefused, WitnessUnreachable
from .protocol import (
    MAX_ANSWER_BYTES,
    PATH,
    SIZE_TYPE,
    AddCheckpoint,
    parse_cosignatures,
    parse_size,
)

__all__ = ["StaleSize", "WitnessError", "submit"]

_TIMEOUT_S = 10.0
_SAID = 200


async def submit(
    url: str,
    old_size: int,
    proof: Sequence[bytes],
    note: bytes,
    *,
    timeout_s: float = _TIMEOUT_S,
) -> tuple[NoteSignature, ...]:
    """The lines that the witness at `url` answers to this signed checkpoint. **Not yet verified**:
    the caller knows the witness's key, and looks for its line.

    `old_size` is what the witness cosigned last (0 where that is not known), `proof` the
    consistency proof from there, empty from 0 and where the size is the same. `timeout_s` is for
    the whole answer. Raises `StaleSize` where it cosigned another size last, and other
    `WitnessError`s: `WitnessRefused` (also where it saw another tree of this size),
    `WitnessUnreachable`, `AnswerMalformed`; `NoteMalformed` where `note` is no note.
    """
    body = AddCheckpoint(old_size, tuple(proof), parse_note(note)).encode()
    status, media_type, answer = await _post(url.rstrip("/") + PATH, body, timeout_s)
    if status == 200:
        return parse_cosignatures(answer)
    if status == 409 and media_type == SIZE_TYPE:
        size = parse_size(answer)
        if size != old_size:
            raise StaleSize(size)
    said = answer[:_SAID].decode(errors="replace").strip()
    if status >= 500:
        raise WitnessUnreachable(f"The witness at {url} answers {status}: {said}")
    raise WitnessRefused(status, f"The witness at {url} refuses with {status}: {said}")


async def _post(url: str, body: bytes, timeout_s: float) -> tuple[int, str, bytes]:
    """Status, media type without parameters, and body."""
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(timeout=timeout_s, trust_env=False, verify=_tls()) as http,
            http.stream("POST", url, content=body) as response,
        ):
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return response.status_code, media_type, await _read(response)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as e:
        why = str(e) or type(e).__name__
        raise WitnessUnreachable(f"The witness at {url} does not answer ({why}).") from e


async def _read(response: httpx.Response) -> bytes:
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > MAX_ANSWER_BYTES:
            raise AnswerMalformed(f"A witness's answer has at most {MAX_ANSWER_BYTES} bytes.")
    return bytes(data)


@cache
def _tls() -> SSLContext:
    """Made once: to read the certificates takes longer than to ask."""
    return httpx.create_ssl_context(trust_env=False)
