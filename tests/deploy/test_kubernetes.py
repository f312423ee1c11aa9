"""The manifests: a cluster would take them; they agree with each other and with the server."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from tests.core_helpers import approve, open_gates, until
from tests.deploy.deploy_files import (
    DRAIN_S,
    KUBERNETES,
    PATHS,
    SETTINGS,
    check_value,
    manifests,
    read_yaml,
    variables,
)

from federation_core.errors import SettingsError
from federation_core.policy.folder import read_bundle_folder
from federation_core.service import CreateRunRequest, FederationCore
from federation_core.settings import load_settings

Json = dict[str, Any]

EVERY = [(path, document) for path, document in manifests()]
KUSTOMIZATION: Json = read_yaml(KUBERNETES / "kustomization.yaml")
BUILT_IN = re.compile(r"v1|apps/v1|policy/v1|networking\.k8s\.io/v1")


def the(kind: str) -> Json:
    """The one object of this kind."""
    (found,) = (document for _, document in EVERY if document["kind"] == kind)
    return found


POD: Json = the("Deployment")["spec"]["template"]["spec"]
NODE: Json = POD["containers"][0]
LABELS: Json = the("Deployment")["spec"]["template"]["metadata"]["labels"]
GENERATED = {made["name"]: made for made in KUSTOMIZATION["configMapGenerator"]}


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize(
    "document",
    [document for _, document in EVERY if BUILT_IN.fullmatch(document["apiVersion"])],
    ids=lambda document: document["kind"],
)
def test_a_cluster_would_take_it(document: Json, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_the_kustomization_names_every_file_but_the_examples() -> None:
    beside = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == beside
    for made in KUSTOMIZATION["configMapGenerator"]:
        assert all((KUBERNETES / file).is_file() for file in made.get("files", []))
    for folder in ("workflows", "policies"):
        named = {Path(file).name for file in GENERATED[f"fedcore-{folder}"]["files"]}
        assert named == {path.name for path in (KUBERNETES / folder).iterdir()}
    assert {image["name"] for image in KUSTOMIZATION["images"]} == {NODE["image"]}


def test_a_node_is_replaced_before_it_goes_and_never_the_last_one() -> None:
    deployment = the("Deployment")["spec"]
    assert deployment["replicas"] >= 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert the("PodDisruptionBudget")["spec"]["maxUnavailable"] < deployment["replicas"]


def test_it_has_time_to_drain() -> None:
    command, pause = NODE["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    readiness = NODE["readinessProbe"]
    assert POD["terminationGracePeriodSeconds"] > int(pause) + DRAIN_S
    assert readiness["periodSeconds"] * readiness["failureThreshold"] <= int(pause)


@pytest.mark.parametrize(
    ("probe", "path"),
    [
        ("startupProbe", "/health"),
        ("livenessProbe", "/health"),
        ("readinessProbe", "/health/ready"),
    ],
)
def test_probes_ask_what_the_server_answers(probe: str, path: str) -> None:
    assert NODE[probe]["httpGet"] == {"path": path, "port": "http"}
    assert path in PATHS


def test_ports_agree() -> None:
    port = load_settings({}, {}).port
    assert NODE["ports"] == [{"name": "http", "containerPort": port}]
    assert the("Service")["spec"]["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]
    for rule in the("NetworkPolicy")["spec"]["ingress"]:
        assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
    rest = the("Ingress")["spec"]["rules"][0]["http"]["paths"][-1]
    service = rest["backend"]["service"]
    assert (service["name"], service["port"]) == (
        the("Service")["metadata"]["name"],
        {"name": "http"},
    )


def test_selectors_meet_the_labels_of_the_pod() -> None:
    selectors = [
        the("Deployment")["spec"]["selector"]["matchLabels"],
        the("Service")["spec"]["selector"],
        the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= LABELS.items() for selector in selectors)


def test_every_container_is_locked_in() -> None:
    assert the("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    for container in [*POD["initContainers"], *POD["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= set(container["resources"])


def test_each_variable_is_a_setting_and_takes_its_value() -> None:
    literals = dict(text.split("=", 1) for text in GENERATED["fedcore-settings"]["literals"])
    mounted = frozenset(mount["mountPath"] for mount in NODE["volumeMounts"])
    told = variables(literals)
    assert len(told) == len(literals)
    for name, value in told.items():
        check_value(name, value, folders=mounted)
    (source,) = NODE["envFrom"]
    assert source["configMapRef"]["name"] in GENERATED


def test_secrets_are_files_that_the_settings_look_for() -> None:
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    projected = volumes["secrets"]["projected"]
    assert projected["defaultMode"] == 0o440
    keys = {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in projected["sources"]
        for item in source["secret"]["items"]
    }
    assert set(keys) == {"secret_key", "signing_key", "database_url"}
    assert set(keys) <= SETTINGS
    example = the("Secret")
    assert {name for name, _ in keys.values()} == {
        example["metadata"]["name"],
        f"{the('Cluster')['metadata']['name']}-app",  # which CloudNativePG makes
    }
    assert example["stringData"] == {"secret_key": "", "signing_key": ""}


def test_what_a_container_mounts_is_there() -> None:
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    for container in [*POD["initContainers"], *POD["containers"]]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
    for volume in volumes.values():
        if "configMap" in volume:
            assert volume["configMap"]["name"] in GENERATED


def test_restate_is_where_the_settings_and_the_network_have_it() -> None:
    name = the("RestateCluster")["metadata"]["name"]
    literals = dict(text.split("=", 1) for text in GENERATED["fedcore-settings"]["literals"])
    assert f".{name}.svc" in literals["FEDCORE_RESTATE_URL"]
    service, namespace = the("Service"), KUSTOMIZATION["namespace"]
    assert literals["FEDCORE_RESTATE_ENDPOINT"] == (
        f"http://{service['metadata']['name']}.{namespace}.svc.cluster.local"
        f":{service['spec']['ports'][0]['port']}/restate"
    )
    assert LABELS[f"allow.restate.dev/{name}"] == "true"
    assert f"kubernetes.io/metadata.name': '{name}'" in str(the("NetworkPolicy")["spec"]["egress"])
    peers = the("RestateCluster")["spec"]["security"]["networkPeers"]
    here = {"matchLabels": {"kubernetes.io/metadata.name": KUSTOMIZATION["namespace"]}}
    assert all(peer == [{"namespaceSelector": here}] for peer in peers.values())


def mounted(config: Path, files: Path) -> Path:
    """A folder as the kubelet mounts a config map: links to a folder that it can swap."""
    data = config / "..2026_01_01_00_00_00.1"
    shutil.copytree(files, data)
    (config / "..data").symlink_to(data.name)
    for file in files.iterdir():
        (config / file.name).symlink_to(f"..data/{file.name}")
    return config


def copied(tmp_path: Path) -> Path:
    """What the first container makes of the bundle's config map."""
    source, target = tmp_path / "source", tmp_path / "policies"
    source.mkdir()
    target.mkdir()
    mounted(source, KUBERNETES / "policies")
    shell, flag, script = POD["initContainers"][0]["command"]
    for name, path in (("policies-source", source), ("policies", target)):
        (place,) = (
            mount["mountPath"]
            for mount in POD["initContainers"][0]["volumeMounts"]
            if mount["name"] == name
        )
        script = script.replace(place, str(path))
    subprocess.run([shell, flag, script], check=True)
    return target


def test_a_bundle_is_copied_out_of_its_config_map(tmp_path: Path) -> None:
    target = copied(tmp_path)
    assert read_bundle_folder(target) == read_bundle_folder(KUBERNETES / "policies")
    with pytest.raises(SettingsError):  # and this is why
        read_bundle_folder(tmp_path / "source")


async def test_the_example_runs_and_its_policy_decides(tmp_path: Path) -> None:
    workflows = tmp_path / "workflows"
    workflows.mkdir()
    mounted(workflows, KUBERNETES / "workflows")
    async with FederationCore.open(
        tmp_path / "data",
        policy_dir=copied(tmp_path),
        workflow_dir=workflows,
        require_registration=True,
    ) as fc:
        call = fc.call("somebody")

        async def begin(amount: int) -> str:
            request = CreateRunRequest(workflow_id="hello", input_payload={"amount": amount})
            return (await fc.runs.create(call, request)).run.run_id

        small = await until(fc, await begin(5))
        assert small.run.output_payload == {"paid": 5}
        large = await begin(5_000)
        (gate,) = await open_gates(fc, large)
        await approve(fc, gate, "another", roles=["operator"])
        assert (await until(fc, large)).run.status == "completed"
