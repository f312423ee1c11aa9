"""The payment service that the refunds are settled with: an ordinary one, with bad days.

    python examples/refunds/service.py --port 9406 --data refunds-service.db

    GET  /orders/<id>, /customers/<id>    what the shop knows
    POST /refunds                         settle; an Idempotency-Key is settled once, however often
                                          it is sent
    GET  /settlements                     every settlement, in order
    GET  /summary[?at_least=N]            totals, and what went wrong; waits until N are settled

It counts and does not judge: another key for the same order settles that order twice, and
`/summary` shows it. What it has answered is on the disk.
"""

import argparse
import csv
import json
import signal
import socket
import sqlite3
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

WAIT_S = 60.0
CREATE = """
CREATE TABLE IF NOT EXISTS settlements (
  number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, order_id TEXT NOT NULL,
  currency TEXT NOT NULL, amount INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 1)
"""


class Refused(Exception):
    """`status` and a sentence go back to the client."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Shop:
    """Orders and customers, as the requests' own file describes them."""

    def __init__(self, path: Path) -> None:
        self.orders: dict[str, Json] = {}
        self.customers: dict[str, Json] = {}
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                self.orders[row["order_id"]] = {
                    "order_id": row["order_id"],
                    "customer_id": row["customer_id"],
                    "currency": row["currency"],
                    "paid": int(row["paid"]),
                    "channel": row["channel"],
                    "ordered_on": row["ordered_on"],
                }
                self.customers[row["customer_id"]] = {
                    "customer_id": row["customer_id"],
                    "country": row["country"],
                    "account": row["account"],
                    "since": row["customer_since"],
                    "orders": int(row["orders"]),
                    "refunds": int(row["refunds"]),
                }


