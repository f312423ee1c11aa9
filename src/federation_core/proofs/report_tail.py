"""The end of the report: how to check it without this program, and what it does not show."""

from collections.abc import Iterator

from .result import NAME, Result

__all__ = ["limits", "verify_yourself"]

_PACKS = """\
The evidence packs, each with the verifier in it. Take `trust.txt` from the operator by another way
where you can, and keep `seen.checkpoint`; the evidence pack hash is that of `manifest.json`:

```sh
mkdir bare && cd bare
unzip -p ../policy_flag.evidence.zip verify.py > ../verify.py
unzip -p ../policy_flag.evidence.zip manifest.json | sha256sum
python3 -I -S ../verify.py ../policy_flag.evidence.zip --trust ../trust.txt \\
  --seen ../seen.checkpoint --consistency ../policy_flag.consistency.json
cd ..
```
"""
_RECEIPTS = """\
The receipts, each file's bytes against the hash that the log told:

```sh
for test in receipts/*/; do (cd $test && sha256sum -c SHA256SUMS); done
```
"""
_EVENTS = """\
The events, in the bytes that are hashed, each linked to the one before it; what is printed are the
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
| `<test>.evidence.zip` | each run's evidence pack |
| `trust.txt` `seen.checkpoint` | whom the auditor trusts, and the checkpoint seen after run A |
| `<test>.consistency.json` | the proof between the checkpoint seen and the pack's, if they differ |
| `forged_packs.jsonl` | each forged pack, what had to be said of it, and the whole verdict |
| `receipts/<test>/` | every receipt, in order, and the workflow receipt made anew |
| `logs/<test>.jsonl` | the audit trail as it came over HTTP |
| `logs/<test>.events.jsonl` | the same events in the bytes that are hashed |
| `logs/effects.jsonl` | every request that the service outside took |
| `material/` | the workflow and the policy bundle |"""
_OWN_FILES = """\
| `logs/server.log` | what the server said |"""
_OWN_LIMITS = """\
- Other servers: this one was started by the harness, on this machine, and is gone. Its signing
  secret was the harness's, so that each actor could have a token of their own."""
_FOREIGN_LIMITS = """\
- That a changed ledger of this server is refused: over HTTP the harness cannot read the file, and
  the bytes of the events are those of the evidence packs. `fedcore prove` without `--url` shows
  it."""
_LIMITS = """\
- Who an actor is: it shows what the server's tokens said.
- That the trust file is the operator's: here it came from the same server as the packs. Get it by
  another way.
- That nobody with the key rewrote the ledger before the harness first saw it. Whoever holds a
  checkpoint, a pack or a receipt finds out what was rewritten after it was given; witnesses do so
  for everybody."""


def verify_yourself(result: Result) -> Iterator[str]:
    """Commands that need nothing of this project, and where things are."""
    yield "## Check it yourself"
    yield ""
    yield f"In `{NAME}/`, with nothing of this project."
    yield ""
    if result.packs is not None:
        yield _PACKS
    yield _RECEIPTS
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
