"""A history that was changed afterwards, by forgers of growing skill, and what the fold sees.

The clumsy one changes bytes, or takes events out: the chain breaks. The skilled one changes one
fact and makes anew everything that hangs on it: links, decision hashes, receipts, the workflow
receipt. Then only the rules of the state machine are left to say no. Where they cannot, the state
comes out different, or the fact is one that only its event tells: `ONLY_TOLD` lists those. (That
the hashes are others is then for the signed checkpoint to say.)
"""

import copy
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.spine_helpers import LONG, OTHER_INPUT, fork, long_life

from federation_core.errors import IntegrityError
from federation_core.spine.envelope import decode
from federation_core.spine.events import RUN_EVENTS
from federation_core.spine.fold import apply
from federation_core.spine.receipts import receipt_hash, workflow_receipt
from federation_core.spine.run import Run

Json = dict[str, Any]
Path = tuple[str | int, ...]

DROPPED = object()
CHOICES: dict[str, tuple[str, ...]] = {
    "decision": ("allow", "deny", "flag", "approved", "rejected"),
    "gate_status": ("pending", "approved", "rejected"),
    "previous_status": ("pending", "running", "paused"),
    "new_status": ("pending", "running", "paused", "completed", "failed", "cancelled"),
    "execution": ("managed", "external"),
    "policy_mode": ("loose", "strict"),
    "gate_type": ("human_approval", "policy_check", "in_doubt"),
    "step_type": ("OBSERVE", "ACT", "GATE"),
}
REMADE = {"prev", "receipt_hash", "prev_receipt_hash", "workflow_receipt_hash"}
"""The skilled forger makes these anew."""

WHO = {"actor", "via", "log"}
"""Nothing in the fold depends on who wrote what follows by itself."""
WHY = {"reason", "policy_id", "tier", "rules_triggered", "request_hash", "duration_us"}
FLAGS = {"flags", "covered_by"}
"""The same flag or gate named twice says nothing new."""
ONLY_TOLD: dict[str, set[str]] = {
    "FC-RUN-001": {"log"},
    "FC-RUN-002": WHO | {"at", "reason"},
    "FC-RUN-003": {"via", "log"},
    "FC-POLICY-001, a step's allow": WHO | WHY | FLAGS | {"flags.expires_s"},
    "FC-POLICY-001, any other": WHO
    | WHY
    | FLAGS
    | {"at", "decision", "action", "step_id", "subject_hash"}
    | {"flags.approvers", "flags.quorum", "flags.expires_s", "flags.rule"},
    "FC-STEP-001": WHO | {"at"},
    "FC-STEP-002": WHO | {"duration_ms"},
    "FC-STEP-003": WHO | {"duration_ms", "error_type", "error_hash"},
    "FC-STEP-004": WHO | {"at", "not_before"},
    "FC-STEP-005": WHO,
    "FC-STEP-006": WHO | {"at"},
    "FC-GATE-001": {"log"},
    "FC-GATE-002": {"log"},
    "FC-GATE-003": {"log"},
    "FC-GATE-005": {"log", "reason"},
    "FC-AUTH-001": WHO | {"at", "attempted", "gate_id", "reason", "refusal_code"},
}


@cache
def history() -> tuple[bytes, ...]:
    return tuple(event.body for event in long_life().events)


@cache
def states() -> tuple[Run, ...]:
    """The state before each event, and after the last."""
    run = Run(LONG)
    before = [fork(run)]
    for body in history():
        apply(run, decode(body, RUN_EVENTS))
        before.append(fork(run))
    return tuple(before)


def refused(seq: int, *bodies: bytes) -> bool:
    """Whether the fold refuses one of `bodies` where event `seq` should stand."""
    run = fork(states()[seq])
    try:
        for body in bodies:
            apply(run, decode(body, RUN_EVENTS))
    except IntegrityError:
        return True
    return False


# the clumsy forger


def test_a_changed_byte_breaks_the_chain() -> None:
    for seq, (body, following) in enumerate(zip(history(), history()[1:], strict=False)):
        for at in range(seq % 5, len(body), 5):
            changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            assert refused(seq, changed, following), (seq, at)


def test_a_changed_byte_in_the_last_event_changes_the_head() -> None:
    last = len(history()) - 1
    body = history()[last]
    for at in range(len(body)):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        try:
            event = decode(changed, RUN_EVENTS)
        except IntegrityError:
            continue
        assert event.hash != states()[-1].head.hash


