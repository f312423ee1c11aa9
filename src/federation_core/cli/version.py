"""`fedcore version`: which version this is."""

import platform
import sqlite3

from .. import __version__
from .groups import verb
from .makers import takes
from .output import Output
from .session import output

__all__ = ["app"]


@takes(output)
def version(out: Output) -> None:
    """Show which version this is."""
    value = {
        "version": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    told = f"fedcore {__version__} (Python {value['python']}, SQLite {value['sqlite']})"
    out.show(value, told)


app = verb(version)
