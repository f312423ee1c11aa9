"""The story of one test as people read it: lines with the harness's time."""

from .effects import now
from .transcript import Json

__all__ = ["Narration"]


class Narration:
    """Collects lines; what the server logged is told beside what the harness did and saw."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """Something that the harness did or saw."""
        self._add("harness", text)

    def tell(self, entry: Json) -> None:
        """A log entry, when it was told by the event stream."""
        actor = f"{entry['actor_id']} via {entry['via']}" if entry["via"] else entry["actor_id"]
        self._add(
            f"log {entry['seq']:>3}", f"{entry['event_type']:<13} {entry['message']}  [{actor}]"
        )

    def _add(self, who: str, text: str) -> None:
        self.lines.append(f"{now()[11:23]}  {who:<8} {text}")
