"""What is imported is declared in pyproject.toml, and what is declared is used."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
OURS = {"gateway", "worker", "shared", "deploy", "tests"}
#: Standard library modules that are newer than the Python of this run.
NEWER_STANDARD_LIBRARY = {"compression"}
#: Tools that are run, not imported, and plugins that their hosts load.
NOT_IMPORTED = {
    "types-pyyaml",
    "mypy",
    "pytest-asyncio",
    "pytest-xdist",
    "pre-commit",
    "import-linter",
    "mutmut",
    "ruff",
    "setuptools",
    "py-spy",
}
#: Libraries whose internals are used, and where: the next minor version may change them.
INTERNALS = {
    "aio-pika": "gateway/broker.py",
    "aiohttp": "gateway/connection.py",
    "clickhouse-connect": "shared/clickhouse_client.py",
    "maxminddb": "worker/lookups/geo_file.py",
    "pamqp": "shared/properties.py",
}


@functools.cache
def distributions() -> dict[str, set[str]]:
    """Return what is installed by the module that it provides; not at once, since every test process collects this."""
    return {module: {canonicalize_name(name) for name in names} for module, names in packages_distributions().items()}


def project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def requirements(*extras: str) -> dict[str, Requirement]:
    """Return the requirements of a plain installation with these extras, by distribution."""
    texts = [
        *project()["dependencies"],
        *(text for extra in extras for text in project()["optional-dependencies"][extra]),
    ]
    return {canonicalize_name(found.name): found for found in map(Requirement, texts)}


def imported(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the top-level module of every import of what is neither ours nor Python's."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            for name in {name.partition(".")[0] for name in names}:
                if name not in OURS | NEWER_STANDARD_LIBRARY and name not in sys.stdlib_module_names:
                    yield path.relative_to(ROOT), name


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


INSTALLED = [
    path for path in sources("gateway", "worker", "shared", "deploy") if "local" not in path.relative_to(ROOT).parts
]


@pytest.mark.parametrize(
    ("paths", "extras"),
    [
        ([path for path in INSTALLED if path.name != "traces.py"], ()),
        ([path for path in INSTALLED if path.name == "traces.py"], ("otel",)),  # not imported while traces are off
        (sources("deploy/local"), ("local",)),
        (sources("tests"), ("local", "otel", "dev", "bench")),
    ],
    ids=["installed", "traces", "local", "tests"],
)
def test_every_imported_library_is_declared(paths: list[Path], extras: tuple[str, ...]) -> None:
    declared = requirements(*extras)
    missing = {
        f"{path}: {module}"
        for path, module in imported(paths)
        if not distributions().get(module, set()) & declared.keys()
    }
    assert paths
    assert not missing


def test_every_declared_library_is_imported() -> None:
    used = {name for _, module in imported(INSTALLED) for name in distributions().get(module, set())}
    assert requirements().keys() - used == set()
    used |= {
        name for _, module in imported(sources("deploy/local", "tests")) for name in distributions().get(module, set())
    }
    assert requirements("local", "dev", "bench").keys() - used - NOT_IMPORTED == set()


@pytest.mark.parametrize(("name", "path"), INTERNALS.items())
def test_a_library_whose_internals_are_used_is_held_to_its_minor_version(name: str, path: str) -> None:
    assert (ROOT / path).exists()
    specifier = requirements()[name].specifier
    now = Version(version(name))
    assert specifier.contains(now)
    assert not specifier.contains(f"{now.major}.{now.minor + 1}.0"), f"{path} uses internals of {name}"


def test_only_files_that_are_listed_reach_into_a_library() -> None:
    """Attributes that begin with an underscore, of an object that is not `self`, nor `new` or `more`, of its own class.

    `stored` is an alias in SQL.
    """
    own = r"(?!(?:self|cls|new|more|stored)\b)"
    foreign = re.compile(rf"(?<![\w.]){own}\w+\._(?!replace\b|asdict\b|fields\b|make\b)[a-z]")
    found = {str(path.relative_to(ROOT)) for path in INSTALLED if foreign.search(path.read_text())}
    assert found <= set(INTERNALS.values())


def test_the_package_is_not_for_upload() -> None:
    assert "Private :: Do Not Upload" in project()["classifiers"]
