"""`fedcore settings`: what counts, and who said so."""

from ..settings import Settings
from .configuration import configuration
from .groups import verb
from .makers import takes
from .output import Output
from .session import output
from .tables import fixed, folded, table

__all__ = ["app"]


@takes(output)
@takes(configuration)
def show(settings: Settings, out: Output) -> None:
    """Show each setting and where it comes from.

    The command line counts first, then the environment, then fedcore.toml in the data directory.
    Secrets are masked. The options are those of `fedcore serve`.
    """
    found = settings.describe()
    value = {name: {"value": shown, "origin": origin} for name, shown, origin in found}
    columns = [fixed("SETTING"), folded("VALUE"), fixed("FROM")]
    out.show(value, table(columns, found))


app = verb(show)
