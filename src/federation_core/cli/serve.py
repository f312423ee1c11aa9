"""`fedcore serve`: run the server."""

import asyncio
import gc

import typer

from ..settings import Settings
from .configuration import configuration
from .groups import verb
from .makers import takes

__all__ = ["app"]


@takes(configuration)
def serve(settings: Settings) -> None:
    """Run the server.

    Each option has an environment variable (FEDCORE_HOST, FEDCORE_PORT, …) and a name in
    fedcore.toml in the data directory; `fedcore settings` shows what counts. The first line says
    where the server listens. Ctrl-C stops it; what was acknowledged is never lost.
    """
    gc.disable()  # what is imported is no garbage: to look for it takes a seventh of the start
    from ..app import serve as run_server  # the whole system, which no other command needs

    asyncio.run(run_server(settings, announce=typer.echo))


app = verb(serve)
