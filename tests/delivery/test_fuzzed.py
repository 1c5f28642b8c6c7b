"""Pageviews that a fuzzer makes: what the gateway accepts, the worker processes, whatever is in it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import http, services
from tests.services import System

#: Of each example, so that a run needs few of them.
_TOGETHER = 20

text = st.text(st.characters(exclude_categories=()), max_size=60)  # with half surrogates and control characters
pieces = st.sampled_from(
    ["%00", "%ff", "%", "=", "&", "#", "?", "/", "//", "..", ";", "\\", "\x1b]52;c;", "[::1]", "xn--", "@", ":0",
     "utm_source=", "hk_qr=", "日本", "\ud800", "a" * 300, "%e2%80%ae", "google.", "Mozilla/5.0 (",
     ") Chrome/99999999999"]
)  # fmt: skip
hostile = st.lists(st.one_of(text, pieces), max_size=8).map("".join)
urls = st.one_of(
    hostile.map("https://example.com/".__add__),
    hostile.map("https://example.com/?".__add__),
    hostile.map("https://example.com".__add__),
)
valid_times = st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1)).map(lambda time: time.isoformat() + "Z")
times = st.one_of(valid_times, valid_times, valid_times, hostile)
valid_addresses = st.ip_addresses().map(str)
addresses = st.one_of(valid_addresses, valid_addresses, valid_addresses, hostile)
numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none(), hostile)
anything = st.one_of(hostile, numbers, st.booleans(), st.lists(hostile, max_size=2))
pageviews = st.fixed_dictionaries(
    {"url": urls, "timestamp": times, "visitor_ip": addresses, "user_agent": hostile.map("x".__add__)},
    optional={
        "referrer": st.one_of(hostile, hostile.map("https://".__add__)), "language": hostile, "dnt": anything,
        "session_id": st.one_of(st.uuids().map(str), hostile), "page_id": st.one_of(st.uuids().map(str), anything),
        "screen_width": numbers, "screen_height": numbers, "viewport_width": numbers, "viewport_height": numbers,
    },
)  # fmt: skip


def fuzzed(number: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []

    @settings(
        max_examples=-(-number // _TOGETHER), database=None, phases=[Phase.generate], deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(pageviews, min_size=_TOGETHER, max_size=_TOGETHER))
    def make(some: list[dict[str, Any]]) -> None:
        made.extend(some)

    make()
    return made


def test_what_is_accepted_of_a_thousand_fuzzed_pageviews_is_processed(system: System) -> None:
    prove(system, 1_000)


@pytest.mark.full
def test_what_is_accepted_of_50_000_fuzzed_pageviews_is_processed(system: System) -> None:
    prove(system, 50_000)


def prove(system: System, number: int) -> None:
    made = fuzzed(number)
    before, accepted = ended(system), 0
    pids = [process.pid for process in (system.gateway, *system.workers)]
    for start in range(0, len(made), 2000):
        body = "\n".join(map(json.dumps, made[start : start + 2000])).encode()
        answer = http.request(system.port, path=http.BATCH_ENDPOINT, body=body, token=system.token, timeout_s=120)
        assert answer.status in (202, 400, 404), answer.body
        accepted += answer.json["accepted"]
    print(f"{accepted} of {len(made)} accepted")
    assert accepted > len(made) // 20

    services.wait_for(lambda: ended(system) >= before + accepted, 300)

    assert system.outcomes().get("dead_lettered", 0) == 0
    assert [process.pid for process in (system.gateway, *system.workers)] == pids
    assert all(process.running for process in (system.gateway, *system.workers))
    assert "Traceback" not in system.gateway.text() + "".join(worker.text() for worker in system.workers)


def ended(system: System) -> int:
    """Return how many accepted pageviews have come to an end; what the gateway refused is counted beside them."""
    return sum(number for outcome, number in system.outcomes().items() if not outcome.startswith("refused"))
