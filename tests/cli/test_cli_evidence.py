"""`fedcore evidence` and `fedcore verify`: what is taken away can be verified elsewhere."""

import hashlib
import json
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.cli.cli_helpers import Fedcore, LiveServer, gate_of, run_process, start

from federation_core.client import Client

HASH = "5f" * 32
AT = "at 2999-01-01T00:00:00Z or later"


@pytest.fixture
def run_id(client: Client) -> str:
    """A run that has ended."""
    return str(start(client, 5)["run_id"])


@pytest.fixture
def trust(fedcore: Fedcore, server: LiveServer) -> str:
    fedcore.ok("ledger", "trust", "-o", "trust.txt")
    return "trust.txt"


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


# Taking away


def test_a_pack_is_written_and_verifies(fedcore: Fedcore, run_id: str, trust: str) -> None:
    name = f"{run_id}.evidence.zip"
    out = fedcore.ok("evidence", "export", run_id)
    manifest = hashlib.sha256(zipfile.ZipFile(name).read("manifest.json")).hexdigest()
    told = dict(line.split(maxsplit=1) for line in out.replace("Pack hash", "Hash").splitlines())
    assert told == {"File": name, "Bytes": str(Path(name).stat().st_size), "Hash": manifest}
    assert files() == [name, trust]
    verdict = fedcore.ok("verify", name, "--trust", trust, "--run", run_id, "--tenant", "default")
    assert verdict.startswith("VALID\n")


def test_a_set_of_no_runs_says_what_was_looked_for(fedcore: Fedcore, run_id: str) -> None:
    since = ("--since", "2999-01-01T00:00:00Z")
    told = "Error: There is no run that has ended and has the tag 'x'"
    end = "Runs that are under way are not in a set.\n"
    for options, more in ((("--tag", "x"), ""), (("--tag", "x", *since), f" and was created {AT}")):
        result = fedcore("evidence", "export", *options)
        assert (result.status, result.err) == (1, f"{told}{more}. {end}")
    result = fedcore("evidence", "export", *since)
    assert result.err == f"Error: There is no run that has ended and was created {AT}. {end}"


def test_programs_are_told_what_was_written(fedcore: Fedcore, run_id: str) -> None:
    told = fedcore.json("evidence", "export", run_id, "-o", "pack.zip")
    manifest = hashlib.sha256(zipfile.ZipFile("pack.zip").read("manifest.json")).hexdigest()
    size = Path("pack.zip").stat().st_size
    assert told == {"file": "pack.zip", "size_bytes": size, "evidence_pack_hash": manifest}


def test_a_pack_can_be_verified_without_the_program(run_id: str, fedcore: Fedcore) -> None:
    fedcore.ok("evidence", "export", run_id, "-o", "pack.zip")
    fedcore.ok("ledger", "trust", "-o", "trust.txt")
    with zipfile.ZipFile("pack.zip") as pack:
        pack.extract("verify.py")
    command = [sys.executable, "-I", "verify.py", "pack.zip", "--trust", "trust.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == fedcore.ok("verify", "pack.zip", "--trust", "trust.txt")


def test_payloads_are_left_out_where_nobody_shall_have_them(fedcore: Fedcore, run_id: str) -> None:
    fedcore.ok("evidence", "export", run_id, "-o", "with.zip")
    fedcore.ok("evidence", "export", run_id, "-o", "without.zip", "--no-payloads")
    fedcore.ok("evidence", "export", run_id, "-o", "sensitive.zip", "--sensitive")
    has = {
        path: any(name.startswith("payloads/") for name in zipfile.ZipFile(path).namelist())
        for path in ("with.zip", "without.zip", "sensitive.zip")
    }
    assert has == {"with.zip": True, "without.zip": False, "sensitive.zip": True}


def test_values_of_sensitive_steps_need_admin(
    fedcore: Fedcore, run_id: str, server: LiveServer
) -> None:
    token = server.token("reader", "workflow:read")
    assert fedcore("evidence", "export", run_id, "--token", token).status == 0
    result = fedcore("evidence", "export", run_id, "--token", token, "--sensitive", "-o", "s.zip")
    assert (result.status, result.out, "admin" in result.err) == (1, "", True)
    assert files() == [f"{run_id}.evidence.zip"]


def test_a_set_is_one_pack(fedcore: Fedcore, client: Client, trust: str) -> None:
    runs = [start(client, 5, tags=["audit"])["run_id"] for _ in range(2)]
    since = client.get_run(runs[1])["run"]["created_at"]
    waiting = start(client, 5000, tags=["audit"])["run_id"]
    fedcore.ok("evidence", "export", "--tag", "audit")
    told = fedcore.json("verify", "runs.evidence.zip", "--trust", trust)
    assert (told["verdict"], told["run_ids"]) == ("VALID", runs)
    fedcore.ok("evidence", "export", "--tag", "audit", "--since", since, "-o", "new.zip")
    assert fedcore.json("verify", "new.zip", "--trust", trust)["run_ids"] == runs[1:]
    client.change_status(waiting, "cancelled")


def test_a_set_of_nothing_is_refused(fedcore: Fedcore, server: LiveServer) -> None:
    assert fedcore("evidence", "export", "--tag", "nobody-has-this").status == 1
    result = fedcore("evidence", "export", "--since", "yesterday")
    assert (result.status, "RFC 3339" in result.err) == (1, True)
    assert files() == []


def test_a_run_that_is_not_there_leaves_nothing_behind(
    fedcore: Fedcore, server: LiveServer
) -> None:
    for name in ("nothing", "../nothing", "a/b"):
        result = fedcore("evidence", "export", name)
        assert (result.status, result.out, files()) == (1, "", [])


def test_another_file_is_not_overwritten_unless_it_is_named(fedcore: Fedcore, run_id: str) -> None:
    name = f"{run_id}.evidence.zip"
    Path(name).write_text("mine")
    result = fedcore("evidence", "export", run_id)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"Error: {name} is there already and differs;")
    assert (Path(name).read_text(), files()) == ("mine", [name])
    fedcore.ok("evidence", "export", run_id, "-o", name)
    assert zipfile.is_zipfile(name)
    fedcore.ok("evidence", "export", run_id)  # the same once more


