"""What an operator sees of the system: log lines, measures, traces. Nothing here is on the way of a
commit: it is told what is durable, and whatever fails here is said once and goes no further."""

from .about import Request, about, asking, facts
from .bundle import Telemetry
from .families import Family, Histogram
from .meter import Meter
from .tracing import Tracer, executing, outgoing, trace_id_of

__all__ = [
    "Family",
    "Histogram",
    "Meter",
    "Request",
    "Telemetry",
    "Tracer",
    "about",
    "asking",
    "executing",
    "facts",
    "outgoing",
    "trace_id_of",
]
