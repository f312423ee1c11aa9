"""A collector of traces: what OTLP/HTTP says, over a real socket, or one that never answers."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["Collector", "Span", "collecting"]


class Span:
    """One span as it came."""

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.name: str = span.name
        self.trace_id = span.trace_id.hex()
        self.span_id = span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.began, self.ended = span.start_time_unix_nano, span.end_time_unix_nano
        self.kind: int = span.kind
        self.failed = span.status.code == 2
        self.facts = _plain(span.attributes)
        self.links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
        self.resource = resource

    def __repr__(self) -> str:
        return f"<{self.name} {self.facts}>"


def _plain(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


class Collector:
    """`spans` are all that came; `arrived` is set with every request."""

    def __init__(self, *, answers: bool, status: int = 200) -> None:
        self.spans: list[Span] = []
        self.requests = 0
        self._more = threading.Condition()
        self._let_go = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._take(self.path, body)
                if not answers:
                    collector._let_go.wait()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces", path
        found = []
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _plain(of_resource.resource.attributes)
            found += [Span(s, resource) for scope in of_resource.scope_spans for s in scope.spans]
        with self._more:
            self.requests += 1
            self.spans += found
            self._more.notify_all()

    def until(self, done: Callable[["Collector"], bool]) -> None:
        """Return once `done` is true of what came."""
        with self._more:
            assert self._more.wait_for(lambda: done(self), 20), self.spans

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        [found] = self.named(name)
        return found

    def close(self) -> None:
        self._let_go.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def collecting(*, answers: bool = True, status: int = 200) -> Iterator[Collector]:
    collector = Collector(answers=answers, status=status)
    thread = threading.Thread(target=collector.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield collector
    finally:
        collector.close()
        thread.join()
