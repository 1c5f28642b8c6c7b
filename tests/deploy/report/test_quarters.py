"""Quarters of an hour in which a report looks at pageviews: any number, and ClickHouse finds them by the sort key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report import quarters, session_keys
from shared.clickhouse import ClickHouse
from tests.deploy.rollups import visits

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


async def test_of_many_midnights_nothing_between_them_is_read(tables: ClickHouseProcess) -> None:
    days = 400
    midnights = [FIRST + timedelta(day) for day in range(days)]
    some = {quarters.QUARTERS: [each for at in midnights for each in quarters.between(at, at + timedelta(minutes=15))]}
    hours = (
        f"SELECT toDateTime64('2026-01-01', 3, 'UTC') + toIntervalHour(number) AS timestamp FROM numbers({24 * days})"
    )
    visits.insert(tables, visits.make(1, seed=1, sites=visits.PAIR))  # without any, no index is asked
    client = ClickHouse(tables.url, "hitline tests")
    try:
        sql = f"SELECT count() FROM ({hours}) WHERE {quarters.WITHIN}"
        assert [list(row) for row in await session_keys.query(client, sql, {}, some)] == [[days]]
        sql = f"EXPLAIN indexes = 1 SELECT count() FROM hitline.pageviews_raw PREWHERE {quarters.WITHIN}"
        plan = "\n".join(line for (line,) in await session_keys.query(client, sql, {}, some))
        assert f"toStartOfFifteenMinutes(timestamp) in {days}-element set" in plan
    finally:
        await client.close()
