"""Days that are over are compared with their pageviews, and mended where they have drifted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups.check import _checked
from tests import parts, services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check

pytestmark = pytest.mark.processes


def test_a_day_that_was_noted_before_it_was_over_counts_as_not_checked() -> None:
    over = date(2026, 3, 10)
    assert _checked(None, over) == date(2026, 3, 9), "the first time, the last day that is over"
    assert _checked(date(2026, 3, 4), over) == date(2026, 3, 4)
    assert _checked(over, over) == over
    assert _checked(date(2026, 4, 19), over) == date(2026, 3, 3), "by a clock that was ahead"


@pytest.fixture
def yesterday(tables: ClickHouseProcess, hitline: Hitline) -> visits.Stored:
    """Pageviews of the days that are over by now, counted, and stored long enough ago to be counted for sure."""
    visits.register(tables, visits.PAIR)
    first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(2)
    rows = visits.make(200, seed=21, first=first, days=3, sites=visits.PAIR)
    visits.insert(tables, [{**row, "stored_at": "2026-01-01 00:00:00"} for row in rows])
    stored: visits.Stored = {}
    visits.store(stored, rows)
    assert "drifted" not in hitline("rollup").stderr
    parts.execute(tables, "TRUNCATE TABLE hitline_control.rollup_checked")  # as if the day had just ended
    return stored


#: What is wrong → the statement that makes it so, of a site on a day.
HARMS = {
    "daily sum": "INSERT INTO hitline.daily_counts_raw SELECT * REPLACE (run + 1 AS run, pageviews + 7 AS pageviews)"
    " FROM hitline.daily_counts_raw",
    "hourly sum": "INSERT INTO hitline.hourly_counts_raw SELECT * REPLACE (run + 1 AS run, 0 AS pageviews)"
    " FROM hitline.hourly_counts_raw",
    "a value of no session": "INSERT INTO hitline.daily_counts_raw SELECT * REPLACE ('never' AS value)"
    " FROM hitline.daily_counts_raw",
    "session": "INSERT INTO hitline.session_days_raw SELECT * REPLACE (run + 1 AS run,"
    " arrayMap(n -> n + 1, counts) AS counts, fingerprint + 1 AS fingerprint) FROM hitline.session_days_raw",
    "a session of no pageview": "INSERT INTO hitline.session_days_raw SELECT * REPLACE (generateUUIDv4() AS session_id)"
    " FROM hitline.session_days_raw",
}


@pytest.mark.parametrize(
    "harms",
    [
        ("session", "a value of no session"),
        ("daily sum", "hourly sum", "a session of no pageview"),
        *(pytest.param((what,), marks=pytest.mark.full) for what in HARMS),
    ],
    ids=" and ".join,
)
def test_what_has_drifted_is_mended_and_told(
    tables: ClickHouseProcess, hitline: Hitline, yesterday: visits.Stored, harms: tuple[str, ...]
) -> None:
    """Several at once are of different rows: what is not found stays."""
    site, zone = next(iter(visits.PAIR.items()))
    over = (datetime.now(UTC) - timedelta(hours=1)).astimezone(ZoneInfo(zone)).date() - timedelta(1)
    for what in harms:
        parts.execute(tables, f"{HARMS[what]} WHERE site_id = '{site}' AND day = '{over}'")
    assert "had drifted" in hitline("rollup").stderr
    check(tables, yesterday)
    [row] = services.rows(tables, "SELECT sum(drifted) AS n FROM hitline_control.rollup_checked")
    assert int(row["n"]) > 0


def test_late_pageviews_are_no_drift(tables: ClickHouseProcess, hitline: Hitline, yesterday: visits.Stored) -> None:
    late = [{**row, "page_id": "00000000-0000-4000-8000-000000000001"} for row in list(yesterday.values())[:40]]
    visits.insert(tables, late)
    visits.store(yesterday, late)
    assert "drifted" not in hitline("rollup").stderr
    check(tables, yesterday)


def test_a_day_is_checked_once(tables: ClickHouseProcess, hitline: Hitline, yesterday: visits.Stored) -> None:
    hitline("rollup")
    parts.execute(
        tables,
        "INSERT INTO hitline.daily_counts_raw SELECT * REPLACE (run + 1 AS run, pageviews + 7 AS pageviews)"
        " FROM hitline.daily_counts_raw",
    )
    assert "drifted" not in hitline("rollup").stderr
    assert "drifted" not in hitline("rollup", "--all").stderr
    check(tables, yesterday)
