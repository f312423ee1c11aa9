"""Proof campaigns: what the system promises, shown on a live server by a harness that only asks,
approves and checks."""

from .campaign import prove

__all__ = ["prove"]
