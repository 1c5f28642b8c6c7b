"""What deployments are made of: manifests, compose file and units, held against the code and against good practice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import GatewaySettings
from shared.secret_files import SECRETS
from shared.settings import KNOWN
from worker.settings import WorkerSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
K8S = DEPLOY / "k8s"
SETTINGS = KNOWN | {f"{name}_FILE" for name in SECRETS}


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(K8S.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            yield f"{path.relative_to(K8S)}:{document['kind']}", document


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the pod of each Deployment, Job and CronJob."""
    for name, document in documents():
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if document["kind"] in ("Deployment", "Job", "CronJob"):
            yield f"{name}:{document['metadata']['name']}", spec["template"]["spec"]


COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
PODS = dict(pods())


def test_there_is_a_pod_for_each_process() -> None:
    assert {name.rsplit(":", 1)[1] for name in PODS} == {"gateway", "worker", "rollup", "migrate", "valkey", "geo"}


@pytest.mark.parametrize("name", PODS)
def test_pods_have_minimal_privileges(name: str) -> None:
    pod = PODS[name]
    assert pod["enableServiceLinks"] is False, "service names must not become settings"
    assert pod["serviceAccountName"] == "hitline"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", PODS)
def test_pods_use_settings_that_exist_and_no_secret_in_clear_text(name: str) -> None:
    for container in PODS[name]["containers"]:
        for variable in container.get("env", ()):
            short = variable["name"].removeprefix("HITLINE_")
            assert short in SETTINGS
            assert short not in SECRETS


@pytest.mark.parametrize(("name", "model"), [("gateway", GatewaySettings), ("worker", WorkerSettings)])
def test_pods_have_the_ports_of_the_code_and_time_to_drain(name: str, model: Any) -> None:
    pod = next(pod for key, pod in PODS.items() if key.endswith(f":{name}"))
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert ports["admin"] == model.model_fields["admin_port"].default
    assert pod["terminationGracePeriodSeconds"] > model.model_fields["drain_seconds"].default


def test_workers_are_scaled_by_what_is_unacknowledged_as_well() -> None:
    scaled = next(document for name, document in documents() if name.endswith(":ScaledObject"))
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["protocol"] == "http", "over AMQP only ready messages are counted"
    assert trigger["metadata"]["excludeUnacknowledged"] == "false"
    assert scaled["spec"]["minReplicaCount"] >= 1


def test_compose_uses_settings_that_exist_and_secrets_that_are_declared() -> None:
    for name, service in COMPOSE["services"].items():
        given = {each if isinstance(each, str) else each["source"] for each in service.get("secrets", ())}
        assert given <= COMPOSE["secrets"].keys(), name
        for variable, value in service.get("environment", {}).items():
            if not variable.startswith("HITLINE_"):
                continue
            assert variable.removeprefix("HITLINE_") in SETTINGS, name
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in given, name


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_compose_gives_time_to_drain(name: str) -> None:
    assert int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")) > 30


def test_compose_publishes_ports_on_this_host_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_secrets_sh_makes_every_secret_of_the_compose_file() -> None:
    script = (DEPLOY / "compose" / "secrets.sh").read_text("utf-8")
    roles = re.search(r"for role in ([a-z ]+); do", script)
    assert roles is not None
    made = set(re.findall(r"write \"?([a-z_.]+)\"? ", script)) | {f"clickhouse_{role}_url" for role in roles[1].split()}
    wanted = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert wanted <= made


UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_are_sandboxed_and_use_settings_that_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "UMask=0077"):
        assert f"\n{line}\n" in text
    for name in re.findall(r"HITLINE_([A-Z_]+)=", text):
        assert name in SETTINGS
    for name, short in re.findall(r"HITLINE_([A-Z_]+)_FILE=%d/(\w+)", text):
        assert short == name.lower()
        assert f"LoadCredential={short}:" in text
