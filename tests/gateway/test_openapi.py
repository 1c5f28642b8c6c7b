"""The description is true: schemathesis, given nothing but it, finds no answer that it does not foresee."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import http
from tests.services import System


def schemathesis(system: System, examples: int) -> str:
    """Run schemathesis with all its checks; returns what it prints, fails where it finds something."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{system.port}/api/openapi.json",
        "--header", f"Authorization: Bearer {system.token}", "--checks", "all", "--max-examples", str(examples),
        "--generation-database", "none", "--continue-on-failure", "--seed", "1", "--no-color",
        "--suppress-health-check", "all",
    ]  # fmt: skip
    root = Path(__file__).parent.parent.parent
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.gateway.formats", "PYTHONPATH": str(root)}
    run = subprocess.run(command, env=env, cwd=root, text=True, capture_output=True, timeout=1500)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    return run.stdout


def generated(output: str) -> int:
    found = re.search(r"(\d+) generated", output)
    assert found is not None, output[-2000:]
    return int(found[1])


def test_all_checks_pass(system: System) -> None:
    assert generated(schemathesis(system, 100)) > 100


@pytest.mark.full
def test_all_checks_pass_for_5000_requests(system: System) -> None:
    assert generated(schemathesis(system, 2500)) >= 5000


def test_the_description_names_what_differs_from_the_original_contract(system: System) -> None:
    document = http.request(system.port, "GET", "/api/openapi.json").json

    assert document["openapi"].startswith("3.1")
    assert all(word in document["info"]["description"] for word in ("413", "1990", "Retry-After"))
    assert "413" in document["paths"][http.ENDPOINT]["post"]["responses"]
