"""`fedcore`: the command line over the HTTP contract, and what an operator does beside it.

One module a noun. Each is imported only when it is called, so that `fedcore --help` is quick.
"""

from .main import main

__all__ = ["main"]
