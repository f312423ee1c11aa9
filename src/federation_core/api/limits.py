"""How much is taken on at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import TooManyRequests

__all__ = ["Room"]


class Room:
    """Places for at most `limit` at a time; nobody waits for one."""

    def __init__(self, limit: int, what: str) -> None:
        self.limit = limit
        self.taken = 0
        self._what = what

    def check(self) -> None:
        """Raises `TooManyRequests` where every place is taken."""
        if self.taken >= self.limit:
            raise TooManyRequests(
                f"The server is busy with {self.taken} {self._what}; try again in a second."
            )

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place. Raises `TooManyRequests` where there is none."""
        self.check()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
