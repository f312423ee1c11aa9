"""Everything that observes, in one piece."""

from collections.abc import Iterable, Iterator, Sequence

import structlog

from .durable import Appended, Observer
from .families import Family, Measured
from .meter import Meter
from .tracing import Tracer

__all__ = ["Telemetry"]


class Telemetry:
    """What observes a system: any part may be missing. `committed` never raises. `measured` are
    further parts that measure themselves."""

    def __init__(
        self,
        *,
        meter: Meter | None = None,
        journal: Observer | None = None,
        tracer: Tracer | None = None,
        measured: Iterable[Measured] = (),
    ) -> None:
        self.tracer = tracer
        self._measured = [m for m in (meter, tracer, *measured) if m is not None]
        self._observers = [o for o in (meter, journal, tracer) if o is not None]
        self._complained: set[Observer] = set()

    @property
    def observes(self) -> bool:
        """Whether anybody wants to know what became durable."""
        return bool(self._observers)

    def committed(self, appends: Sequence[Appended], /) -> None:
        """Tell every observer. One that fails is complained about once, and told again: who waits
        for the commit must not wait for it."""
        for observer in self._observers:
            try:
                observer.committed(appends)
            except Exception:
                if observer not in self._complained:
                    self._complained.add(observer)
                    structlog.get_logger().exception(
                        "telemetry_failed", observer=type(observer).__name__
                    )

    def families(self) -> Iterator[Family]:
        """What the observers measured."""
        for part in self._measured:
            yield from part.families()

    def close(self) -> None:
        """Send what waits, for as long as that takes a moment."""
        if self.tracer is not None:
            self.tracer.close()
