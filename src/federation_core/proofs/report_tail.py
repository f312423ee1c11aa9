"""The end of the report: how to check it without this program, and what it does not show."""

from collections.abc import Iterator

from .result import NAME, Result

__all__ = ["limits", "verify_yourself"]

_RECEIPTS = """\
The receipts, each file's bytes against the hash that the log told:

```sh
for test in receipts/*/; do (cd $test && sha256sum -c SHA256SUMS); done
```
"""
_EVENTS = """\
The events, in the ledger's own bytes, each linked to the one before it; what is printed are the
hashes of layer 3:

```sh
python3 - logs/policy_flag.events.jsonl <<'END'
import hashlib, json, sys
before = "0" * 64
for line in open(sys.argv[1], "rb"):
    body = line.rstrip(b"\\n")
    event = json.loads(body)
    assert event["prev"] == before, f"event {event['seq']} does not link"
    before = hashlib.sha256(b"\\0" + body).hexdigest()
    print(event["seq"], event["type"], before)
END
```
"""
_FILES = """\
| where | what |
| --- | --- |
| `happy_path.txt` `policy_flag.txt` `policy_deny.txt` | each test as it went |
| `receipts/<test>/` | every receipt, in order, and the workflow receipt made anew |
| `logs/<test>.jsonl` | the audit trail as it came over HTTP |
| `logs/effects.jsonl` | every request that the service outside took |
| `material/` | the workflow and the policy bundle |"""
_OWN_FILES = """\
| `logs/<test>.events.jsonl` | the same events, in the bytes that the ledger stores |
| `logs/server.log` | what the server said |"""
_OWN_LIMITS = """\
- Other servers: this one was started by the harness, on this machine, and is gone. Its signing
  secret was the harness's, so that each actor could have a token of their own."""
_FOREIGN_LIMITS = """\
- The stored bytes of this server's ledger, and that a changed ledger is refused: over HTTP the
  harness cannot read the file. `fedcore prove` without `--url` shows both."""
_LIMITS = """\
- Who an actor is: it shows what the server's tokens said.
- That nobody rewrote the whole ledger before the harness first saw it. Whoever holds a receipt, or
  the hash of a workflow receipt, finds out what was rewritten after it was given."""


def verify_yourself(result: Result) -> Iterator[str]:
    """Commands that need nothing of this project, and where things are."""
    yield "## Check it yourself"
    yield ""
    yield f"In `{NAME}/`, with nothing of this project."
    yield ""
    yield _RECEIPTS
    if result.facts.own:
        yield _EVENTS
    yield _FILES
    if result.facts.own:
        yield _OWN_FILES
    yield ""


def limits(result: Result) -> Iterator[str]:
    """What a reader must not conclude."""
    yield "## What this does not show"
    yield ""
    yield _OWN_LIMITS if result.facts.own else _FOREIGN_LIMITS
    yield _LIMITS
