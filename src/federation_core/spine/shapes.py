"""Structs that are read, made known to msgspec before threads are there."""

import msgspec

__all__ = ["prepare"]


def prepare(*kinds: type) -> None:
    """Call it where a struct is defined that is read without a decoder of its own.

    msgspec (0.22) looks at a struct when it is first read, and publishes what it found before it is
    complete: a second thread that reads one at that moment follows a null pointer, and the process
    is gone.
    """
    for kind in kinds:
        msgspec.json.Decoder(kind)
