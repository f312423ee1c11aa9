"""Requests to a real server on loopback, and what a hostile one may try."""

import asyncio
import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.executors import AllowList, StepContext, StepError, run_step
from federation_core.executors.http import HttpExecutor
from federation_core.executors.http_request import prepare
from federation_core.executors.registry import Executors
from federation_core.spine.definition import HttpWork, StepSpec, StepType

WORK = HttpWork("POST", "not read: the input is the evaluated request")
SECRET = "Bearer s3cret-token-1234"
ENVIRON = {
    "FEDCORE_SECRET_PAY": SECRET,
    "FEDCORE_SECRET_KEY": "the server's own",
    "FEDCORE_SECRET_SPLIT": "a\r\nX-Evil: 1",
    "FEDCORE_SECRET_EMPTY": "",
    "HOME": "/root",
}


def zipped(data: bytes) -> bytes:
    """The same bytes whenever it is called: gzip writes the time otherwise."""
    return gzip.compress(data, mtime=0)


class Service:
    """An HTTP server that says what it is told to, byte for byte, and notes what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {}
        self.heads: list[list[str]] = []
        self.bodies: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.heads.append(head)
        length = next((h for h in head if h.lower().startswith("content-length:")), "x:0")
        self.bodies.append(await reader.readexactly(int(length.partition(":")[2])))
        answer = self.answers.get(head[0].split()[1], reply(404))
        if answer is None:  # never answers; the client goes away
            await reader.readexactly(1)
        writer.write(answer or b"")
        await writer.drain()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def headers(self, index: int = -1) -> dict[str, str]:
        pairs = (line.partition(": ") for line in self.heads[index][1:] if line)
        return {name.lower(): value for name, _, value in pairs}


def reply(status: int, body: bytes = b"", kind: str = "application/json", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = Service()
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    yield running
    server.close()


Send = Callable[..., Any]


@pytest.fixture
async def send(service: Service, ctx: StepContext) -> AsyncIterator[Send]:
    """Send one request through an executor that may reach the service."""
    allow = AllowList.parse([f"127.0.0.1:{service.port}"])
    executor = HttpExecutor(allow, environ=ENVIRON, max_bytes=10_000)

    async def one(path: str = "/", method: str = "GET", **rest: Any) -> Any:
        named = rest.get("headers")
        same = HttpWork("GET", "", headers=named if isinstance(named, dict) else {})
        work = rest.pop("work", same)
        request = {"method": method, "url": rest.pop("url", service.url(path)), **rest}
        return await executor.execute(work, request, ctx, {})

    yield one
    await executor.aclose()


async def failure(call: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await call
    return caught.value


# What is sent


async def test_output_is_the_json_that_the_service_answers(service: Service, send: Send) -> None:
    service.answers["/refunds"] = reply(201, b'{"amount": 12}')
    assert await send("/refunds", "POST", json={"order": "7"}) == {"amount": 12}


async def test_service_sees_who_asks_and_for_which_attempt(service: Service, send: Send) -> None:
    service.answers["/"] = reply(200, b"1")
    await send("/", "post", json={"b": 1, "a": "é"}, headers={"X-Count": 3})
    headers = service.headers()
    assert service.heads[-1][0] == "POST / HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{service.port}"
    assert headers["idempotency-key"] == "run-1:act:2"
    assert headers["x-correlation-id"] == "t:acme|c:1"
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "gzip"
    assert headers["x-count"] == "3"
    assert service.bodies[-1] == '{"a":"é","b":1}'.encode()


async def test_request_without_json_has_no_body(service: Service, send: Send) -> None:
    service.answers["/"] = reply(200, b"1")
    await send()
    assert service.bodies[-1] == b""
    assert "content-type" not in service.headers()
    await send(method="POST", json=None)
    assert service.bodies[-1] == b"null"


async def test_author_may_name_the_idempotency_key(service: Service, send: Send) -> None:
    service.answers["/"] = reply(200, b"1")
    await send(headers={"idempotency-key": "order-7"})
    assert service.headers()["idempotency-key"] == "order-7"
    assert sum("idempotency-key" in line.lower() for line in service.heads[-1]) == 1


async def test_correlation_id_from_outside_cannot_split_the_request(
    service: Service, ctx: StepContext
) -> None:
    from msgspec.structs import replace

    service.answers["/"] = reply(200, b"1")
    executor = HttpExecutor(AllowList.parse([f"127.0.0.1:{service.port}"]))
    strange = replace(ctx, correlation_id="a\r\nX-Evil: é")
    await executor.execute(WORK, {"method": "GET", "url": service.url()}, strange, {})
    await executor.aclose()
    assert service.headers()["x-correlation-id"] == "a%0D%0AX-Evil:%20%C3%A9"
    assert "x-evil" not in service.headers()


async def test_environment_proxies_are_not_used(
    service: Service, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    service.answers["/"] = reply(200, b"1")
    assert await send() == 1


async def test_cookies_of_one_step_do_not_reach_the_next(service: Service, send: Send) -> None:
    service.answers["/"] = reply(200, b"1", extra="Set-Cookie: session=1; Path=/\r\n")
    await send()
    await send()
    assert "cookie" not in service.headers()


# Secrets


async def test_header_is_filled_from_the_environment(service: Service, send: Send) -> None:
    service.answers["/"] = reply(200, b"1")
    await send(headers={"Authorization": {"env": "FEDCORE_SECRET_PAY"}})
    assert service.headers()["authorization"] == SECRET


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("FEDCORE_SECRET_KEY", "RequestRefused"),
        ("FEDCORE_SECRET_", "RequestRefused"),
        ("HOME", "RequestRefused"),
        ("FEDCORE_DATABASE_URL", "RequestRefused"),
        ("FEDCORE_SECRET_PAY\n", "RequestRefused"),
        ("FEDCORE_SECRET_SPLIT", "RequestRefused"),
        ("FEDCORE_SECRET_OTHER", "SecretMissing"),
        ("FEDCORE_SECRET_EMPTY", "SecretMissing"),
    ],
)
async def test_secret_that_may_not_be_sent(
    service: Service, send: Send, name: str, type_: str
) -> None:
    refusal = await failure(send(headers={"X-Secret": {"env": name}}))
    assert (refusal.type, refusal.retriable) == (type_, False)
    assert ENVIRON.get(name) not in (refusal.message, *refusal.message.split())
    assert service.heads == []


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("echoed", [SECRET, SECRET.split()[1]])
async def test_secret_that_the_service_repeats_is_blotted_out(
    service: Service, send: Send, status: int, echoed: str
) -> None:
    service.answers["/"] = reply(status, json.dumps({"seen": f"<{echoed}>"}).encode())
    headers = {"Authorization": {"env": "FEDCORE_SECRET_PAY"}}
    if status == 200:
        assert await send(headers=headers) == {"seen": "<***>"}
    else:
        refusal = await failure(send(headers=headers))
        assert "s3cret" not in refusal.message
        assert refusal.message.endswith("what it says is withheld, for a secret was sent")


@pytest.mark.parametrize(
    "spelt",
    [
        "".join(f"\\u{ord(c):04x}" for c in SECRET),
        base64.b64encode(SECRET.split()[1].encode()).decode(),
        quote(SECRET, safe=""),
    ],
    ids=["escaped in JSON", "base64", "percent"],
)
async def test_secret_that_the_service_spells_otherwise_is_blotted_out(
    service: Service, send: Send, spelt: str
) -> None:
    service.answers["/"] = reply(200, f'{{"seen": "<{spelt}>", "{spelt}": 1}}'.encode())
    answer = await send(headers={"Authorization": {"env": "FEDCORE_SECRET_PAY"}})
    assert SECRET.split()[1] not in json.dumps(answer)
    assert spelt not in json.dumps(answer)
    assert "***" in answer["seen"]


async def test_input_cannot_choose_a_secret(service: Service, send: Send) -> None:
    """A header that was computed, from a run's input perhaps, is a text or it is refused."""
    computed = HttpWork("GET", "", headers={"X-Trace": "${input.trace}"})
    asked = {"X-Trace": {"env": "FEDCORE_SECRET_PAY"}}
    refusal = await failure(send(headers=asked, work=computed))
    assert refusal.type == "RequestRefused"
    assert service.heads == []


