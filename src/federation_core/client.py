"""A thin client of the HTTP contract, for the CLI, the proofs and scripts.

Answers are the contract's JSON as dicts and lists; an answer that is a problem (RFC 9457) is raised
as `ApiError`.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import httpx
import msgspec

from .errors import CallerError, OperatorError

__all__ = ["ApiError", "Client", "Download", "ServerUnreachable"]

Json = dict[str, Any]

_PAGE = 1_000
_PACK_S = 600.0
"""How long a server may take over a pack before its first byte, and between two."""


class ApiError(CallerError):
    """The server refused: `status` (HTTP), `error_code`, `detail` and `errors` are its own."""

    def __init__(self, status: int, problem: Json) -> None:
        detail = str(problem.get("detail") or problem.get("title") or f"status {status}")
        super().__init__(detail, code=str(problem.get("code") or f"http_{status}"))
        self.status = status
        self.problem = problem


class ServerUnreachable(OperatorError):
    """Nobody answers at the URL."""

    code = "server_unreachable"


class Download(NamedTuple):
    """A file as it comes. `etag` is without its quotes, `size` in bytes; None where the server
    does not say."""

    etag: str | None
    size: int | None
    chunks: Iterator[bytes]


class Client:
    """Calls one server as one actor, one call at a time: give each thread a client of its own.

    `tenant` and `actor` are sent as headers where given; a `token` that is a function is called
    before each request.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str],
        *,
        actor: str | None = None,
        tenant: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        headers = {}
        if actor is not None:
            headers["X-Actor-Id"] = actor
        if tenant is not None:
            headers["X-Tenant-Id"] = tenant
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._http = httpx.Client(
            base_url=self.url,
            auth=_Bearer(token),
            headers=headers,
            trust_env=False,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        wait: float | None = None,
    ) -> Any:
        """One call; `key` is sent as the idempotency key, `wait` (seconds) as a preference to be
        answered later, with more. Raises `ApiError`, `ServerUnreachable`."""
        sent = dict(headers or {})
        if wait is not None:
            sent["Prefer"] = f"wait={wait:g}"
        if key is not None:
            sent["X-Idempotency-Key"] = key
        content = None
        if json is not None:
            content = msgspec.json.encode(json)
            sent["Content-Type"] = "application/json"
        timeout = self._timeout + (wait or 0)
        return _answer(
            self._send(
                method,
                path,
                content=content,
                params=_shown(params),
                headers=sent,
                timeout=timeout,
            )
        )

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **{"timeout": self._timeout, **more})
        except httpx.TransportError as e:
            raise self._unreachable(e) from e

    def _unreachable(self, error: httpx.TransportError) -> ServerUnreachable:
        return ServerUnreachable(
            f"No server answers at {self.url} ({str(error) or type(error).__name__}); start one "
            "with `fedcore serve`, or name another URL."
        )

    def health(self) -> Json:
        return self._dict("GET", "/health")

    def create_run(
        self,
        workflow_id: str,
        input_payload: Json | None = None,
        *,
        wait: float | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Json:
        """`more` are the other members of the request; `wait` seconds for it to end or pause."""
        body = {"workflow_id": workflow_id, "input_payload": input_payload or {}, **more}
        return self._dict("POST", "/workflows/runs", json=body, wait=wait, key=key)

    def restart_run(
        self,
        run_id: str,
        from_step: str,
        *,
        wait: float | None = None,
        key: str | None = None,
        **more: Any,
    ) -> Json:
        """`more` are `metadata` and `tags`; `wait` seconds for it to end or pause."""
        body = {"from_step": from_step, **more}
        path = f"/workflows/runs/{run_id}:restart"
        return self._dict("POST", path, json=body, wait=wait, key=key)

    def get_run(
        self,
        run_id: str,
        *,
        logs: bool = False,
        gates: bool = False,
        steps: bool = False,
        wait: float | None = None,
    ) -> Json:
        params = {"include_logs": logs, "include_gates": gates, "include_steps": steps}
        return self._dict("GET", f"/workflows/runs/{run_id}", params=params, wait=wait)

    def list_runs(
        self, *, status: str | None = None, workflow_id: str | None = None, limit: int = 100
    ) -> Iterator[Json]:
        """Every run, newest first, page by page."""
        cursor: str | None = None
        while True:
            params = {
                "status": status,
                "workflow_id": workflow_id,
                "limit": limit,
                "cursor": cursor,
            }
            page = self._dict("GET", "/workflows/runs", params=params)
            yield from page["items"]
            cursor = page["page"]["next_cursor"]
            if cursor is None:
                return

    def change_status(self, run_id: str, status: str, **more: Any) -> Json:
        body = {"status": status, **more}
        return self._dict("PATCH", f"/workflows/runs/{run_id}/status", json=body)

    def record_step(self, run_id: str, step_id: str, status: str, **more: Any) -> Json:
        body = {"step_id": step_id, "status": status, **more}
        return self._dict("POST", f"/workflows/runs/{run_id}/steps", json=body)

    def logs(
        self, run_id: str, *, event_type: str | None = None, limit: int = 1000, offset: int = 0
    ) -> list[Json]:
        params = {"event_type": event_type, "limit": limit, "offset": offset}
        return self._list("GET", f"/workflows/runs/{run_id}/logs", params=params)

    def all_logs(self, run_id: str, *, event_type: str | None = None) -> Iterator[Json]:
        """The audit trail, page by page."""
        offset = 0
        while True:
            page = self.logs(run_id, event_type=event_type, limit=_PAGE, offset=offset)
            yield from page
            offset += len(page)
            if len(page) < _PAGE:
                return

    def payload(self, run_id: str, digest: str) -> Any:
        """The value behind a hash of the run."""
        return self._dict("GET", f"/workflows/runs/{run_id}/payloads/{digest}")["value"]

    def request_gate(self, run_id: str, step_id: str, gate_name: str, **more: Any) -> Json:
        body = {"step_id": step_id, "gate_name": gate_name, **more}
        return self._dict("POST", f"/workflows/runs/{run_id}/gates", json=body)

    def answer_gate(
        self, run_id: str | None, gate_id: str, *, approve: bool, reason: str | None = None
    ) -> Json:
        """`run_id` may be None where only the gate is known."""
        body: Json = {"status": "approved" if approve else "rejected"}
        if reason is not None:
            body["rejection_reason"] = reason
        if run_id is None:
            return self._dict("POST", f"/api/fc/gates/{gate_id}", json=body)
        return self._dict("PATCH", f"/workflows/runs/{run_id}/gates/{gate_id}", json=body)

    def resume(
        self,
        run_id: str,
        gate_id: str,
        decision: str,
        given: Json | None = None,
        *,
        reason: str | None = None,
    ) -> Json:
        """`decision` is approve or deny; `given` the input that the gate asks for."""
        body: Json = {"gate_id": gate_id, "decision": decision, "input": given or {}}
        if reason is not None:
            body["reason"] = reason
        return self._dict("POST", f"/workflows/runs/{run_id}:resume", json=body)

    def bypass_gate(self, run_id: str, gate_id: str, reason: str) -> Json:
        path = f"/workflows/runs/{run_id}/gates/{gate_id}:bypass"
        return self._dict("POST", path, json={"reason": reason})

    def pending_gates(self, approver_id: str | None = None) -> list[Json]:
        return self._list("GET", "/workflows/gates", params={"approver_id": approver_id})

    def register_workflow(self, workflow_yaml: str) -> Json:
        return self._dict("POST", "/workflows/register", json={"workflow_yaml": workflow_yaml})

    def workflows(self) -> list[Json]:
        return self._list("GET", "/workflows")

    def add_schedule(
        self,
        workflow_id: str,
        cron: str,
        input_payload: Json | None = None,
        *,
        key: str | None = None,
        **more: Any,
    ) -> Json:
        """`more` are the other members of the request, such as `schedule_id` and `timezone`."""
        body = {
            "workflow_id": workflow_id,
            "cron": cron,
            "input_payload": input_payload or {},
            **more,
        }
        return self._dict("POST", "/schedules", json=body, key=key)

    def schedules(self) -> list[Json]:
        return self._list("GET", "/schedules")

    def schedule(self, schedule_id: str) -> Json:
        """A schedule, and its newest ticks."""
        return self._dict("GET", f"/schedules/{schedule_id}")

    def pause_schedule(self, schedule_id: str) -> Json:
        return self._dict("POST", f"/schedules/{schedule_id}:pause")

    def resume_schedule(self, schedule_id: str) -> Json:
        return self._dict("POST", f"/schedules/{schedule_id}:resume")

    def remove_schedule(self, schedule_id: str) -> Json:
        return self._dict("DELETE", f"/schedules/{schedule_id}")

    def policies(self) -> list[Json]:
        """Every activation, the oldest first; the active one says so."""
        return self._list("GET", "/policies")

    def activate_policy(self, files: Mapping[str, str]) -> Json:
        """`files` are the bundle's texts by their name."""
        return self._dict("POST", "/policies", json={"files": dict(files)})

    def evidence(
        self, run_id: str, *, payloads: bool = True, sensitive: bool = False
    ) -> AbstractContextManager[Download]:
        """The evidence pack of a run; `sensitive` puts in the values of sensitive steps."""
        params = {"payloads": payloads, "sensitive": sensitive}
        return self._download(f"/workflows/runs/{run_id}/evidence", params)

    def evidence_of_many(
        self,
        *,
        tag: str | None = None,
        since: str | None = None,
        payloads: bool = True,
        sensitive: bool = False,
    ) -> AbstractContextManager[Download]:
        """One pack of the ended runs with `tag`, created at or after `since` (RFC 3339)."""
        params = {"tag": tag, "since": since, "payloads": payloads, "sensitive": sensitive}
        return self._download("/evidence", params)

    def receipt(self, run_id: str) -> str:
        """The DSSE envelope of a run's receipt, as it was sent."""
        return self._text(f"/workflows/runs/{run_id}/receipt")

    def erase(
        self, *, run_id: str | None = None, payload_hash: str | None = None, reason: str
    ) -> Json:
        """Erase the payloads of a run, or one payload; either is to be given."""
        named = {"run_id": run_id, "payload_hash": payload_hash}
        body = {name: value for name, value in named.items() if value is not None}
        return self._dict("POST", "/erasures", json={**body, "reason": reason})

    def checkpoint(self) -> str:
        """The newest signed note of the log."""
        return self._text("/ledger/checkpoint")

    def consistency(self, old: int, new: int | None = None) -> str:
        """The proof that the log of `old` events is the beginning of that of `new` (by default of
        the newest checkpoint), as it was sent."""
        return self._text("/ledger/proof/consistency", {"from": old, "to": new})

    def keys(self) -> list[Json]:
        """The keys of the log, the oldest first."""
        return self._list("GET", "/ledger/keys")

    def rotate_key(self, reason: str | None = None) -> Json:
        """The key that signs from now on."""
        return self._dict("POST", "/ledger/keys", json={} if reason is None else {"reason": reason})

    def trust(self) -> str:
        """The trust file of the log."""
        return self._text("/ledger/trust")

    def events(self, run_id: str, *, after: int | None = None) -> Iterator[Json]:
        """Log entries as they become durable, until the run has ended."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        path = f"/workflows/runs/{run_id}/events"
        try:
            with self._http.stream("GET", path, headers=headers, timeout=None) as response:
                if response.is_error:
                    response.read()
                    _answer(response)
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        entry: Json = msgspec.json.decode(line.removeprefix("data:").strip())
                        yield entry
        except httpx.TransportError as e:
            raise ServerUnreachable(f"The connection to {self.url} broke: {e}.") from e

    @contextmanager
    def _download(self, path: str, params: Mapping[str, Any]) -> Iterator[Download]:
        """Raises `ApiError`, and `ServerUnreachable` where it breaks off."""
        timeout = httpx.Timeout(self._timeout, read=_PACK_S)
        try:
            with self._http.stream("GET", path, params=_shown(params), timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    _answer(response)
                size = response.headers.get("Content-Length")
                yield Download(
                    etag=response.headers.get("ETag", "").strip('"') or None,
                    size=int(size) if size is not None and size.isdecimal() else None,
                    chunks=response.iter_bytes(),
                )
        except httpx.ConnectError as e:
            raise self._unreachable(e) from e
        except httpx.TransportError as e:
            raise ServerUnreachable(f"The connection to {self.url} broke: {e}.") from e

    def _text(self, path: str, params: Mapping[str, Any] | None = None) -> str:
        response = self._send("GET", path, params=_shown(params))
        if response.is_error:
            _answer(response)
        return response.text

    def _dict(self, method: str, path: str, **more: Any) -> Json:
        answer = self.request(method, path, **more)
        if not isinstance(answer, dict):
            raise ApiError(200, {"detail": f"{path} answered something unexpected."})
        return answer

    def _list(self, method: str, path: str, **more: Any) -> list[Json]:
        answer = self.request(method, path, **more)
        if not isinstance(answer, list):
            raise ApiError(200, {"detail": f"{path} answered something unexpected."})
        return answer


class _Bearer(httpx.Auth):
    def __init__(self, token: str | Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._token if isinstance(self._token, str) else self._token()
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


def _shown(params: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: _query(value) for name, value in (params or {}).items() if value is not None}


def _query(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer(response: httpx.Response) -> Any:
    try:
        body = msgspec.json.decode(response.content) if response.content else None
    except msgspec.DecodeError as e:
        if not response.is_error:
            raise ServerUnreachable(
                f"What answers at {response.url} is no Federation Core server: it sent no JSON."
            ) from e
        body = {"detail": response.text[:500]}
    if response.is_error:
        raise ApiError(response.status_code, body if isinstance(body, dict) else {})
    return body
