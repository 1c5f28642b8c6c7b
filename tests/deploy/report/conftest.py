"""A month of pageviews on one site in India, counted in Python as well."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests.deploy.cli.conftest import Hitline, _logging_as_before, hitline
from tests.deploy.rollups import visits

__all__ = ["_logging_as_before", "hitline"]

SITE = list(visits.SITES)[2]
NAME = f"{SITE.hex[-4:]}.example"
ZONE = visits.SITES[SITE]
HOSTILE = "/<script>alert(1)</script>\x1b[31m"


@dataclass
class Month:
    rows: list[visits.Row]

    def between(self, first: str, last: str) -> list[visits.Row]:
        """Return people's pageviews on these days of the site's calendar, both included."""
        return [row for row in self.rows if not row["is_bot"] and first <= self.day(row) <= last]

    @staticmethod
    def day(row: visits.Row) -> str:
        return str(visits.at(row).astimezone(ZoneInfo(ZONE)).date())


@pytest.fixture
def month(tables: ClickHouseProcess, hitline: Hitline) -> Month:
    visits.register(tables, visits.FEW)
    rows = visits.make(2000, seed=9, first=datetime(2026, 3, 1, tzinfo=UTC), days=30)
    rows = [row for row in rows if row["site_id"] == str(SITE)]
    rows[0]["path"] = HOSTILE
    rows[0]["is_bot"] = False
    rows[1]["utm_campaign"] = "=cmd()"
    rows[1]["is_bot"] = False
    visits.insert(tables, rows)
    visits.insert(tables, rows[:50])  # twice, which must not show
    assert uuid.UUID(rows[0]["site_id"]) == SITE
    return Month(rows)