# Requests that are refused before anything is sent


@pytest.mark.parametrize(
    "request_",
    [
        {},
        [],
        "GET http://127.0.0.1/",
        {"method": "GET"},
        {"method": "CONNECT"},
        {"method": "TRACE"},
        {"method": "GET\r\nX: 1"},
        {"method": ""},
        {"body": "x"},
        {"headers": {"X": None}},
        {"headers": {"X": True}},
        {"headers": {"X": {"env": "FEDCORE_SECRET_PAY", "or": "x"}}},
        {"headers": {"X": "a\r\nX-Evil: 1"}},
        {"headers": {"X": "a\nb"}},
        {"headers": {"X": "a\0b"}},
        {"headers": {"X": "é"}},
        {"headers": {"X\r\nX-Evil": "1"}},
        {"headers": {"X:": "1"}},
        {"headers": {"": "1"}},
        {"headers": {"Host": "evil.example"}},
        {"headers": {"hOST": "evil.example"}},
        {"headers": {"Content-Length": "0"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"Connection": "Upgrade"}},
        {"headers": {"Accept-Encoding": "br"}},
        {"url": "ftp://127.0.0.1/"},
        {"url": "file:///etc/passwd"},
        {"url": "unix://x/"},
        {"url": "//127.0.0.1/"},
        {"url": "127.0.0.1"},
        {"url": "http:///x"},
        {"url": "http://user@127.0.0.1:PORT/"},
        {"url": "http://:pw@127.0.0.1:PORT/"},
        {"url": "http://127.0.0.1:PORT\\@evil.example/"},
        {"url": "http://127.0.0.1:PORT/\r\nX: 1"},
        {"url": "http://127.0.0.1:99999/"},
        {"url": "http://127.0.0.1:-1/"},
        {"url": "http://0177.0.0.1:PORT/"},
        {"url": "http://[::1/"},
        {"url": ""},
        {"url": 7},
    ],
)
async def test_request_that_is_none_is_refused(
    service: Service, send: Send, request_: Any, ctx: StepContext
) -> None:
    if isinstance(request_, dict) and request_ and request_ != {"method": "GET"}:
        request_ = {"method": "GET", "url": service.url(), **request_}
        request_["url"] = str(request_["url"]).replace("PORT", str(service.port))
    allow = AllowList.parse([f"127.0.0.1:{service.port}"])
    refusal = await failure(HttpExecutor(allow, environ=ENVIRON).execute(WORK, request_, ctx, {}))
    assert (refusal.type, refusal.retriable) == ("RequestRefused", False)
    assert service.heads == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "https://127.0.0.1/",
        "http://localhost:PORT/",
        "http://127.1:PORT/",
        "http://2130706433:PORT/",
        "http://0x7f000001:PORT/",
        "http://[::1]:PORT/",
        "http://[::ffff:127.0.0.1]:PORT/",
        "http://127.0.0.1.:PORT/",
        "http://127.0.0.1.evil.example:PORT/",
        "http://evil.example/127.0.0.1:PORT",
        "http://evil.example?@127.0.0.1:PORT/",
        "http://evil.example#@127.0.0.1:PORT/",
    ],
)
async def test_host_that_is_not_listed_is_refused(service: Service, send: Send, url: str) -> None:
    refusal = await failure(send(url=url.replace("PORT", str(service.port))))
    assert (refusal.type, refusal.retriable) == ("HostRefused", False)
    assert service.heads == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
