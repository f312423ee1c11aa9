"""Structs that are read, made known to msgspec before threads are there."""

import msgspec

__all__ = ["prepare"]


def prepare(*kinds: type) -> None:
    """Call it where a struct is defined that is read without a decoder of its own.

    msgspec (0.22) looks at a struct when it is first read. A server was lost to a null pointer in
    its decoder of structs, as a second thread meets that reads one before what was found is
    complete; that this was the cause is inferred, it was not seen again.
    """
    for kind in kinds:
        msgspec.json.Decoder(kind)
