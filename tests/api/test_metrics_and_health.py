"""What monitoring reads, without a token."""

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.api_helpers import Http, Server

from federation_core import __version__


def samples(server: Server) -> dict[str, float]:
    answer = httpx.get(f"{server.url}/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        sample.name + "".join(f"|{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_health_in_both_forms(dev: Server) -> None:
    plain = httpx.get(f"{dev.url}/health").json()
    assert (plain["status"], plain["version"]) == ("healthy", __version__)
    answer = httpx.get(f"{dev.url}/api/v1/health", headers={"X-Correlation-Id": "c-1"})
    body = answer.json()
    assert set(body) == {"ok", "data", "error", "meta"}
    assert (body["ok"], body["error"], body["data"]["status"]) == (True, None, "ok")
    assert set(body["data"]) == {"status", "version", "uptime_s"}
    assert body["meta"]["correlation_id"] == "c-1"
    assert body["meta"]["request_id"] == answer.headers["X-Request-Id"]
    assert body["meta"]["ts"].endswith("Z")


def test_requests_and_commits_are_counted(dev: Server, http: Http) -> None:
    before = samples(dev)
    http.run()
    http.get("/workflows/runs/nobody")
    after = samples(dev)
    for name in (
        "fedcore_http_requests_total|POST|create_run|201",
        "fedcore_http_requests_total|GET|get_run|404",
        "fedcore_ledger_commits_total",
    ):
        assert after[name] > before.get(name, 0)
    assert after["fedcore_runs_driving"] == 0
    assert after["process_resident_memory_bytes"] > 0


def test_paths_that_somebody_makes_up_are_counted_as_one(dev: Server) -> None:
    for n in range(3):
        httpx.get(f"{dev.url}/made-up-{n}")
        httpx.request(f"FROB{n}", f"{dev.url}/health")
    assert not [name for name in samples(dev) if "made-up" in name or "FROB" in name]