def test_what_cannot_be_written_is_told_before_anything_is_asked(
    fedcore: Fedcore, server: LiveServer, tmp_path: Path
) -> None:
    result = fedcore("evidence", "export", "nothing", "-o", "no/such/folder.zip")
    assert (result.status, "No such file or directory" in result.err) == (3, True)
    assert fedcore("evidence", "export", "nothing", "-o", str(tmp_path)).status == 2


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["run", "--tag", "t"],
        ["run", "--since", "2026-11-23T12:00:00Z"],
        ["run", "--no-payloads", "--sensitive"],
    ],
    ids=["nothing", "run-and-tag", "run-and-time", "with-and-without"],
)
def test_what_makes_no_sense_is_wrong_usage(
    fedcore: Fedcore, server: LiveServer, options: list[str]
) -> None:
    result = fedcore("evidence", "export", *options)
    assert (result.status, result.out, files()) == (2, "", [])


# Receipts


def test_a_receipt_is_signed_by_the_key_of_the_log(fedcore: Fedcore, run_id: str) -> None:
    text = fedcore.ok("evidence", "receipt", run_id)
    envelope = json.loads(text)
    assert json.loads(b64decode(envelope["payload"]))["run_id"] == run_id
    assert fedcore.json("evidence", "receipt", run_id) == envelope
    [key] = [k["key"] for k in fedcore.json("keys", "show") if k["to_size"] is None]
    [signature] = envelope["signatures"]
    assert key.startswith(signature["keyid"] + "+")


def test_a_receipt_is_the_one_in_the_pack(fedcore: Fedcore, run_id: str) -> None:
    fedcore.ok("evidence", "export", run_id, "-o", "pack.zip")
    fedcore.ok("evidence", "receipt", run_id, "-o", "receipt.json")
    packed = zipfile.ZipFile("pack.zip").read("receipt.dsse.json")
    assert Path("receipt.json").read_bytes() == packed
    assert fedcore.ok("evidence", "receipt", run_id).encode() == packed + b"\n"


def test_a_run_that_has_not_ended_has_none(fedcore: Fedcore, client: Client) -> None:
    run = start(client, 5000)
    result = fedcore("evidence", "receipt", run["run_id"], "-o", "receipt.json")
    assert (result.status, result.out, files()) == (1, "", [])
    client.answer_gate(run["run_id"], gate_of(client, run["run_id"])["gate_id"], approve=False)


# Verifying


def test_the_verdict_is_the_exit_status(
    fedcore: Fedcore, client: Client, run_id: str, trust: str
) -> None:
    fedcore.ok("evidence", "export", run_id, "-o", "pack.zip")
    waiting = start(client, 5000)["run_id"]
    fedcore.ok("evidence", "export", waiting, "-o", "waiting.zip")
    client.change_status(waiting, "cancelled")
    told = {
        line: (fedcore(*line.split()).status, fedcore(*line.split(), "--json").json["verdict"])
        for line in (
            f"verify pack.zip --trust {trust}",
            f"verify pack.zip --trust {trust} --run other",
            f"verify pack.zip --trust {trust} --tenant other",
            "verify pack.zip",
            f"verify waiting.zip --trust {trust}",
        )
    }
    assert list(told.values()) == [
        (0, "VALID"),
        (1, "INVALID"),
        (1, "INVALID"),
        (3, "UNTRUSTED"),
        (4, "INCOMPLETE"),
    ]


