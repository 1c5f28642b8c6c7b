"""The description is accurate: schemathesis, which knows nothing else, gets no answer that is not described."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gateway import openapi
from gateway.replies import Reason
from gateway.validate import PageviewRequest
from tests import http
from tests.services import System, pageview


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
    assert generated(schemathesis(system, 20)) > 50


@pytest.mark.full
def test_all_checks_pass_for_5000_requests(system: System) -> None:
    assert generated(schemathesis(system, 2500)) >= 5000


GOOD = pageview(dnt=True)
LARGE = "x" * 70_000
#: (body, headers in addition to the token's): what each documented status but 408, 429 and 503 is answered to.
REQUESTS: list[tuple[Any, dict[str, str]]] = [
    (GOOD, {}),
    ([GOOD], {}),
    ([GOOD, {}, pageview(url="https://nowhere.example/"), pageview(referrer=LARGE)], {}),
    ([], {}),
    ([5], {}),
    ([pageview(url="https://nowhere.example/")], {}),
    (pageview(url="https://nowhere.example/"), {}),
    (pageview(dnt=5), {}),
    (b"{", {}),
    (GOOD, {"Idempotency-Key": "\t"}),
    (GOOD, {"Content-Encoding": "br"}),
    (GOOD, {"Content-Encoding": "gzip"}),
    (gzip.compress(b" " * 5_000_000), {"Content-Encoding": "gzip"}),
    (LARGE.encode() * 70, {}),
    (GOOD, {"Expect": "the unexpected"}),
    (GOOD, {"Authorization": "Bearer wrong"}),
    (GOOD, {"Authorization": "Basic x"}),
    *[(GOOD, {"Authorization": "Bearer wrong"})] * 110,
    (b" ".join([b"not json"] * 10), {"Content-Type": "text/plain"}),
]  # fmt: skip


@pytest.mark.parametrize("path", [http.ENDPOINT, http.BATCH_ENDPOINT])
def test_every_answer_is_as_described(system: System, path: str) -> None:
    """Its status, each of its headers, and its body."""
    document = http.request(system.port, "GET", "/api/openapi.json").json
    described = document["paths"][path]["post"]["responses"]
    met = set()

    for body, headers in REQUESTS:
        answer = http.request(system.port, path=path, body=body, token=system.token, headers=headers)
        response = described[str(answer.status)]
        met.add(answer.status)
        names = {name.lower(): of["schema"] for name, of in response["headers"].items()}
        for name, value in answer.headers.items():
            if name not in ("date", "server", "content-type", "content-length", "connection"):
                validate(document, names[name], value)
        if "content" in response:
            validate(document, response["content"][answer.headers["content-type"]]["schema"], answer.json)
        else:
            assert answer.body == b""

    assert met >= {202, 400, 401, 404, 413, 415, 417, 429}


def validate(document: Any, schema: Any, value: Any) -> None:
    jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def test_the_description_answers_head(system: System) -> None:
    answer = http.request(system.port, "HEAD", "/api/openapi.json")

    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", "application/json")


def test_the_description_names_what_differs_from_the_original_contract(system: System) -> None:
    document = http.request(system.port, "GET", "/api/openapi.json").json

    assert document["openapi"].startswith("3.1")
    assert all(word in document["info"]["description"] for word in ("413", "1990", "Retry-After"))
    assert "413" in document["paths"][http.ENDPOINT]["post"]["responses"]


def test_fields_limits_and_answers_are_those_of_the_code() -> None:
    described = openapi.document()
    fields = described["components"]["schemas"]["Pageview"]
    answers = described["paths"][http.ENDPOINT]["post"]["responses"]

    assert list(fields["properties"]) == list(PageviewRequest.model_fields)
    assert fields["required"] == [name for name, field in PageviewRequest.model_fields.items() if field.is_required()]
    assert all("type" in field for field in fields["properties"].values())
    for reason in set(Reason) - {Reason.NOT_FOUND, Reason.WRONG_METHOD}:
        assert reason.text in answers[str(reason.status)]["description"]
        assert ("Retry-After" in answers[str(reason.status)]["headers"]) == (reason.status in (429, 503))
