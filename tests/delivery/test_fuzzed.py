"""Pageviews that a fuzzer makes: what the gateway accepts, the worker processes, whatever is in it, and soon."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests import http
from tests.bench import hostile
from tests.bench.steps import prepare_lookups
from tests.delivery.fuzz import Fuzzer
from tests.services import System, wait_for
from tests.worker.factories import NOW_MS
from worker.pipeline import build_steps

_LONGEST_S = 0.05


def test_what_is_accepted_of_a_thousand_fuzzed_pageviews_is_processed(system: System) -> None:
    prove(system, 1_000)


@pytest.mark.full
def test_what_is_accepted_of_50_000_fuzzed_pageviews_is_processed(system: System) -> None:
    prove(system, 50_000)


def test_none_of_a_thousand_fuzzed_pageviews_takes_long(tmp_path: Path) -> None:
    prove_cheap(tmp_path, 1_000)


@pytest.mark.full
def test_none_of_50_000_fuzzed_pageviews_takes_long(tmp_path: Path) -> None:
    prove_cheap(tmp_path, 50_000)


def prove(system: System, number: int) -> None:
    before, accepted = ended(system), 0
    pids = [process.pid for process in (system.gateway, *system.workers)]
    for some in chunks(Fuzzer(number).pageviews(number), 2_000):
        body = "\n".join(map(json.dumps, some)).encode()
        answer = http.request(system.port, path=http.BATCH_ENDPOINT, body=body, token=system.token, timeout_s=120)
        assert answer.status in (202, 400, 404), answer.body
        accepted += answer.json["accepted"]
    print(f"{accepted} of {number} accepted")
    assert accepted > number // 20

    wait_for(lambda: ended(system) >= before + accepted, 300)

    assert system.outcomes().get("dead_lettered", 0) == 0
    assert [process.pid for process in (system.gateway, *system.workers)] == pids
    assert all(process.running for process in (system.gateway, *system.workers))
    assert "Traceback" not in system.gateway.text() + "".join(worker.text() for worker in system.workers)


def prove_cheap(directory: Path, number: int) -> None:
    """Measure the processor time of gateway and worker for each; a slow one has to be slow twice."""
    logging.disable(logging.WARNING)
    steps = build_steps(prepare_lookups(directory / "state", 1_000), lambda: NOW_MS)
    highest = 0.0
    gc.disable()  # a collection is not one pageview's cost
    try:
        for pageview in Fuzzer(number).pageviews(number):
            sent = json.dumps(pageview).encode()
            spent = sum(hostile.cost(sent, steps)) / 1e6
            if spent > _LONGEST_S:
                spent = min(spent, sum(hostile.cost(sent, steps)) / 1e6)
            highest = max(highest, spent)
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
    print(f"{highest * 1000:.1f} ms at most")
    assert highest <= _LONGEST_S


def chunks(made: Iterator[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    while some := list(islice(made, size)):
        yield some


def ended(system: System) -> int:
    """Return how many accepted pageviews have come to an end; what the gateway refused is counted beside them."""
    return sum(number for outcome, number in system.outcomes().items() if not outcome.startswith("refused"))
