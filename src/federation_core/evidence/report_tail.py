"""The end of the report: who decided, what is not shown, what stands behind it, how to verify."""

from collections.abc import Iterator, Mapping

from ..spine.canonical import ZERO_HASH
from .markdown import counted, quoted, section, table
from .report_by_hand import HOW_TO_VERIFY
from .report_facts import ReportFacts
from .retelling import by, moment
from .story import PolicyUse

__all__ = ["tail_lines"]

MOST_VALUES = 50


def tail_lines(
    facts: ReportFacts, policies: Mapping[str, PolicyUse], places: Mapping[str, str]
) -> Iterator[str]:
    """The sections that all runs of a pack share. `places` says where a payload is named."""
    yield from section(2, "Policies that decided")
    yield from _policies(policies)
    yield from section(2, "Values that are not in this pack")
    yield from _absent(facts, places)
    yield from section(2, "What stands behind it")
    yield from _behind(facts)
    yield from section(2, "How to verify")
    yield HOW_TO_VERIFY


def _policies(policies: Mapping[str, PolicyUse]) -> Iterator[str]:
    if ZERO_HASH in policies:
        times = counted(policies[ZERO_HASH].decided, "time", "times")
        yield f"{times} no policy could be asked, and that is a deny."
        yield ""
    rows = [
        (quoted(use.policy_id), ", ".join(quoted(t, 20) for t in sorted(use.tiers)) or "–",
         f"{use.decided:,}", f"{use.tightened:,}", quoted(digest))
        for digest, use in policies.items() if digest != ZERO_HASH
    ]  # fmt: skip
    yield from table(("policy", "tiers", "decided", "asked as well", "hash of the bundle"), rows)


def _absent(facts: ReportFacts, places: Mapping[str, str]) -> Iterator[str]:
    payloads = facts.payloads
    if not facts.shown:
        yield "Whoever asked for this pack left all values out. Their hashes stand in the events."
        yield ""
    elif payloads.withheld:
        withheld = counted(
            len(payloads.withheld),
            "value of a sensitive step is withheld: it is there,",
            "values of sensitive steps are withheld: they are there,",
        )
        them = "it" if len(payloads.withheld) == 1 else "them"
        yield withheld
        yield f"and an administrator can ask for a pack that has {them}."
        yield ""
    if payloads.erased:
        were = counted(len(payloads.erased), "value was erased", "values were erased")
        yield f"{were}, and the log says so:"
        yield ""
        erased = list(payloads.erased.items())
        yield from table(
            ("erased (UTC)", "by", "reason", "what it was", "hash"),
            (
                (moment(told.at), by(told.actor, None), quoted(told.reason, 400),
                 quoted(places.get(digest)), quoted(digest))
                for digest, told in erased[:MOST_VALUES]
            ),
        )  # fmt: skip
        if len(erased) > MOST_VALUES:
            left_out = len(erased) - MOST_VALUES
            yield counted(left_out, "further one is not listed.", "further ones are not listed.")
            yield ""
    if payloads.missing:
        are = counted(len(payloads.missing), "value is missing", "values are missing")
        yield f"**{are}, and nothing says why:**"
        yield ""
        missing = sorted(payloads.missing)[:MOST_VALUES]
        rows = ((quoted(places.get(digest)), quoted(digest)) for digest in missing)
        yield from table(("what it was", "hash"), rows)
    if facts.shown and not payloads.absent:
        yield "None: every value that the events name is there."
        yield ""


def _behind(facts: ReportFacts) -> Iterator[str]:
    if facts.witnesses == 0:
        seen = "**No witness has cosigned it**: who holds the key and the database could have"
        more = "written the whole history anew."
    else:
        seen = "1 witness has" if facts.witnesses == 1 else f"{facts.witnesses} witnesses have"
        seen, more = f"{seen} cosigned it: they saw the log grow, and would", "not sign another."
    yield f"The events stand in the log {quoted(facts.log)}, under a signed checkpoint over its"
    yield f"first {counted(facts.checkpoint_size, 'event', 'events')}."
    yield seen
    yield more
    yield ""