async def test_wildcard_does_not_reach_a_private_address(
    service: Service, ctx: StepContext, host: str
) -> None:
    executor = HttpExecutor(AllowList.parse(["*"]))
    request = {"method": "GET", "url": service.url(host=host)}
    refusal = await failure(executor.execute(WORK, request, ctx, {}))
    await executor.aclose()
    assert (refusal.type, refusal.retriable) == ("AddressRefused", False)
    assert service.heads == []


@given(
    st.dictionaries(st.text("aX-:\r\né", max_size=4), st.text(max_size=6), max_size=2),
    st.sampled_from(["", "a.example", "a.example/", "a.example:80"]),
    st.text(max_size=10),
)
def test_no_header_or_url_gets_past_the_rules(
    headers: dict[str, str], host: str, rest: str
) -> None:
    ctx = StepContext(
        run_id="r",
        step_id="s",
        attempt=1,
        idempotency_key="r:s:1",
        tenant="t",
        actor_id="a",
        correlation_id="c",
    )
    asked = {"method": "GET", "url": f"http://{host}{rest}", "headers": headers}
    try:
        request = prepare(WORK, asked, ctx, AllowList.parse(["*.example"]), {})
    except StepError:
        return
    assert request.url.host.endswith(".example")
    assert all(32 <= ord(c) < 127 or c == "\t" for v in request.headers.values() for c in v)


# Names and addresses