def test_an_event_that_was_taken_out_is_missed() -> None:
    for seq, following in enumerate(history()[1:]):
        assert refused(seq, following)


def test_events_that_changed_places_are_refused() -> None:
    for seq in range(len(history()) - 1):
        assert refused(seq, history()[seq + 1], history()[seq])


def test_an_event_that_stands_twice_is_refused() -> None:
    for seq, body in enumerate(history()):
        assert refused(seq, body, body)


# the skilled forger


def test_a_changed_fact_is_refused_or_seen() -> None:
    unseen: dict[str, set[str]] = {}
    for seq, body in enumerate(history()):
        event = json.loads(body)
        for path, value in _places(event):
            if path[-1] in REMADE or path == ("data",):
                continue
            name = ".".join(str(part) for part in path if isinstance(part, str))
            for other in _others(name, value):
                if other is DROPPED and len(path) == 1:
                    continue  # see test_envelope
                if _passes_unseen(seq, _changed(event, path, other)):
                    unseen.setdefault(_label(event), set()).add(name.removeprefix("data."))
    assert unseen == ONLY_TOLD


def _label(event: Json) -> str:
    """The code, and of a decision whether a step was started on it."""
    if event["type"] != "FC-POLICY-001":
        return str(event["type"])
    if event["data"]["decision"] == "allow" and event["data"]["action"].startswith("step."):
        return "FC-POLICY-001, a step's allow"
    return "FC-POLICY-001, any other"


def _places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every member of a JSON value, with the way to it."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for name, member in pairs:
        yield (*path, name), member
        if isinstance(member, (dict, list)):
            yield from _places(member, (*path, name))


def _others(name: str, value: Any) -> Iterator[Any]:
    """What might stand in place of `value`."""
    yield DROPPED
    choices = CHOICES.get(name.rpartition(".")[2])
    if choices and isinstance(value, str):
        yield from (choice for choice in choices if choice != value)
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, str) and value.endswith("000000Z"):
        yield value.replace("000000Z", "000001Z")
    elif isinstance(value, str):
        yield OTHER_INPUT if len(value) == 64 else f"{value}x"
    elif isinstance(value, list):
        yield [*value, *value[:1]]
    elif value is None:
        yield "x"


def _changed(event: Json, path: Path, value: Any) -> Json:
    event = copy.deepcopy(event)
    inner: Any = event
    for part in path[:-1]:
        inner = inner[part]
    if value is DROPPED:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return event


def _passes_unseen(seq: int, forged: Json) -> bool:
    """Whether the fold takes the forged history, and comes to the same state."""
    run = fork(states()[seq])
    became: dict[str, str] = {}
    try:
        for body in history()[seq:]:
            old = json.loads(body)
            event = _with(forged if old["seq"] == seq else old, became)
            _remake(run, old["data"], event, became)
            made = _encoded(event)
            apply(run, decode(made, RUN_EVENTS))
            became[_leaf(body)] = _leaf(made)
    except IntegrityError:
        return False
    return _meaning(run, {new: old for old, new in became.items()}) == _lawful_meaning()


def _with(event: Json, became: dict[str, str]) -> Json:
    text = _encoded(event).decode()
    for old, new in became.items():
        text = text.replace(old, new)
    told: Json = json.loads(text)
    return told


def _remake(run: Run, old: Json, event: Json, became: dict[str, str]) -> None:
    """Link `event` to what is before it, and make its receipt fit it."""
    data = event["data"]
    if run.head.seq:
        event["prev"] = run.head.hash
    if "receipt" in data:
        data["receipt_hash"] = hashlib.sha256(_encoded(data["receipt"])).hexdigest()
        became[old["receipt_hash"]] = data["receipt_hash"]
    if "workflow_receipt_hash" in data:
        receipt = workflow_receipt(run, data.get("new_status", ""))
        data["workflow_receipt_hash"] = receipt_hash(receipt)
        became[old["workflow_receipt_hash"]] = data["workflow_receipt_hash"]


def _meaning(run: Run, was: dict[str, str]) -> str:
    """The state with the new hashes read as the old ones."""
    text = repr({k: v for k, v in run.view().items() if k not in ("definition", "specs")})
    for new, old in was.items():
        text = text.replace(new, old)
    return text


@cache
def _lawful_meaning() -> str:
    return _meaning(states()[-1], {})


def _encoded(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _leaf(body: bytes) -> str:
    return hashlib.sha256(b"\0" + body).hexdigest()