def test_a_changed_byte_is_named(fedcore: Fedcore, run_id: str, trust: str) -> None:
    fedcore.ok("evidence", "export", run_id, "-o", "pack.zip")
    with zipfile.ZipFile("pack.zip") as pack, zipfile.ZipFile("forged.zip", "w") as forged:
        for name in pack.namelist():
            data = pack.read(name)
            if name.startswith("events/run"):
                data = data.replace(b'"allow"', b'"deny"', 1)
            forged.writestr(name, data)
    told = fedcore.json("verify", "forged.zip", "--trust", trust, status=1)
    assert told["error"]["code"] == "FILE_DIGEST"


def test_history_is_held_against_what_was_seen_before(
    fedcore: Fedcore, client: Client, run_id: str, trust: str
) -> None:
    fedcore.ok("ledger", "checkpoint", "-o", "seen.txt")
    old = Path("seen.txt").read_text().splitlines()[1]
    later = start(client, 6)["run_id"]
    fedcore.ok("evidence", "export", later, "-o", "pack.zip")
    verify = ("verify", "pack.zip", "--trust", trust)
    new = str(fedcore.json(*verify)["checkpoint"]["size"])
    assert int(new) > int(old)
    fedcore.ok("ledger", "consistency", "--from", old, "--to", new, "-o", "proof.json")
    told = fedcore.json(*verify, "--seen", "seen.txt", "--consistency", "proof.json")
    assert told["verdict"] == "VALID"
    told = fedcore.json(*verify, "--seen", "seen.txt", status=4)
    assert told["verdict"] == "INCOMPLETE"
    fedcore.ok("ledger", "consistency", "--from", "1", "--to", new, "-o", "proof.json")
    options = ("--seen", "seen.txt", "--consistency", "proof.json")
    assert fedcore.json(*verify, *options, status=1)["verdict"] == "INVALID"


@pytest.mark.parametrize(
    "line",
    ["", "nowhere.zip --trust trust.txt", "pack.zip --trust nowhere.txt", "--strange pack.zip"],
    ids=["no-pack", "no-such-pack", "no-such-trust", "no-such-option"],
)
def test_what_cannot_be_read_is_a_status_of_its_own(fedcore: Fedcore, line: str) -> None:
    Path("trust.txt").write_text("")
    Path("pack.zip").write_text("")
    result = fedcore("verify", *line.split())
    assert (result.status, result.out) == (2, "")
    assert result.err.count("\n") == 1


def test_names_are_no_options(fedcore: Fedcore) -> None:
    Path("-t").write_text("")
    Path("--json").write_text("no zip")
    result = fedcore("verify", "--trust", "-t", "--", "--json")
    assert (result.status, result.err) == (3, "")
    assert result.out.startswith("UNTRUSTED\n")


def test_verifying_needs_no_settings_and_no_server(
    fedcore: Fedcore, run_id: str, trust: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fedcore.ok("evidence", "export", run_id, "-o", "pack.zip")
    monkeypatch.setenv("FEDCORE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FEDCORE_PORT", "nonsense")
    monkeypatch.setenv("FEDCORE_DATA_DIR", "nowhere")
    assert run_process("verify", "pack.zip", "--trust", trust).status == 0
    assert "nowhere" not in files()


# A server that is not as it should be


@contextmanager
def sending(*chunks: bytes, declared: int) -> Iterator[str]:
    """A server that promises `declared` bytes, sends these chunks, and hangs up; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(declared))
            self.send_header("ETag", f'"{HASH}"')
            self.end_headers()
            for chunk in chunks:
                self.wfile.write(chunk)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_pack_that_breaks_off_is_no_file(fedcore: Fedcore) -> None:
    Path("pack.zip").write_text("an older one")
    with sending(b"PK", declared=100) as url:
        options = ("--url", url, "--token", "omega_x.y", "-o", "pack.zip")
        result = fedcore("evidence", "export", "run", *options)
    assert (result.status, result.out) == (3, "")
    assert f"The connection to {url} broke" in result.err
    assert (files(), Path("pack.zip").read_text()) == (["pack.zip"], "an older one")


def test_a_large_pack_does_not_fill_the_memory(fedcore: Fedcore) -> None:
    chunk = b"x" * (1 << 18)
    chunks = [chunk] * 128
    with sending(*chunks, declared=32 << 20) as url:
        tracemalloc.start()
        told = fedcore.json("evidence", "export", "run", "--url", url, "--token", "omega_x.y")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert told["size_bytes"] == Path(told["file"]).stat().st_size == 32 << 20
    assert told["evidence_pack_hash"] == HASH
    assert peak < 8 << 20


def test_a_server_that_is_not_there(fedcore: Fedcore) -> None:
    options = ("--url", "http://127.0.0.1:1", "--token", "omega_x.y")
    result = fedcore("evidence", "export", "run", *options)
    assert (result.status, files()) == (3, [])
    assert "No server answers at http://127.0.0.1:1" in result.err