async def test_name_stays_in_the_host_header_when_the_address_is_pinned(
    service: Service, ctx: StepContext
) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    service.answers["/"] = reply(200, b"1")
    allow = AllowList.parse([f"pay.example:{service.port}"])
    executor = HttpExecutor(allow, resolver=resolver)
    request = {"method": "GET", "url": service.url(host="pay.example")}
    assert await executor.execute(WORK, request, ctx, {}) == 1
    await executor.aclose()
    assert service.headers()["host"] == f"pay.example:{service.port}"


async def test_name_stays_in_the_tls_handshake_when_the_address_is_pinned(ctx: StepContext) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    hello: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello.append(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    executor = HttpExecutor(AllowList.parse([f"pay.example:{port}"]), resolver=resolver)
    request = {"method": "GET", "url": f"https://pay.example:{port}/"}
    refusal = await failure(executor.execute(WORK, request, ctx, {}))
    await executor.aclose()
    server.close()
    assert (refusal.type, refusal.retriable) == ("ConnectError", True)
    assert b"pay.example" in hello[0]


async def test_name_that_leads_to_a_private_address_is_refused(
    service: Service, ctx: StepContext
) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    executor = HttpExecutor(AllowList.parse(["*.example"]), resolver=resolver)
    request = {"method": "GET", "url": service.url(host="evil.example")}
    refusal = await failure(executor.execute(WORK, request, ctx, {}))
    await executor.aclose()
    assert refusal.type == "AddressRefused"
    assert service.heads == []


# What is taken back


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (reply(200, b"[1, null]"), [1, None]),
        (reply(200, b"{}", "application/problem+json; charset=utf-8"), {}),
        (reply(200, b"{}", "APPLICATION/JSON"), {}),
        (reply(200, b"{}", "text/plain"), {"text": "{}"}),
        (reply(200, "é".encode(), "text/html"), {"text": "é"}),
        (reply(204), None),
        (reply(200), None),
        (reply(200, zipped(b'{"a":1}'), extra="Content-Encoding: gzip\r\n"), {"a": 1}),
        (reply(200, b"1", extra="Content-Encoding: identity\r\n"), 1),
    ],
)
async def test_answer(service: Service, send: Send, answer: bytes, output: Any) -> None:
    service.answers["/"] = answer
    assert await send() == output


async def test_head_has_no_body(service: Service, send: Send) -> None:
    service.answers["/"] = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
    assert await send(method="HEAD") is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b'{"a": 1, "a": 2}', "application/json"),
        (b'{"a": NaN}', "application/json"),
        (b"9007199254740993", "application/json"),
        (b"[" * 40 + b"]" * 40, "application/json"),
        (b'"\xff"', "application/json"),
        (b"\xff\xfe", "text/plain"),
        (b"\x89PNG\xff", "image/png"),
    ],
)
async def test_answer_that_cannot_be_held_is_refused(
    service: Service, send: Send, body: bytes, kind: str
) -> None:
    service.answers["/"] = reply(200, body, kind)
    refusal = await failure(send())
    assert (refusal.type, refusal.retriable) == ("AnswerRefused", False)
    assert refusal.message.startswith(f"GET {service.url()} answered 200")


@pytest.mark.parametrize(
    ("status", "retriable"),
    [
        (400, False),
        (401, False),
        (404, False),
        (408, True),
        (409, False),
        (422, False),
        (425, True),
        (429, True),
        (500, True),
        (503, True),
        (599, True),
    ],
)
async def test_error_status_fails_the_step(
    service: Service, send: Send, status: int, retriable: bool
) -> None:
    service.answers["/x?key=1"] = reply(status, b'{"why":\n  "closed"}')
    refusal = await failure(send("/x?key=1", "POST", json=1))
    assert (refusal.type, refusal.retriable) == ("HttpStatus", retriable)
    assert refusal.message == (f'POST {service.url("/x")} answered {status}: {{"why": "closed"}}')


async def test_error_answer_is_quoted_in_part(service: Service, send: Send) -> None:
    service.answers["/"] = reply(500, b"x" * 5_000, "text/plain")
    assert (await failure(send())).message.endswith(": " + "x" * 300)


async def test_error_answer_that_cannot_be_read_is_an_error_answer(
    service: Service, send: Send
) -> None:
    service.answers["/"] = reply(502, b"x", extra="Content-Encoding: gzip\r\n")
    refusal = await failure(send())
    assert (refusal.type, refusal.retriable) == ("HttpStatus", True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["/other", "http://169.254.169.254/", "file:///etc/passwd"])
