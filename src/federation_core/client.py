"""A thin client of the HTTP contract, for the CLI, the proofs and scripts.

Answers are the contract's JSON as dicts and lists; an answer that is a problem (RFC 9457) is raised
as `ApiError`.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from types import TracebackType
from typing import Any

import httpx
import msgspec

from .errors import CallerError, OperatorError

__all__ = ["ApiError", "Client", "ServerUnreachable"]

Json = dict[str, Any]

_PAGE = 1_000


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
        shown = {k: _query(v) for k, v in (params or {}).items() if v is not None}
        try:
            response = self._http.request(
                method,
                path,
                content=content,
                params=shown,
                headers=sent,
                timeout=self._timeout + (wait or 0),
            )
        except httpx.TransportError as e:
            raise ServerUnreachable(
                f"No server answers at {self.url} ({str(e) or type(e).__name__}); start one with "
                "`fedcore serve`, or name another URL."
            ) from e
        return _answer(response)

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

    def resume(self, run_id: str, gate_id: str, decision: str, given: Json | None = None) -> Json:
        """`decision` is approve or deny; `given` the input that the gate asks for."""
        body = {"gate_id": gate_id, "decision": decision, "input": given or {}}
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

    def policies(self) -> list[Json]:
        """Every activation, the oldest first; the active one says so."""
        return self._list("GET", "/policies")

    def activate_policy(self, files: Mapping[str, str]) -> Json:
        """`files` are the bundle's texts by their name."""
        return self._dict("POST", "/policies", json={"files": dict(files)})

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
