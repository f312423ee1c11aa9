"""Which workflows are registered, remembered: a version never changes; what is newest is remembered
only where no other node could register another."""

from ..ledger import Ledger, queries
from ..ledger.documents import WorkflowDoc

__all__ = ["Catalog"]


class Catalog:
    """Looks a workflow up once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._versions: dict[tuple[str, str, str], WorkflowDoc] = {}
        self._newest: dict[tuple[str, str], WorkflowDoc] = {}
        self._registrations = 0

    async def newest(self, tenant: str, workflow_id: str) -> WorkflowDoc | None:
        """The version that was registered last."""
        key, before = (tenant, workflow_id), self._registrations
        if key in self._newest:
            return self._newest[key]
        found = await self._ledger.read(queries.newest_workflow, tenant, workflow_id)
        if self._ledger.is_shared:
            return found
        if found is not None and before == self._registrations:  # else it may be older than newest
            self._newest[key] = found
        return found

    async def version(self, tenant: str, workflow_id: str, version: str) -> WorkflowDoc | None:
        key = (tenant, workflow_id, version)
        if key not in self._versions:
            found = await self._ledger.read(queries.workflow_row, tenant, workflow_id, version)
            if found is None:
                return None
            self._versions[key] = found
        return self._versions[key]

    def forget(self, tenant: str, workflow_id: str) -> None:
        """A new version was registered."""
        self._registrations += 1
        self._newest.pop((tenant, workflow_id), None)
