"""Deciding, and how long it took: the one place of the decision that has a clock."""

import time
from collections.abc import Callable

import msgspec

from ..spine.decision import Decision, PolicyRequest
from .bundle import Bundle
from .verdict import judge

__all__ = ["decide"]


def decide(
    bundle: Bundle, request: PolicyRequest, *, clock: Callable[[], int] = time.perf_counter_ns
) -> Decision:
    """Put `request` to `bundle`. Whatever goes wrong is a deny that says so; raises nothing.

    `clock` gives nanoseconds; `duration_us` is what it measured.
    """
    began = clock()
    decision = judge(bundle, request)
    return msgspec.structs.replace(decision, duration_us=(clock() - began) // 1_000)
