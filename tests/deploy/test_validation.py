"""Deployment files against the schemas and tools of those who read them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import programs
from tests.deploy import kustomize
from tests.programs import SHELLCHECK, SYSTEMD

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = sorted(path.parent for path in (DEPLOY / "k8s" / "overlays").glob("*/kustomization.yaml"))
#: Kinds that operators bring with definitions of their own.
CUSTOM = {"RabbitmqCluster", "ClickHouseInstallation", "ClickHouseKeeperInstallation", "ScaledObject"}
CUSTOM |= {"TriggerAuthentication"}
#: Whose schemas are tens of megabytes.
HOW = "pip install 'hitline[check]'"


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_what_is_built_refers_only_to_what_is_there(overlay: Path) -> None:
    objects = kustomize.build(overlay)
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    assert len(names) == len(objects)
    for each in objects:
        if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            target = each["spec"]["scaleTargetRef"]
            assert (target.get("kind", "Deployment"), target["name"]) in names
        for source in _all(each, "configMapRef"):
            assert ("ConfigMap", source["name"]) in names
        for claim in _all(each, "persistentVolumeClaim"):
            assert ("PersistentVolumeClaim", claim["claimName"]) in names


def _all(node: Any, key: str) -> list[Any]:
    """Return every value under that key, at any depth."""
    if isinstance(node, dict):
        return [value for name, value in node.items() if name == key] + [
            found for value in node.values() for found in _all(value, key)
        ]
    return [found for value in node for found in _all(value, key)] if isinstance(node, list) else []


@pytest.mark.full
@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_what_is_built_is_valid_for_kubernetes(overlay: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason=HOW)
    objects = [each for each in kustomize.build(overlay) if each["kind"] not in CUSTOM]
    assert len(objects) >= 15
    for each in objects:
        validate.validate(each, validate.latest_version(), strict=True)


@pytest.mark.full
def test_the_compose_file_is_valid() -> None:
    compose = pytest.importorskip("compose_spec", reason=HOW)
    written = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
    read = compose.PyCompose.from_yaml(yaml.safe_dump(written))  # the library knows no merge keys
    assert read.services.keys() == written["services"].keys()


@pytest.mark.processes
def test_shell_scripts_have_no_fault_that_shellcheck_knows() -> None:
    scripts = [path for path in ROOT.rglob("*.sh") if ".venv" not in path.parts and ".local" not in path.parts]
    checked = subprocess.run(
        [programs.path_of(SHELLCHECK), *map(str, scripts), str(ROOT / ".ci" / "run")], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert len(scripts) >= 4
    assert checked.returncode == 0, checked.stdout


@pytest.mark.full
@pytest.mark.processes
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    """With a `hitline` that is there, since systemd looks whether commands are."""
    if reason := programs.available(SYSTEMD):
        pytest.skip(reason)
    command = tmp_path / "hitline"
    shutil.copy("/bin/true", command)
    units = []
    for path in sorted((DEPLOY / "systemd").iterdir()):
        unit = tmp_path / path.name
        unit.write_text(path.read_text("utf-8").replace("/opt/hitline/bin/hitline", str(command)))
        units.append(str(unit))
    verified = subprocess.run(
        [programs.path_of(SYSTEMD), "verify", *units], capture_output=True, text=True, check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    assert len(units) == 8
    assert (verified.returncode, verified.stderr) == (0, "")


def test_every_file_of_compose_that_is_mounted_is_there() -> None:
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
    for name, service in compose["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.split(":", 1)[0] if isinstance(volume, str) else volume["source"]
            if source.startswith("."):
                assert (DEPLOY / "compose" / source).exists(), f"{name}: {source}"
