"""The refunds example: the whole job. (While servers are killed: `tests/faults/test_refunds_*`.)"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.ports import free_port

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "refunds"
BIN = Path(sys.executable).parent
ENVIRON = {k: v for k, v in os.environ.items() if not k.startswith("FEDCORE_")} | {
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(EXAMPLE),
    "COLUMNS": "200",
}
LIMIT = 120


def rows(limit: int | None = None) -> list[dict[str, str]]:
    with (EXAMPLE / "refunds.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))[:limit]


def totals(chosen: list[dict[str, str]]) -> dict[str, Json]:
    """What the summary must say of these rows, added up here once more."""
    found: dict[str, Json] = {}
    for row in chosen:
        total = found.setdefault(row["currency"], {"count": 0, "amount": 0})
        total["count"] += 1
        total["amount"] += int(row["amount"])
    return found


def is_forbidden(row: dict[str, str]) -> bool:
    return (
        row["country"] in {"IR", "KP", "SY"}
        or row["account"] == "closed"
        or int(row["amount"]) > int(row["paid"])
    )


class Server:
    """A server process in a group of its own. `url` is what its first line says."""

    def __init__(self, *command: str | Path) -> None:
        self._process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env=ENVIRON,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self._process.stdout.readline())
        assert found is not None, "the server did not come up"
        self.url, self.port = found[0], int(found[1])

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop(signal.SIGTERM)

    def stop(self, number: int) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()


def payment_service(data: Path, *more: str) -> Server:
    return Server(sys.executable, EXAMPLE / "service.py", "--port", "0", "--data", data, *more)


def core(data_dir: Path, service: Server, port: int = 0) -> Server:
    return Server(
        *("fedcore", "serve", "--dev", "--port", str(port), "--data-dir", data_dir),
        *("--policy-dir", EXAMPLE / "policy", "--python-allow", "refunds_scoring"),
        *("--http-allow", f"127.0.0.1:{service.port}"),
    )


@contextmanager
def job(*options: str | Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.refunds", "--json", *map(str, options)],
        cwd=ROOT,
        env=ENVIRON,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]") -> tuple[Json, str]:
    """The summary of a job that ended well, and what it showed."""
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    summary: Json = json.loads(out)
    return summary, err


def shell(script: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=ENVIRON,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sections() -> dict[str, list[str]]:
    """The README's shell blocks by the heading they stand under."""
    found: dict[str, list[str]] = {}
    for part in (EXAMPLE / "README.md").read_text("utf-8").split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        found[title] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return found


def as_lines(totals_: dict[str, Json]) -> list[str]:
    return [f"{c} {t['count']} {t['amount']}" for c, t in sorted(totals_.items())]


# ----------------------------------------------------------------------------------- the whole job


def test_the_job_settles_rejects_and_denies_what_the_csv_says(tmp_path: Path) -> None:
    work = ("--work", tmp_path, "--port", str(free_port()), "--service-port", str(free_port()))
    with job("--limit", str(LIMIT), *work) as process:
        summary, shown = ended(process)
    asked = rows(LIMIT)
    denied = [row for row in asked if is_forbidden(row)]
    assert summary["problems"] == []
    assert summary["asked"] == totals(asked)
    assert summary["totals"]["denied"] == totals(denied)
    counts = {
        outcome: sum(total["count"] for total in by_currency.values())
        for outcome, by_currency in summary["totals"].items()
    }
    assert counts == {"settled": 114, "rejected": 2, "denied": 4}
    assert "$ fedcore gates list" in shown
    assert "approve: refunds.very-large" in shown
    assert "$ fedcore gates approve --mine --where" in shown
    assert checked_by_hand(tmp_path, "sqlite3") == as_lines(summary["totals"]["settled"])
    assert "The record holds" in checked_by_hand(tmp_path, "ledger verify")[0]


def checked_by_hand(work: Path, about: str) -> list[str]:
    """What the README's command `about` something prints."""
    [script] = [text for text in sections()["Check it by hand"] if about in text]
    return shell(script.replace("examples/refunds/work", str(work))).splitlines()


def test_the_awk_lines_of_the_readme_add_up_the_csv() -> None:
    asked, denied, *_ = sections()["Check it by hand"]
    assert shell(asked).splitlines() == as_lines(totals(rows()))
    assert shell(denied).splitlines() == as_lines(totals([r for r in rows() if is_forbidden(r)]))


# ------------------------------------------------------------------------------- the README by hand


def test_the_readme_by_hand(tmp_path: Path) -> None:
    service_port, port = free_port(), free_port()

    def moved(script: str) -> str:
        script = script.replace("examples/refunds/work/by-hand", str(tmp_path / "work"))
        script = script.replace("--workflow-dir examples/refunds", f"--workflow-dir {tmp_path}")
        return script.replace("9406", str(service_port)).replace("9405", str(port))

    (tmp_path / "workflow.yaml").write_text(moved((EXAMPLE / "workflow.yaml").read_text("utf-8")))
    pay, serve, start, answer = map(moved, sections()["By hand"])
    with ExitStack() as stack:
        for script in (f"{pay.rstrip()} --port {service_port}", f"{serve.rstrip()} --port {port}"):
            stack.enter_context(Server("bash", "-c", script))
        here = f"export FEDCORE_URL=http://127.0.0.1:{port}\n"
        data = start.splitlines()[0]
        started = shell(here + start)
        assert "completed" in started
        assert "paused" in started
        assert "refunds.very-large" in started
        answered = shell(f"{here}{data}\n{answer}")
        assert "1 of 2 approvals" in answered
        assert httpx.get(f"http://127.0.0.1:{service_port}/summary?at_least=2").json()[
            "totals"
        ] == {"EUR": {"count": 1, "amount": 1195175}, "USD": {"count": 1, "amount": 9399}}


# ------------------------------------------------------------------------------------- the crashes


def token(data_dir: Path) -> str:
    return shell(f"fedcore token issue --actor witness --data-dir {data_dir} 2>/dev/null").strip()


# ------------------------------------------------------------------------ that the checks can fail


def test_the_service_settles_a_key_once_and_shows_an_order_that_was_settled_twice(
    tmp_path: Path,
) -> None:
    row = rows(1)[0]
    refund = {key: row[key] for key in ("order_id", "currency")} | {"amount": int(row["amount"])}

    def pay(key: str, **other: object) -> int:
        headers = {"Idempotency-Key": key} if key else {}
        answer = httpx.post(f"{service.url}/refunds", json=refund | other, headers=headers)
        return answer.status_code

    data = tmp_path / "service.db"
    with payment_service(data, "--fail-every", "0") as service:
        assert [pay("a"), pay("a"), pay("a", amount=1), pay("")] == [201, 200, 409, 400]
        assert httpx.get(f"{service.url}/summary").json()["settled_twice"] == []
        service.stop(signal.SIGKILL)
    with payment_service(data, "--fail-every", "0") as service:
        assert [pay("a"), pay("b"), pay("c", order_id="O-1")] == [200, 201, 404]
        summary = httpx.get(f"{service.url}/summary").json()
        assert summary["settled_twice"] == [row["order_id"]]
        assert summary["totals"] == {row["currency"]: {"count": 2, "amount": 2 * refund["amount"]}}


def test_bad_days_come_once_to_each_request(tmp_path: Path) -> None:
    row = rows(1)[0]
    with payment_service(tmp_path / "service.db", "--fail-every", "1") as service:
        url = f"{service.url}/orders/{row['order_id']}"
        assert [httpx.get(url).status_code for _ in range(3)] == [503, 200, 200]
