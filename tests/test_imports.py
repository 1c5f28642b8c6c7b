"""The rules of who imports whom (pyproject.toml) hold, and notice a violation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.processes

PACKAGES = ("deploy", "gateway", "worker", "shared")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, to plant violations in."""
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def check(tree: Path) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_everything_is_imported_as_it_may_be(tree: Path) -> None:
    code, text = check(tree)
    assert code == 0, text


@pytest.mark.parametrize(
    ("path", "line", "broken"),
    [
        ("gateway/app.py", "import worker.delivery", "gateway.app -> worker.delivery"),
        ("shared/outcomes.py", "import gateway.replies", "shared.outcomes -> gateway.replies"),
        ("worker/store/settle.py", "import worker.consume.consumer", "worker.store.settle -> worker.consume.consumer"),
        ("worker/lookups/geo.py", "import worker.steps.put_site", "worker.lookups.geo -> worker.steps.put_site"),
        ("worker/consume/prefetch.py", "import worker.consume.consumer", "worker.consume"),
        ("worker/misplaced.py", "import worker.run", "worker.misplaced"),
    ],
)
def test_a_planted_violation_is_found(tree: Path, path: str, line: str, broken: str) -> None:
    planted = tree / path
    before = planted.read_text() if planted.exists() else None
    planted.write_text(f"{before or ''}\n{line}\n")
    try:
        code, text = check(tree)
    finally:
        planted.unlink() if before is None else planted.write_text(before)
    assert code != 0
    assert broken in text.replace("\n", "")
