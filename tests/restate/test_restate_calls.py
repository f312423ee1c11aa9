"""Who may call the endpoint that Restate calls: Restate, and nobody else."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.api_helpers import SECRET, bearer
from tests.restate.outside import Outside
from tests.restate.restate_helpers import Node, RestateServer, start, step, until

from federation_core.engine.restate.options import token_of

PATHS = [
    ("GET", "/restate/discover"),
    ("GET", "/restate/health"),
    ("POST", "/restate/invoke/Run-1/drive"),
    ("POST", "/restate/x/../invoke/Run-1/drive"),
    ("POST", "/restate/x/restate/invoke/Run-1/drive"),
    ("GET", "/restate/"),
]
TOKEN = token_of(SECRET)
AUTHORIZED = {
    "authorization": f"Bearer {TOKEN}",
    "accept": "application/vnd.restate.endpointmanifest.v4+json",
}
WRONG = {
    "nothing": [],
    "a token of the API": [f"Bearer {bearer()}"],
    "a token of another installation": [f"Bearer {token_of('another secret')}"],
    "no bearer": [TOKEN],
    "a little less": [f"Bearer {TOKEN[:-1]}"],
    "a little more": [f"Bearer {TOKEN}0"],
    "the right one and another": [f"Bearer {TOKEN}", "Bearer x"],
    "not ASCII": ["Bearer \xe9"],
}


@pytest.fixture(scope="module")
def node(shared_restate: RestateServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node"), shared_restate) as server:
        server.until_engine("available")
        yield server


@pytest.fixture(scope="module")
def anybody(node: Node) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=node.url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("shown", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_the_token_nothing_is_answered(
    anybody: httpx.Client, method: str, path: str, shown: list[str]
) -> None:
    headers = [(b"authorization", value.encode("latin-1")) for value in shown]
    answer = anybody.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["x-request-id"]
    assert TOKEN not in answer.text


def test_with_the_token_it_is_restates(
    anybody: httpx.Client, node: Node, shared_restate: RestateServer
) -> None:
    answer = anybody.get("/restate/discover", headers=AUTHORIZED)
    assert answer.status_code == 200
    [service] = answer.json()["services"]
    assert service["name"] == shared_restate.service_at(node.url)
    [handler] = service["handlers"]
    assert handler["name"] == "drive"


@pytest.mark.parametrize("path", ["/restate", "/restated/discover", "/Restate/discover"])
def test_other_paths_are_not_restates(anybody: httpx.Client, path: str) -> None:
    assert anybody.get(path, headers=AUTHORIZED).status_code == 404


def test_the_token_opens_nothing_else(anybody: httpx.Client) -> None:
    assert anybody.get("/workflows/runs", headers=AUTHORIZED).status_code == 401


def test_restate_signs_where_its_key_is_set(tmp_path: Path, outside: Outside) -> None:
    """The token alone is not enough then; nor is another key, another time, or another request."""
    key = Ed25519PrivateKey.generate()
    folder = tmp_path / "restate"
    folder.mkdir()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "identity.pem").write_bytes(pem)
    more = f'[worker.invoker]\nrequest-identity-private-key-pem-file = "{folder}/identity.pem"'
    with RestateServer(folder, tables=more) as restate:
        restate.start()
        settings = {"restate_identity_key": _public(key)}
        with Node(tmp_path / "node", restate, **settings) as node, node.client() as http:
            node.until_engine("available")
            run_id = start(http, step("a", outside))
            assert until(http, run_id)["run"]["status"] == "completed"
            url = f"{node.url}/restate/discover"
            other = Ed25519PrivateKey.generate()
            now = int(time.time())
            attempts = {
                "unsigned": {},
                "another key": _signed(other, _public(other), now),
                "another key under this one's name": _signed(other, _public(key), now),
                "an hour ago": _signed(key, _public(key), now - 3_600),
            }
            for why, headers in attempts.items():
                answer = httpx.get(url, headers=AUTHORIZED | headers, trust_env=False)
                assert answer.status_code == 401, why
            shown = AUTHORIZED | _signed(key, _public(key), now)
            assert httpx.get(url, headers=shown, trust_env=False).status_code == 200
    assert outside.names() == ["a"]


def _public(key: Ed25519PrivateKey) -> str:
    """As Restate writes it: base58 after the name of the scheme."""
    digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    raw = key.public_key().public_bytes_raw()
    number, text = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        text = digits[digit] + text
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return f"publickeyv1_{digits[0] * zeros}{text}"


def _signed(key: Ed25519PrivateKey, kid: str, now: int) -> dict[str, str]:
    """The headers of a request that Restate signed at `now` (a JWT, EdDSA)."""
    parts = [
        {"alg": "EdDSA", "typ": "JWT", "kid": kid},
        {"aud": "/discover", "iat": now, "nbf": now - 60, "exp": now + 60},
    ]
    said = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
    return {
        "x-restate-signature-scheme": "v1",
        "x-restate-jwt-v1": f"{said}.{_base64url(key.sign(said.encode()))}",
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
