"""Where `http` steps may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import SettingsError
from federation_core.executors.allow import AllowList, HostPattern


@pytest.mark.parametrize(
    ("pattern", "host", "port", "is_allowed"),
    [
        ("api.example.com", "api.example.com", 443, True),
        ("api.example.com", "api.example.com", 8080, True),
        ("api.example.com", "API.Example.COM", 443, True),
        ("API.example.com", "api.example.com", 443, True),
        ("api.example.com", "xapi.example.com", 443, False),
        ("api.example.com", "api.example.com.evil.org", 443, False),
        ("api.example.com", "apixexample.com", 443, False),
        ("api.example.com:443", "api.example.com", 443, True),
        ("api.example.com:443", "api.example.com", 80, False),
        ("api.example.com:*", "api.example.com", 80, True),
        ("*.example.com", "api.example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", ".example.com", 443, False),
        ("*.example.com", "evilexample.com", 443, False),
        ("*.example.com", "api.example.com.evil.org", 443, False),
        ("*.example.com:443", "api.example.com", 444, False),
        ("api-*.example.com", "api-eu.example.com", 443, True),
        ("api-*.example.com", "api-.example.com", 443, False),
        ("*", "anything.org", 1, True),
        ("*", "93.184.216.34", 1, True),
        ("*:443", "anything.org", 80, False),
        ("127.0.0.1:9000", "127.0.0.1", 9000, True),
        ("127.0.0.1:9000", "127.0.0.1", 9001, False),
        ("127.0.0.1:9000", "127.1", 9000, False),
        ("127.0.0.1:9000", "2130706433", 9000, False),
        ("127.0.0.1:9000", "::ffff:127.0.0.1", 9000, False),
        ("[::1]:9000", "::1", 9000, True),
        ("[::1]:9000", "0:0:0:0:0:0:0:1", 9000, True),
        ("[0:0::1]", "::1", 9000, True),
        ("[::1]:9000", "::2", 9000, False),
    ],
)
def test_pattern(pattern: str, host: str, port: int, is_allowed: bool) -> None:
    assert AllowList.parse([pattern]).allows(host, port) is is_allowed


@given(st.text(), st.integers(1, 65_535))
def test_empty_list_allows_nothing(host: str, port: int) -> None:
    assert not AllowList.parse([]).allows(host, port)


@pytest.mark.parametrize("pattern", ["*", "*:9000", "127.*", "*.0.0.1", "local*", "l*t:9000"])
def test_wildcard_names_nobody(pattern: str) -> None:
    """It may allow the host, but does not answer for a private address."""
    allow = AllowList.parse([pattern])
    assert not allow.names("127.0.0.1", 9000)
    assert not allow.names("localhost", 9000)


def test_literal_entry_names_its_host_and_port() -> None:
    allow = AllowList.parse(["localhost:9000", "*"])
    assert allow.names("LOCALHOST", 9000)
    assert not allow.names("localhost", 9001)
    assert not allow.names("127.0.0.1", 9000)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        " ",
        "https://api.example.com",
        "api.example.com/path",
        "user@api.example.com",
        "api.example.com:",
        "api.example.com:0",
        "api.example.com:65536",
        "api.example.com:80:80",
        "a b.example.com",
        "::1",
        "bücher.example",
    ],
)
def test_entry_that_is_no_pattern_is_a_mistake_in_the_settings(entry: str) -> None:
    with pytest.raises(SettingsError, match="must read `host` or `host:port`"):
        HostPattern.parse(entry)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        pattern = HostPattern.parse(text)
    except SettingsError:
        return
    assert pattern.matches(pattern.host.replace("*", "x"), pattern.port or 80)
