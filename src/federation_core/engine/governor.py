"""Every question to policy goes through here: which bundle answers, and about what."""

from functools import cache
from typing import Any

from ..policy import Bundle, decide, load_bundle, shipped_bundle, tighten
from ..spine.actor import Actor
from ..spine.canonical import ZERO_HASH
from ..spine.decision import Decision, PolicyMode, PolicyRequest
from ..spine.run import Run

__all__ = ["Governor", "stricter"]

_SEVERITY: dict[PolicyMode, int] = {"loose": 0, "strict": 1}


def stricter(own: PolicyMode, wanted: PolicyMode | None) -> PolicyMode:
    """A caller may tighten a mode, never loosen it."""
    return own if wanted is None else max(own, wanted, key=_SEVERITY.__getitem__)


@cache
def _shipped_strict() -> Bundle:
    return load_bundle(shipped_bundle("strict"))


class Governor:
    """The active bundle of each tenant; one that never activated any has the default tenant's.
    Where there is none, everything is denied.

    A run in strict mode under a loose bundle is put to the shipped strict bundle as well, and the
    more restrictive answer decides: a caller may tighten a mode, never loosen it.
    """

    def __init__(self, default_tenant: str) -> None:
        self._default = default_tenant
        self._active: dict[str, Bundle | None] = {}
        self._strict = _shipped_strict()

    def activate(self, tenant: str, bundle: Bundle) -> None:
        self._active[tenant] = bundle

    def deactivate(self, tenant: str) -> None:
        """Nothing is allowed for `tenant` until a bundle is activated."""
        self._active[tenant] = None

    def bundle(self, tenant: str) -> Bundle | None:
        """The bundle that decides for `tenant`."""
        return self._active.get(tenant if tenant in self._active else self._default)

    @property
    def strict(self) -> Bundle:
        """The shipped bundle that tightening asks."""
        return self._strict

    def mode(self, tenant: str, wanted: PolicyMode | None = None) -> PolicyMode:
        """The tenant's mode, or the stricter `wanted`."""
        bundle = self.bundle(tenant)
        own: PolicyMode = bundle.mode if bundle else "strict"
        return stricter(own, wanted)

    def _asked(self, tenant: str, mode: PolicyMode) -> list[Bundle]:
        bundle = self.bundle(tenant)
        if bundle is None:
            return []
        tightened = _SEVERITY[mode] > _SEVERITY[bundle.mode]
        return [bundle, self._strict] if tightened else [bundle]

    def sees(self, run: Run, attribute: str) -> bool:
        """Whether any bundle that decides about `run` looks at this attribute of the context."""
        return any(b.sees(attribute) for b in self._asked(run.tenant, run.policy_mode))

    def outputs_seen(self, run: Run) -> list[str]:
        """The steps whose outputs policy looks at, of those that the run has."""
        seen: dict[str, None] = {}
        for bundle in self._asked(run.tenant, run.policy_mode):
            every = run.specs or run.steps  # of a fan-out the step, not each of its items
            names = every if bundle.outputs_seen is None else bundle.outputs_seen
            seen.update((name, None) for name in names if name in every)
        return list(seen)

    def decide(
        self,
        actor: Actor,
        tenant: str,
        action: str,
        *,
        mode: PolicyMode,
        workflow_id: str,
        step_id: str | None,
        context: dict[str, Any],
    ) -> Decision:
        """Ask. Never raises: what cannot be asked is denied."""
        bundles = self._asked(tenant, mode)
        if not bundles:
            why = "No policy bundle is active for this tenant; activate one."
            return self.unasked(tenant, why)
        request = PolicyRequest(
            actor=actor,
            tenant=tenant,
            action=action,
            workflow_id=workflow_id,
            step_id=step_id,
            context=context,
        )
        own = decide(bundles[0], request)
        return own if len(bundles) == 1 else tighten(own, decide(bundles[1], request))

    def unasked(self, tenant: str, why: str) -> Decision:
        """The deny that answers a question which cannot be put to policy."""
        bundle = self.bundle(tenant)
        return Decision(
            decision="deny",
            reason=why,
            policy_id=bundle.bundle_id if bundle else "none",
            policy_hash=bundle.bundle_hash if bundle else ZERO_HASH,
            tier=bundle.tier if bundle else "0",
            rules_triggered=(),
            request_hash=ZERO_HASH,
            duration_us=0,
        )
