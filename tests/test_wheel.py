"""The wheel, as images install it: alone with what it declares, and everything runs from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests import http, parts, services
from tests.services import Service

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "worker", "shared", "deploy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, which leaves nothing behind in the repository and takes nothing old from it."""
    directory = tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, directory / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, directory / "source")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(directory)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(directory / "source")], check=True, cwd=directory
    )
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel where there is nothing but what it requires; returns the directory of its programs.

    The required packages are those of this environment, linked: nothing is downloaded, and none is there that is not
    required by the wheel or by one of those.
    """
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, symlinks=True, with_pip=False)
    python = home / "bin" / "python"
    site = next(home.glob("lib/python*/site-packages"))
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, str(wheel)], check=True, cwd=home)
    hitline = next(iter(Distribution.discover(name="hitline", path=[str(site)])))
    for needed in closure(hitline):
        link(needed, site)
    return home / "bin"


def closure(start: Distribution) -> list[Distribution]:
    """Return the distributions that one requires, directly and by others, as this interpreter needs them."""
    found: dict[str, Distribution] = {}
    pending = [(start, frozenset[str]())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        each, extras = pending.pop()
        for text in each.requires or ():
            wanted = Requirement(text)
            if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras | {""}):
                continue
            key = (wanted.name.lower(), frozenset(wanted.extras))
            if key not in seen:
                seen.add(key)
                found[wanted.name.lower()] = distribution(wanted.name)
                pending.append((found[wanted.name.lower()], frozenset(wanted.extras)))
    return list(found.values())


def link(needed: Distribution, site: Path) -> None:
    """Put a distribution's packages, modules and metadata into another environment's directory."""
    for name in {file.parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
        if not (site / name).exists():
            (site / name).symlink_to(str(needed.locate_file(name)))


def run(program: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Run a program of the empty environment, from a directory that has none of our files; returns its output."""
    chosen = env or {"PATH": os.defpath}
    done = subprocess.run(
        [program, *arguments], env=chosen, cwd=program.parent, text=True, capture_output=True, timeout=services.START_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_what_runs_and_nothing_of_the_local_stack(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    assert [name for name in names if name.startswith("deploy/local")] == []
    data = {".sql", ".txt", ".xml", ".json", ".py", ".typed"}
    source = {str(path.relative_to(ROOT)) for name in PACKAGES for path in (ROOT / name).rglob("*")}
    expected = {name for name in source if Path(name).suffix in data and not name.startswith("deploy/local")}
    left_out = {name for name in expected - set(names) if not name.startswith(("deploy/compose", "deploy/k8s"))}
    assert left_out == set()


def test_every_requirement_is_declared_and_its_version_fits(installed: Path) -> None:
    found = run(installed / "python", "-c", "import gateway, worker, shared, deploy; print(gateway.__file__)")
    assert found.startswith(str(installed.parent))

    check = [sys.executable, "-m", "pip", "--python", str(installed / "python"), "check"]
    assert "No broken requirements" in subprocess.run(check, text=True, capture_output=True, check=True).stdout


def test_the_command_the_gateway_and_a_worker_run_from_it(installed: Path, stack: parts.Stack, tmp_path: Path) -> None:
    hitline = installed / "hitline"
    assert "migrate" in run(hitline, "--help")
    run(hitline, "migrate", env=stack.env)
    run(hitline, "site", "add", "example.com", env=stack.env)
    output = run(hitline, "client", "add", "edge", "--grant", "example.com", "--json", env=stack.env)

    started = []
    try:
        for name in ("gateway", "worker"):
            started.append(Service(name, stack.env, tmp_path / f"{name}.log", [str(hitline), name], cwd=tmp_path))
            started[-1].start()
        gateway = started[0]
        services.wait_for(lambda: http.ready(gateway.admin_port))
        answer = http.request(gateway.port, body=services.pageview(), token=json.loads(output)["token"])
        assert answer.status == 202
        services.wait_for(lambda: services.count(stack.clickhouse) == 1)
        assert [each.stop() for each in started] == [0, 0]
    finally:
        for each in started:
            each.end()
