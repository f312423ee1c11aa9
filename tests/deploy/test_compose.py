"""The compose file: it is well-formed, safe by default, and agrees with the server."""

import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from tests.deploy.deploy_files import (
    COMPOSE,
    DRAIN_S,
    PATHS,
    SETTINGS,
    check_value,
    read_yaml,
    seconds,
    variables,
)

from federation_core.settings import load_settings
from federation_core.spine.workflow_file import parse_workflow

TEXT = (COMPOSE / "compose.yaml").read_text("utf-8")
FILE: dict[str, Any] = read_yaml(COMPOSE / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
NODES = {name: service for name, service in SERVICES.items() if name.startswith("node-")}
CADDYFILE = (COMPOSE / "Caddyfile").read_text("utf-8")


def test_it_is_what_the_specification_says() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema_rs.validator_for(json.loads(schema.read_text("utf-8")))
    assert [error.message for error in validator.iter_errors(FILE)] == []


def test_there_are_two_nodes_and_they_are_alike() -> None:
    assert len(NODES) >= 2
    first, *others = NODES.values()
    assert all(other == first for other in others)


def test_only_the_balancer_is_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["balancer"]
    assert FILE["networks"]["back"] == {"internal": True}
    for name in ("postgres", "restate"):
        assert SERVICES[name]["networks"] == ["back"]
    assert SERVICES["balancer"]["networks"] == ["front"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_is_watched_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in service["security_opt"]
    if name not in NODES:  # theirs is in the image
        assert service["healthcheck"]["test"][0] == "CMD"
    for needed, how in service.get("depends_on", {}).items():
        assert needed in SERVICES
        assert how == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", sorted(NODES))
def test_a_node_is_locked_in_and_has_time_to_drain(name: str) -> None:
    node = NODES[name]
    assert node["read_only"] is True
    assert node["cap_drop"] == ["ALL"]
    assert seconds(node["stop_grace_period"]) > DRAIN_S
    written = {entry.partition(":")[0] for entry in node["tmpfs"]}
    assert written == {"/tmp", "/var/lib/fedcore"}


def test_restate_and_the_nodes_find_each_other() -> None:
    node = NODES["node-1"]
    (alias,) = node["networks"]["back"]["aliases"]
    port = load_settings({}, {}).port
    told = variables(node["environment"])
    assert told["restate_endpoint"] == f"http://{alias}:{port}/restate"
    assert told["restate_url"] == "http://restate:8080"


def test_each_variable_of_a_node_is_a_setting_and_takes_its_value() -> None:
    mounted = {volume.split(":")[1] for volume in NODES["node-1"]["volumes"]}
    defaults = re.compile(r"\$\{\w+:-([^}]*)\}")
    for name, value in variables(NODES["node-1"]["environment"]).items():
        folders = frozenset(mounted | {"/run/secrets"})
        check_value(name, defaults.sub(r"\1", value), folders=folders)


def test_what_is_mounted_and_named_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (COMPOSE / source).exists(), source
            else:
                assert source in FILE["volumes"]
        assert set(service.get("secrets", [])) <= set(FILE["secrets"])
        assert set(service["networks"]) <= set(FILE["networks"])
    for workflow in (COMPOSE / "workflows").glob("*.yaml"):
        parse_workflow(workflow.read_text("utf-8"))


def test_the_example_names_what_can_be_said_and_says_nothing_unsafe() -> None:
    example = (COMPOSE / ".env.example").read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+)", TEXT))
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) == asked
    assert re.findall(r"^(?!#).+$", example, re.MULTILINE) == ["SITE="]
    assert "${SITE:?" in TEXT
    for name in {name.removeprefix("FEDCORE_") for name in asked if name.startswith("FEDCORE_")}:
        assert name.lower() in SETTINGS


def make_secrets(folder: Path) -> Path:
    folder.mkdir()
    script = shutil.copy(COMPOSE / "make-secrets.sh", folder)
    subprocess.run([script], check=True, capture_output=True)
    return folder / "secrets"


def test_the_script_makes_each_secret_and_the_settings_take_them(tmp_path: Path) -> None:
    made = make_secrets(tmp_path / "compose")
    assert {path.name for path in made.iterdir()} == set(FILE["secrets"])
    assert all(entry == {"file": f"./secrets/{name}"} for name, entry in FILE["secrets"].items())
    assert made.stat().st_mode & 0o777 == 0o700

    password = (made / "postgres_password").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    owner, database = (SERVICES["postgres"]["environment"][f"POSTGRES_{k}"] for k in ("USER", "DB"))
    url = f"postgresql://{owner}:{password}@postgres:5432/{database}"
    assert (made / "database_url").read_text() == url

    given = set(NODES["node-1"]["secrets"])
    assert given <= SETTINGS
    for name in set(FILE["secrets"]) - given | {"database_url"}:
        (made / name).unlink()
    environ = {"FEDCORE_SECRETS_DIR": str(made), "FEDCORE_DATA_DIR": str(tmp_path)}
    found = load_settings({}, environ)
    assert found.origins["secret_key"] == found.origins["signing_key"] == "secret"
    assert found.signing_key is not None
    assert found.secret_key is not None
    assert len(found.signing_key) == 32
    assert len(found.secret_key) >= 43


def test_the_script_writes_nothing_over_and_never_the_same(tmp_path: Path) -> None:
    first, second = make_secrets(tmp_path / "a"), make_secrets(tmp_path / "b")
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    subprocess.run([tmp_path / "a" / "make-secrets.sh"], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert all((second / name).read_bytes() != text for name, text in before.items())


def test_secrets_never_get_into_git() -> None:
    ignored = (COMPOSE / ".gitignore").read_text("utf-8").splitlines()
    assert {"secrets/", ".env"} <= set(ignored)


def test_the_balancer_asks_the_nodes_how_they_are() -> None:
    (targets,) = re.findall(r"reverse_proxy (.*) \{", CADDYFILE)
    port = load_settings({}, {}).port
    assert targets.split() == [f"{name}:{port}" for name in NODES]
    (asked,) = re.findall(r"health_uri (\S+)", CADDYFILE)
    assert asked == "/health/ready"
    (closed,) = re.findall(r"@inside path (.*)", CADDYFILE)
    assert set(closed.split()) == {asked, "/metrics", "/restate/*"}
    assert {asked, "/metrics"} <= PATHS
    assert "flush_interval -1" in CADDYFILE
    assert "{$SITE} {" in CADDYFILE