async def test_redirect_is_not_followed(
    service: Service, send: Send, status: int, target: str
) -> None:
    service.answers["/"] = reply(status, extra=f"Location: {target}\r\n")
    refusal = await failure(send())
    assert (refusal.type, refusal.retriable) == ("Redirect", False)
    assert len(service.heads) == 1


async def test_huge_answer_is_cut_off(service: Service, send: Send) -> None:
    """It announces a terabyte; the executor hangs up long before."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000000"
    service.answers["/"] = head + b"\r\n\r\n" + b"1" * 20_000
    refusal = await failure(send())
    assert (refusal.type, refusal.retriable) == ("AnswerRefused", False)
    assert "over 10000 bytes" in refusal.message


async def test_answer_of_exactly_the_limit_is_taken(service: Service, send: Send) -> None:
    service.answers["/"] = reply(200, b"x" * 10_000, "text/plain")
    assert len((await send())["text"]) == 10_000
    service.answers["/"] = reply(200, b"x" * 10_001, "text/plain")
    assert (await failure(send())).type == "AnswerRefused"


async def test_gzip_bomb_is_not_inflated(service: Service, send: Send) -> None:
    bomb = zipped(b"0" * 5_000_000)
    assert len(bomb) < 10_000
    service.answers["/"] = reply(200, bomb, extra="Content-Encoding: gzip\r\n")
    tracemalloc.start()
    refusal = await failure(send())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_500_000
    assert refusal.type == "AnswerRefused"
    assert "over 10000 bytes" in refusal.message


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"no gzip"),
        ("gzip", zipped(b"1")[:-1]),
        ("gzip", zipped(b"1") + zipped(b"2")),
        ("gzip, gzip", zipped(zipped(b"1"))),
        ("deflate", zlib.compress(b"1")),
        ("br", b"1"),
    ],
)
async def test_coding_that_is_broken_or_was_not_asked_for_is_refused(
    service: Service, send: Send, coding: str, body: bytes
) -> None:
    service.answers["/"] = reply(200, body, extra=f"Content-Encoding: {coding}\r\n")
    assert (await failure(send())).type == "AnswerRefused"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
    ids=["nothing", "cut short", "other protocol", "endless head"],
)
async def test_broken_connection_is_retriable(ctx: StepContext, answer: bytes) -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    executor = HttpExecutor(AllowList.parse([f"127.0.0.1:{port}"]))
    request = {"method": "GET", "url": f"http://127.0.0.1:{port}/"}
    refusal = await failure(executor.execute(WORK, request, ctx, {}))
    await executor.aclose()
    server.close()
    assert (refusal.type, refusal.retriable) == ("RemoteProtocolError", True)


async def test_server_that_is_not_there_is_retriable(service: Service, ctx: StepContext) -> None:
    gone = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    port = gone.sockets[0].getsockname()[1]
    gone.close()
    executor = HttpExecutor(AllowList.parse([f"127.0.0.1:{port}"]))
    request = {"method": "GET", "url": f"http://127.0.0.1:{port}/?token=1"}
    refusal = await failure(executor.execute(WORK, request, ctx, {}))
    await executor.aclose()
    assert (refusal.type, refusal.retriable) == ("ConnectError", True)
    assert f"GET http://127.0.0.1:{port}/ failed" in refusal.message
    assert "token" not in refusal.message


@pytest.mark.parametrize(
    "answer",
    [None, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1"],
    ids=["never answers", "stops in the middle"],
)
async def test_slow_server_times_out(
    service: Service, ctx: StepContext, answer: bytes | None
) -> None:
    service.answers["/"] = answer
    executors = Executors.build(http_allow=[f"127.0.0.1:{service.port}"])
    spec = StepSpec(id="act", type=StepType.ACT, work=WORK, timeout_ms=50)
    request: Mapping[str, Any] = {"method": "GET", "url": service.url()}
    refusal = await failure(run_step(executors, spec, request, ctx, {}))
    await executors.aclose()
    assert (refusal.type, refusal.retriable) == ("Timeout", True)


async def test_executor_can_be_used_again_after_it_was_closed(
    service: Service, ctx: StepContext
) -> None:
    service.answers["/"] = reply(200, b"1")
    executor = HttpExecutor(AllowList.parse([f"127.0.0.1:{service.port}"]))
    for _ in range(2):
        request = {"method": "GET", "url": service.url()}
        assert await executor.execute(WORK, request, ctx, {}) == 1
        await executor.aclose()
    await executor.aclose()
