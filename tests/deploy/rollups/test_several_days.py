"""Parts of sessions on several days are kept whichever day comes first, and kept up when the other day has gone.

Where the days are apart, that is when the later one is over.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from deploy.erasure.conditions import Erasure
from deploy.erasure.request import erase
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups import apart, changes
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.deploy.rollups import kept, visits

pytestmark = pytest.mark.processes

SITE = {next(iter(visits.SITES)): "UTC"}
ROW = visits.make(1, seed=95, sites=SITE)[0]


def seen(at: str) -> visits.Row:
    """Return another pageview of the same session."""
    return {**ROW, "timestamp": at, "page_id": str(uuid.uuid5(uuid.NAMESPACE_URL, at))}


async def counted(clickhouse: ClickHouseProcess, *rows: visits.Row, until: datetime | None = None) -> None:
    """Store rows, and count them; `until`: then erase what is from that moment on."""
    client = ClickHouse(clickhouse.url, "hitline tests")
    try:
        visits.insert(clickhouse, rows)
        await roll_up(client)
        if until:
            await erase(client, Erasure(sites=tuple(SITE), time_from=until))
    finally:
        await client.close()


def check(clickhouse: ClickHouseProcess, rows: list[visits.Row], number: int) -> None:
    stored: visits.Stored = {}
    visits.store(stored, rows)
    kept.check(clickhouse, stored, SITE)
    assert services.count(clickhouse, "several_days_raw FINAL", "pageviews > 0") == number


@pytest.mark.parametrize("days", [("09", "10"), ("10", "09")], ids=["in order", "the first day late"])
async def test_both_parts_are_kept(tables: ClickHouseProcess, days: tuple[str, str]) -> None:
    visits.register(tables, SITE)
    rows = [seen(f"2026-03-{day} 12:00:00.000") for day in days]
    await counted(tables, {**rows[0], "stored_at": "2026-04-01 00:00:00.000"})  # and not looked at again
    await counted(tables, rows[1])
    check(tables, rows, 2)


async def test_a_part_that_is_left_alone_is_kept_up(tables: ClickHouseProcess) -> None:
    visits.register(tables, SITE)
    first, late = seen("2026-03-09 12:00:00.000"), seen("2026-03-09 11:00:00.000")
    await counted(tables, first, seen("2026-03-10 12:00:00.000"), until=datetime(2026, 3, 10, tzinfo=UTC))
    check(tables, [first], 1)
    await counted(tables, late)
    check(tables, [first, late], 1)


#: A day that is over, wherever the hour after midnight is.
OVER = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(2)


async def counted_apart(clickhouse: ClickHouseProcess, days: int) -> list[visits.Row]:
    """Count a pageview of a session, then one so many days later, and check the days that are over."""
    visits.register(clickhouse, SITE)
    rows = [seen(visits.stamp(moment)) for moment in (OVER - timedelta(days), OVER)]
    await counted(clickhouse, {**rows[0], "stored_at": "2026-04-01 00:00:00.000"})
    await counted(clickhouse, rows[1])
    check(clickhouse, rows, 0)
    parts.execute(clickhouse, "TRUNCATE TABLE hitline_control.rollup_checked")
    noted = (OVER - timedelta(1)).date()
    parts.execute(
        clickhouse,
        "INSERT INTO hitline_control.rollup_checked (zone, day, drifted, number, checked_at)"
        f" VALUES ('UTC', '{noted}', 0, 1, now64(3) - toIntervalHour(1))",
    )
    await counted(clickhouse)
    return rows


async def test_days_apart_are_kept_when_the_later_one_is_over(tables: ClickHouseProcess) -> None:
    check(tables, await counted_apart(tables, days=31), 2)


async def test_days_further_apart_are_left_to_reports(tables: ClickHouseProcess) -> None:
    check(tables, await counted_apart(tables, days=32), 0)


async def test_more_pageviews_than_anybody_has_are_left_to_reports(
    tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "_TOUCH", apart._TOUCH.replace(f"<= {changes.MOST_IN_ARRAY}", "<= 1"))
    check(tables, await counted_apart(tables, days=3), 0)
