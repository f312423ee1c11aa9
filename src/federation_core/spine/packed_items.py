"""Completed items of a fan-out in 200 bytes each, so that 100,000 of them are no burden."""

import struct
from collections.abc import Iterator

import msgspec

from .events import PolicyEvaluated
from .items import Fan, item_id
from .steps import Completed, Permit, Step

__all__ = ["PackedItems"]

_RECORD = struct.Struct("<IIqqqq32s32s32s32s32s")
_NOTHING = bytes(_RECORD.size)


class PackedItems:
    """Index → `Step`, which comes out equal to what was put in. What policy said is the same of
    many, and kept once."""

    __slots__ = ("_count", "_fan", "_known", "_records", "_said", "_step_type")

    def __init__(self, fan: Fan, step_type: str) -> None:
        self._fan = fan
        self._step_type = step_type
        self._records = bytearray()
        self._said: list[PolicyEvaluated] = []
        self._known: dict[PolicyEvaluated, int] = {}
        self._count = 0

    def put(self, index: int, step: Step) -> bool:
        """Whether it was packed: what is no completed item of this fan-out, or would not come out
        as it went in (a hash that is none, say), has to be kept whole."""
        record = self._pack(step)
        if record is None or index >= self._fan.items or self._unpack(index, record) != step:
            return False
        begin = index * _RECORD.size
        if len(self._records) < begin:
            self._records += bytes(begin - len(self._records))
        self._count += self.get(index) is None
        self._records[begin : begin + _RECORD.size] = record
        return True

    def get(self, index: int) -> Step | None:
        begin = index * _RECORD.size
        record = bytes(self._records[begin : begin + _RECORD.size])
        return None if record in (b"", _NOTHING) else self._unpack(index, record)

    def _pack(self, step: Step) -> bytes | None:
        state, said = step.state, step.decision
        if not isinstance(state, Completed) or said is None:
            return None
        permit = state.permit
        hashes = (permit.input_hash, permit.decision_hash, state.output_hash, state.receipt_hash)
        try:
            return _RECORD.pack(
                permit.attempt,
                self._shared(said),
                state.started_at,
                state.ended_at,
                step.decided_at,
                said.duration_us,
                *map(bytes.fromhex, (*hashes, said.request_hash)),
            )
        except (ValueError, struct.error):
            return None

    def _shared(self, said: PolicyEvaluated) -> int:
        shared = msgspec.structs.replace(
            said, step_id=None, attempt=None, subject_hash=None, request_hash="", duration_us=0
        )
        known = self._known.get(shared)
        if known is None:
            known = self._known[shared] = len(self._said)
            self._said.append(shared)
        return known

    def _unpack(self, index: int, record: bytes) -> Step:
        attempt, said, started_at, ended_at, decided_at, took, *raw = _RECORD.unpack(record)
        subject, decision, output, receipt, request = (digest.hex() for digest in raw)
        step_id = item_id(self._fan.step_id, index)
        permit = Permit(step_id, attempt, subject, decision)
        told = msgspec.structs.replace(
            self._said[said],
            step_id=step_id,
            attempt=attempt,
            subject_hash=subject,
            request_hash=request,
            duration_us=took,
        )
        done = Completed(permit, started_at, ended_at, output, receipt)
        step_index = self._fan.first_index + index
        return Step(step_id, self._step_type, step_index, done, told, decided_at, subject)

    def __iter__(self) -> Iterator[int]:
        for index in range(len(self._records) // _RECORD.size):
            if self.get(index) is not None:
                yield index

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PackedItems):
            return NotImplemented
        mine = (self._fan.step_id, self._records, self._said)
        return mine == (other._fan.step_id, other._records, other._said)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> "PackedItems":
        """One that goes its own way."""
        other = PackedItems(self._fan, self._step_type)
        other._records = self._records.copy()
        other._said, other._known = self._said.copy(), self._known.copy()
        other._count = self._count
        return other
