"""Options that many commands share, and what is made of them.

A maker is a context manager whose parameters are options; `takes(maker)` gives a command these
options, and what the maker yields as its first argument.
"""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

__all__ = ["takes"]

P = ParamSpec("P")
T = TypeVar("T")


def takes(
    maker: Callable[..., AbstractContextManager[T]],
) -> Callable[[Callable[Concatenate[T, P], None]], Callable[..., None]]:
    """The command's own options come first in its help, the maker's after them."""
    options = inspect.signature(maker, eval_str=True).parameters

    def decorate(command: Callable[Concatenate[T, P], None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        _, *own = signature.parameters.values()

        @wraps(command)
        def made(*args: P.args, **given: P.kwargs) -> None:
            shared = {name: given.pop(name) for name in options}
            with maker(**shared) as first:
                command(first, *args, **given)

        made.__annotations__ = {}
        made.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[
                *(p.replace(kind=p.KEYWORD_ONLY) for p in own),
                *options.values(),
            ]
        )
        return made

    return decorate