class Settlements:
    """One row a key. `settle` returns when the row is on the disk."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(CREATE)
        self._changed = threading.Condition()

    def settle(self, key: str, order: Json, currency: str, amount: int) -> tuple[Json, bool]:
        """The settlement of `key`, and whether it is new. Raises `Refused` for a key that came
        with something else before."""
        wanted = (order["order_id"], currency, amount)
        with self._changed:
            is_new = self._rows("WHERE key = ?", key) == []
            self._db.execute(
                "INSERT INTO settlements (key, order_id, currency, amount) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET sent = sent + 1",
                (key, *wanted),
            )
            (row,) = self._rows("WHERE key = ?", key)
            self._changed.notify_all()
        if (row["order_id"], row["currency"], row["amount"]) != wanted:
            raise Refused(HTTPStatus.CONFLICT, f"The key {key} was used for another refund.")
        return row, is_new

    def all(self) -> list[Json]:
        with self._changed:
            return self._rows("ORDER BY number")

    def summary(self, at_least: int) -> Json:
        """Waits until `at_least` keys are settled, for at most a minute."""
        with self._changed:
            self._changed.wait_for(lambda: self._count() >= at_least, WAIT_S)
            rows = self._rows("ORDER BY currency")
        totals: dict[str, dict[str, int]] = {}
        orders: dict[str, int] = {}
        for row in rows:
            total = totals.setdefault(row["currency"], {"count": 0, "amount": 0})
            total["count"] += 1
            total["amount"] += row["amount"]
            orders[row["order_id"]] = orders.get(row["order_id"], 0) + 1
        return {
            "settled": len(rows),
            "totals": totals,
            "settled_twice": sorted(order for order, times in orders.items() if times > 1),
            "sent_again": sum(row["sent"] - 1 for row in rows),
        }

    def _count(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM settlements").fetchone()
        return int(count)

    def _rows(self, where: str, *values: str) -> list[Json]:
        names = ("number", "key", "order_id", "currency", "amount", "sent")
        found = self._db.execute(
            f"SELECT {', '.join(names)} FROM settlements {where}",  # noqa: S608 (no input in it)
            values,
        )
        return [dict(zip(names, row, strict=True)) for row in found]


class Faults:
    """Bad days. Every `every`th request answers 503, or settles and loses its answer, by turns,
    the first time it comes. The settlements numbered in `hold` are answered only when the client
    has gone: whoever waits for the answer is sure not to have it."""

    def __init__(self, every: int, hold: frozenset[int]) -> None:
        self.hold = hold
        self._every = every
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self.made = 0

    def next(self, request: str, *, settles: bool) -> str:
        """`none`, `unavailable` or `answer_lost`."""
        with self._lock:
            is_first = request not in self._seen
            self._seen.add(request)
            if not (is_first and self._every and len(self._seen) % self._every == 0):
                return "none"
            self.made += 1
            return "answer_lost" if settles and self.made % 2 else "unavailable"


class Service(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, shop: Shop, settlements: Settlements, faults: Faults) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.shop = shop
        self.settlements = settlements
        self.faults = faults

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may go away
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Service

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        match url.path.split("/")[1:]:
            case ["summary"]:
                at_least = int(parse_qs(url.query).get("at_least", ["0"])[0])
                faults = {"faults": self.server.faults.made}
                self._send(HTTPStatus.OK, self.server.settlements.summary(at_least) | faults)
            case ["settlements"]:
                self._send(HTTPStatus.OK, self.server.settlements.all())
            case ["orders", order_id]:
                self._look_up(self.server.shop.orders, order_id)
            case ["customers", customer_id]:
                self._look_up(self.server.shop.customers, customer_id)
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/refunds":
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return
        key = self.headers.get("Idempotency-Key", "")
        fault = self.server.faults.next(f"POST {key}", settles=True)
        if fault == "unavailable":
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Try again.")
            return
        try:
            settlement, is_new = self._settle(key, body)
        except Refused as e:
            self._refuse(e.status, str(e))
            return
        if is_new and settlement["number"] in self.server.faults.hold:
            self.connection.recv(1, socket.MSG_PEEK)  # returns when the client has gone
            fault = "answer_lost"
        if fault == "answer_lost":
            self.close_connection = True
            return
        answer = {
            "settlement_id": f"S-{settlement['number']:06}",
            "order_id": settlement["order_id"],
            "currency": settlement["currency"],
            "amount": settlement["amount"],
        }
        self._send(HTTPStatus.CREATED if is_new else HTTPStatus.OK, answer)

    def _settle(self, key: str, body: bytes) -> tuple[Json, bool]:
        if not key:
            raise Refused(HTTPStatus.BAD_REQUEST, "The header Idempotency-Key is missing.")
        try:
            asked = json.loads(body)
            order = self.server.shop.orders.get(asked["order_id"])
            currency, amount = str(asked["currency"]), int(asked["amount"])
        except (ValueError, KeyError, TypeError) as e:
            detail = "The body must be order_id, currency and amount, as JSON."
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from e
        if order is None or order["currency"] != currency:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such order in this currency.")
        return self.server.settlements.settle(key, order, currency, amount)

    def _look_up(self, known: dict[str, Json], name: str) -> None:
        if self.server.faults.next(f"GET {name}", settles=False) != "none":
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Try again.")
        elif name in known:
            self._send(HTTPStatus.OK, known[name])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"There is no {name}.")

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        self._send(status, {"detail": detail})

    def _send(self, status: HTTPStatus, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name in the base)
        """Silence: the ledger is the log here."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The payment service of the refunds example.")
    parser.add_argument("--port", type=int, default=9406, help="0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="SQLite file, made if missing")
    parser.add_argument(
        "--requests", type=Path, default=Path(__file__).with_name("refunds.csv"), help="CSV file"
    )
    parser.add_argument("--fail-every", type=int, default=37, help="0 for never")
    parser.add_argument("--hold", type=int, nargs="*", default=(), help="numbers of settlements")
    args = parser.parse_args()
    faults = Faults(args.fail_every, frozenset(args.hold))
    service = Service(args.port, Shop(args.requests), Settlements(args.data), faults)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"http://127.0.0.1:{service.server_address[1]}", flush=True)
    try:
        service.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        service.server_close()


if __name__ == "__main__":
    main()
