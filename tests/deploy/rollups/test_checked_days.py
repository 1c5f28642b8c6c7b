"""Which days are checked: each once, none twice, and the last day of a month like the others."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups import check
from deploy.rollups.run import roll_up
from deploy.rollups.settle import Settled
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check as compare

pytestmark = pytest.mark.processes

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
#: The day that is over, wherever the hour after midnight is.
OVER = (datetime.now(UTC) - timedelta(hours=1)).date() - timedelta(1)


async def run(clickhouse: ClickHouseProcess, *, everything: bool = False) -> None:
    client = ClickHouse(clickhouse.url, "hitline tests")
    try:
        await roll_up(client, everything=everything)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("noted", "due"),
    [
        ([], [OVER]),
        ([(OVER - timedelta(3), 1)], [OVER - timedelta(2), OVER - timedelta(1), OVER]),
        ([(OVER, 1)], []),
        ([(OVER, 1), (OVER - timedelta(2), 2)], [OVER - timedelta(1), OVER]),
    ],
    ids=["the first time", "some days later", "again", "after a clock that was ahead"],
)
async def test_days_that_were_checked_are_not_checked_again(
    tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch, noted: list[tuple[date, int]], due: list[date]
) -> None:
    """Of several notes the one of the last run counts, not that of the last day."""
    site = {next(iter(visits.SITES)): "UTC"}
    visits.register(tables, site)
    visits.insert(tables, visits.make(60, seed=81, first=TODAY - timedelta(8), days=8, sites=site))
    for day, number in noted:
        parts.execute(
            tables,
            "INSERT INTO hitline_control.rollup_checked (zone, day, drifted, number, checked_at)"
            f" VALUES ('UTC', '{day}', 0, {number}, now64(3) - toIntervalHour(1))",
        )
    seen: list[date] = []

    async def noting(_client: ClickHouse, _lease: Any, day: date, *_: Any) -> Settled:
        seen.append(day)
        return Settled()

    monkeypatch.setattr(check, "_check", noting)
    await run(tables)
    assert seen == due


TABLES = ("daily_counts_raw", "hourly_counts_raw", "session_days_raw")


@pytest.mark.parametrize(
    "harmed", [TABLES, (), *(pytest.param((table,), marks=pytest.mark.full) for table in TABLES)], ids=" and ".join
)
async def test_all_of_it_computes_the_last_day_of_a_month_too(
    tables: ClickHouseProcess, harmed: tuple[str, ...]
) -> None:
    site = {next(iter(visits.SITES)): "UTC"}
    visits.register(tables, site)
    stored: visits.Stored = {}
    rows = visits.make(30, seed=82, first=datetime(2026, 1, 31, tzinfo=UTC), days=1, sites=site)
    rows = [row for row in rows if row["timestamp"] < "2026-02"]
    visits.insert(tables, rows)
    visits.store(stored, rows)
    await run(tables)
    if not harmed:  # nothing is known of the day
        for table in TABLES:
            parts.execute(tables, f"TRUNCATE TABLE hitline.{table}")
    for table in harmed:
        more = ", fingerprint + 1 AS fingerprint" if table == "session_days_raw" else ""
        parts.execute(
            tables,
            f"INSERT INTO hitline.{table} SELECT * REPLACE (run + 1 AS run, pageviews + 7 AS pageviews{more})"
            f" FROM hitline.{table} FINAL",
        )
    await run(tables, everything=True)
    compare(tables, stored, site)
    if "session_days_raw" in harmed:
        wrong = parts.execute(tables, "SELECT sum(pageviews) FROM hitline.session_days_raw FINAL")
        assert int(wrong) == len(stored)
