"""Addresses that may be reached, and names that change their answer."""

from collections.abc import Iterable, Sequence

import httpcore
import pytest

from federation_core.executors import AllowList, StepError
from federation_core.executors.network import GuardedBackend, is_public, resolve

PUBLIC = "93.184.216.34"
PUBLIC_6 = "2606:2800:220:1:248:1893:25c8:1946"


class Answers:
    """A name server that gives each of its answers once, then the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class Outside(httpcore.AsyncNetworkBackend):
    """The internet, as far as these tests go there: it notes where a connection would go."""

    def __init__(self, unreachable: frozenset[str] = frozenset()) -> None:
        self.connected: list[str] = []
        self._unreachable = unreachable

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        if host in self._unreachable:
            raise httpcore.ConnectTimeout(host)
        return httpcore.AsyncMockStream([])


@pytest.mark.parametrize(
    "address",
    [PUBLIC, PUBLIC_6, "8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_public_address(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",  # where clouds keep their credentials
        "100.64.0.1",
        "192.0.0.8",
        "192.0.0.200",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::",
        "2001:0:7f00:1::",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
        "5f00::1",
        "",
        "localhost",
        "127.1",
        "0177.0.0.1",
        "2130706433",
        "8.8.8.8:80",
    ],
)
def test_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)


async def test_connection_goes_to_the_address_that_was_checked() -> None:
    outside = Outside()
    backend = GuardedBackend(AllowList.parse(["*.example"]), Answers([PUBLIC]), outside)
    await backend.connect_tcp("api.example", 443)
    assert outside.connected == [PUBLIC]


async def test_name_that_changes_its_answer_gains_nothing() -> None:
    """DNS rebinding: the name is resolved once for each connection, and that answer is used."""
    outside, answers = Outside(), Answers([PUBLIC], ["127.0.0.1"])
    backend = GuardedBackend(AllowList.parse(["*"]), answers, outside)
    await backend.connect_tcp("evil.example", 443)
    assert answers.asked == 1
    with pytest.raises(StepError) as caught:
        await backend.connect_tcp("evil.example", 443)
    assert (caught.value.type, caught.value.retriable) == ("AddressRefused", False)
    assert "127.0.0.1" in caught.value.message
    assert outside.connected == [PUBLIC]


@pytest.mark.parametrize(
    "answer",
    [["127.0.0.1"], [PUBLIC, "10.0.0.1"], [PUBLIC, "::ffff:10.0.0.1"], ["no address"], ["fe80::1"]],
)
async def test_one_private_address_among_the_answers_is_enough(answer: list[str]) -> None:
    outside = Outside()
    backend = GuardedBackend(AllowList.parse(["*"]), Answers(answer), outside)
    with pytest.raises(StepError, match="not a public address"):
        await backend.connect_tcp("evil.example", 443)
    assert outside.connected == []


async def test_literal_entry_reaches_a_private_address() -> None:
    outside = Outside()
    allow = AllowList.parse(["*", "crm.internal:8080"])
    backend = GuardedBackend(allow, Answers(["10.1.2.3"]), outside)
    await backend.connect_tcp("crm.internal", 8080)
    assert outside.connected == ["10.1.2.3"]
    with pytest.raises(StepError, match=r"crm\.internal:8081 itself"):
        await backend.connect_tcp("crm.internal", 8081)


async def test_backend_checks_the_host_itself() -> None:
    """Whoever asks it for a connection: the check before sending is not the only one."""
    answers = Answers([PUBLIC])
    backend = GuardedBackend(AllowList.parse(["a.example"]), answers, Outside())
    with pytest.raises(StepError) as caught:
        await backend.connect_tcp("b.example", 443)
    assert caught.value.type == "HostRefused"
    assert answers.asked == 0


async def test_next_address_is_tried_where_one_does_not_answer() -> None:
    outside = Outside(unreachable=frozenset({PUBLIC_6}))
    backend = GuardedBackend(AllowList.parse(["*"]), Answers([PUBLIC_6, PUBLIC]), outside)
    await backend.connect_tcp("api.example", 443)
    assert outside.connected == [PUBLIC_6, PUBLIC]


async def test_last_failure_is_told_where_no_address_answers() -> None:
    outside = Outside(unreachable=frozenset({PUBLIC_6, PUBLIC}))
    backend = GuardedBackend(AllowList.parse(["*"]), Answers([PUBLIC_6, PUBLIC]), outside)
    with pytest.raises(httpcore.ConnectTimeout, match=PUBLIC):
        await backend.connect_tcp("api.example", 443)


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long")])
async def test_name_without_an_answer_cannot_be_connected(error: Exception) -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise error

    backend = GuardedBackend(AllowList.parse(["*"]), nobody, Outside())
    with pytest.raises(httpcore.ConnectError, match="cannot be resolved"):
        await backend.connect_tcp("api.example", 443)


async def test_name_with_an_empty_answer_cannot_be_connected() -> None:
    backend = GuardedBackend(AllowList.parse(["*"]), Answers([]), Outside())
    with pytest.raises(httpcore.ConnectError, match="has no address"):
        await backend.connect_tcp("api.example", 443)


@pytest.mark.parametrize("spelling", ["127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433"])
async def test_odd_spellings_of_an_address_are_resolved_before_the_check(spelling: str) -> None:
    assert await resolve(spelling, 80) == ["127.0.0.1"]
    outside = Outside()
    with pytest.raises(StepError, match=r"127\.0\.0\.1, which is not a public address"):
        await GuardedBackend(AllowList.parse(["*"]), inner=outside).connect_tcp(spelling, 80)
    assert outside.connected == []
