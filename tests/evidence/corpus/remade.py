"""What hangs on a changed event of a run, made anew, as far as that can be."""

import contextlib
import json
from collections.abc import Iterator

from tests.evidence.corpus.cases import Json
from tests.evidence.pack_forge import ZERO, canonical, digest, leaf, workflow_receipt

__all__ = ["remade"]


def remade(old: list[Json], new: list[Json], *, receipts: bool = True) -> Iterator[Json]:
    """`new` with the links, decision hashes and receipts that fit it; a hash that stood for an
    event of `old` stands for what became of it. Without `receipts` those stay as they are."""
    was = {event["seq"]: leaf(canonical(event)) for event in old}
    became: dict[str, str] = {}
    previous = receipt = ZERO
    out: list[Json] = []
    for seq, event in enumerate(new):
        if not became and seq < len(old) and event == old[seq]:
            out.append(event)
            yield event
            previous = leaf(canonical(event))
            if event["type"] != "FC-STEP-008":
                receipt = event["data"].get("receipt_hash", receipt)
            continue
        text = canonical(event).decode()
        for one, other in became.items():
            text = text.replace(one, other)
        told: Json = json.loads(text)
        data = told["data"]
        told["seq"], told["prev"] = seq, previous
        of_it = told["type"] != "FC-STEP-008"  # brings the receipt of another run
        if receipts and of_it and isinstance(data.get("receipt"), dict) and "receipt_hash" in data:
            data["receipt"]["prev_receipt_hash"] = receipt
            receipt = digest(canonical(data["receipt"]))
            became[str(data["receipt_hash"])] = data["receipt_hash"] = receipt
        out.append(told)
        if receipts and "workflow_receipt_hash" in data:
            with contextlib.suppress(LookupError, StopIteration, TypeError, AttributeError):
                whole = workflow_receipt([*out, *new[seq + 1 :]])
                data["workflow_receipt_hash"] = digest(canonical(whole))
        yield told
        previous = leaf(canonical(told))
        if event["seq"] in was:
            became[was[event["seq"]]] = previous
