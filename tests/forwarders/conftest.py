from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from tests import parts, services
from tests.delivery import faults
from tests.forwarders import traffic
from tests.services import System

#: Workers look once a second whether rules have to be compiled.
_COMPILED_S = 1.5

Wait = Callable[[Counter[tuple[str, str]]], None]


@pytest.fixture(scope="module")
def site(system: System) -> System:
    """A system whose sites exclude a network."""
    exclude(system)
    return system


def exclude(system: System) -> None:
    """Keep visitors of a network out, so that a wrong `visitor_ip` shows."""
    services.hitline(system.env, "exclude", "add", "--cidr", traffic.EXCLUDED)
    newest = int(parts.execute(system.clickhouse, "SELECT max(version) FROM hitline_control.exclusions"))
    for worker in system.workers:
        services.wait_for(partial(_has, worker, newest))
    time.sleep(_COMPILED_S)


def _has(worker: services.Service, version: int) -> bool:
    return faults.metric(worker, "hitline_registry_version") >= version


@pytest.fixture
def host() -> str:
    """A hostname of the site that no other test uses."""
    return f"h{uuid.uuid4().hex[:12]}.wild.example.org"


def rows(system: System, host: str) -> Counter[tuple[str, str]]:
    """Count what is stored of a hostname by path and user agent."""
    sql = (
        "SELECT path, user_agent, count() AS number FROM hitline.pageviews"
        f" WHERE hostname = '{host}' GROUP BY path, user_agent"
    )
    found = services.rows(system.clickhouse, sql)
    return Counter({(row["path"], row["user_agent"]): int(row["number"]) for row in found})


def sessions(system: System, host: str) -> int:
    """Count the sessions of a hostname."""
    sql = f"SELECT uniqExact(session_id) FROM hitline.pageviews WHERE hostname = '{host}'"
    return int(parts.execute(system.clickhouse, sql))


def wait_for_rows(system: System, host: str, expected: Counter[tuple[str, str]], timeout_s: float = 30) -> None:
    """Wait until as many are stored as there should be, then see that they are the right ones."""
    with suppress(TimeoutError):  # what is missing says more
        services.wait_for(lambda: rows(system, host).total() >= expected.total(), timeout_s)
    found = rows(system, host)
    assert found == expected, (
        f"missing {(expected - found).most_common(5)}, too many {(found - expected).most_common(5)}"
    )
