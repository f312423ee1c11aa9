"""The steps of a definition: with them a report says also what was not reached."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection

from .sources import object_chunks

__all__ = ["Definitions"]


class _Step(msgspec.Struct):
    id: str
    type: str


class _Definition(msgspec.Struct):
    steps: list[_Step]


_definition = msgspec.json.Decoder(_Definition)


class Definitions:
    """Reads each definition once, however many runs of it there are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, dict[str, str]] = {}

    def steps(self, digest: str | None) -> Mapping[str, str]:
        """Types of steps by id, in the order of the file; none where a client does the work. Raises
        `IntegrityError` where the definition cannot be shown."""
        if digest is None:
            return {}
        if digest not in self._known:
            text = b"".join(object_chunks(self._connection, digest))
            self._known[digest] = {step.id: step.type for step in _definition.decode(text).steps}
        return self._known[digest]
