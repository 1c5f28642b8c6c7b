from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.metrics import TRUNCATED
from tests.worker.factories import (
    ASN_RECORDS,
    CITY_RECORDS,
    NOW_MS,
    SITE,
    FakeRegistry,
    made_settings,
    write_database,
)
from worker.lookups.lookups import Lookups
from worker.pipeline import Steps, build_steps


@pytest.fixture
def counted() -> Callable[[], dict[str, int]]:
    """Count strings cut since the test began, by column."""

    def read() -> dict[str, int]:
        return {
            s.labels["column"]: int(s.value)
            for s in next(iter(TRUNCATED.collect())).samples
            if s.name.endswith("_total")
        }

    before = read()

    def since() -> dict[str, int]:
        return {name: value - before.get(name, 0) for name, value in read().items() if value != before.get(name, 0)}

    return since


@pytest.fixture(scope="module")
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.exclude("cidr", "203.0.113.0/24")
    registry.exclude("country", "DE")
    registry.exclude("user_agent", "HeadlessChrome")
    registry.exclude("path", "/admin", SITE)
    return registry


@pytest.fixture(scope="module")
def lookups(registry: FakeRegistry, tmp_path_factory: pytest.TempPathFactory) -> Lookups:
    state = tmp_path_factory.mktemp("state")
    (state / "geo").mkdir()
    (state / "feeds").mkdir()
    write_database(state / "geo" / "city.mmdb", CITY_RECORDS)
    write_database(state / "geo" / "asn.mmdb", ASN_RECORDS, "ASN")
    (state / "feeds" / "list.txt").write_text("192.0.2.0/24 ; SBL1\nspam.example\n")
    return Lookups(made_settings(state, retention_days=3650), registry)


@pytest.fixture(scope="module")
def steps(lookups: Lookups) -> Steps:
    return build_steps(lookups, lambda: NOW_MS)
