"""The bytes of C2SP tlog-witness. Asked is, with POST /add-checkpoint,

    old 20852014
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
    jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=

    example.com/behind-the-sofa
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/…

the size that the witness cosigned last, the proof from there, an empty line, and the log's signed
checkpoint. Answered are signature lines (200), or the size that the witness did cosign last (409).
"""

from collections.abc import Iterable

import msgspec

from ..transparency import HASH_SIZE, Note, NoteSignature, TransparencyError, parse_note
from ..transparency.encoding import from_base64, from_decimal, to_base64
from .errors import AnswerMalformed, RequestMalformed

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_PROOF",
    "MAX_REQUEST_BYTES",
    "PATH",
    "SIZE_TYPE",
    "AddCheckpoint",
    "encode_cosignatures",
    "encode_size",
    "parse_cosignatures",
    "parse_request",
    "parse_size",
]

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
MAX_PROOF = 63
MAX_REQUEST_BYTES = 256 * 1024
"""A checkpoint must be taken with 16 signatures at least, and those to come have 5 KB each."""
MAX_ANSWER_BYTES = 64 * 1024


class AddCheckpoint(msgspec.Struct, frozen=True):
    """A request: the size cosigned last (0 for never), the consistency proof from there to the
    checkpoint (32 bytes each), and the checkpoint as the log signed it."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """The body that `parse_request` reads back. Raises what `Note.encode` raises."""
        lines = [f"old {self.old_size}", *map(to_base64, self.proof)]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.note.encode()


def parse_request(data: bytes) -> AddCheckpoint:
    """The request of this body, of which nothing is verified. Raises `RequestMalformed`."""
    if len(data) > MAX_REQUEST_BYTES:
        raise RequestMalformed(
            f"The request has {len(data)} bytes; at most {MAX_REQUEST_BYTES} may be."
        )
    head, blank, note = data.partition(b"\n\n")
    if not blank:
        raise RequestMalformed("A request is old <size>, a proof, an empty line, a checkpoint.")
    old, *proof = head.decode("latin-1").split("\n")
    if len(proof) > MAX_PROOF:
        raise RequestMalformed(f"A proof has {len(proof)} hashes; at most {MAX_PROOF} may be.")
    try:
        signed = parse_note(note)
    except TransparencyError as e:
        raise RequestMalformed(e.detail) from e
    return AddCheckpoint(_old_size(old), tuple(map(_hash, proof)), signed)


def encode_cosignatures(signatures: Iterable[NoteSignature]) -> bytes:
    """The answer to a request that was granted: a line each."""
    return "".join(f"{signature.line}\n" for signature in signatures).encode()


def parse_cosignatures(data: bytes) -> tuple[NoteSignature, ...]:
    """The lines of such an answer, at least one, not yet verified. Raises `AnswerMalformed`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        raise AnswerMalformed("The witness's answer is not UTF-8.") from e
    if not text.endswith("\n"):
        raise AnswerMalformed("The witness's answer must be signature lines, each with a newline.")
    try:
        return tuple(NoteSignature.parse(line) for line in text[:-1].split("\n"))
    except TransparencyError as e:
        raise AnswerMalformed(f"The witness's answer: {e.detail}") from e


def encode_size(size: int) -> bytes:
    """The answer to a request that goes out from another size than this one, cosigned last."""
    return b"%d\n" % size


def parse_size(data: bytes) -> int:
    """The size in such an answer. Raises `AnswerMalformed`."""
    text = data.decode("latin-1")
    size = from_decimal(text.removesuffix("\n"))
    if size is None or not text.endswith("\n"):
        raise AnswerMalformed("The witness's answer must be the size that it cosigned last.")
    return size


def _old_size(line: str) -> int:
    size = from_decimal(line.removeprefix("old "))
    if size is None or not line.startswith("old "):
        raise RequestMalformed("A request begins with old <size>: decimal, without leading zeros.")
    return size


def _hash(line: str) -> bytes:
    value = from_base64(line)
    if value is None or len(value) != HASH_SIZE:
        raise RequestMalformed(f"A line of the proof is {HASH_SIZE} bytes in base64.")
    return value
