"""A run costs what is new: rows that its statements read, and the size of what it sends, whatever there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from deploy.erasure.conditions import Erasure
from deploy.erasure.request import erase
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups.run import Summary, roll_up
from tests import parts, services
from tests.bench import scale

pytestmark = pytest.mark.processes

#: Their ids are nearly twice as long as a statement may be.
SITES = 1_500
MOST_BYTES = 32 << 10


class Watched(scale.Counting):
    """Also refuses what a server would refuse with more sites."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.contents_read = 0

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None, *more: Any, **named: Any) -> Any:
        assert len(sql) + len(str(parameters)) < MOST_BYTES
        return await super().query(sql, parameters, *more, **named)

    async def command(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> Any:
        assert len(sql) + len(str(parameters)) < MOST_BYTES
        self.contents_read += "FROM hitline.session_days_raw FINAL" in sql
        return await super().command(sql, parameters, settings)


async def run(clickhouse: ClickHouseProcess) -> tuple[Summary, int]:
    client = Watched(clickhouse.url, "hitline tests")
    try:
        return await roll_up(client), client.rows_read
    finally:
        await client.close()


async def test_what_is_read_is_bounded_by_what_is_new(tables: ClickHouseProcess) -> None:
    pageviews = 60_000
    scale.insert(tables, f"toUUID('{scale.LARGE}')", 0, pageviews, stored_at="toDateTime64('2026-03-11 00:00:00', 3)")
    parts.execute(tables, "OPTIMIZE TABLE hitline.pageviews_raw FINAL")
    summary, read = await run(tables)
    assert summary.sessions == pageviews // 3
    assert read > pageviews
    for table in ("session_days_raw", "daily_counts_raw", "hourly_counts_raw"):
        parts.execute(tables, f"OPTIMIZE TABLE hitline.{table} FINAL")

    summary, read = await run(tables)
    assert (summary.sessions, summary.drifted) == (0, 0)
    assert read < 1000

    scale.insert(tables, f"toUUID('{scale.LARGE}')", 30, 1, seed=2)
    summary, read = await run(tables)
    assert (summary.sessions, summary.site_days) == (1, 1)
    assert read < pageviews, "a granule here and there"
    views = services.rows(tables, "SELECT sum(pageviews) AS n FROM hitline.daily WHERE dimension = 'path'")
    assert int(views[0]["n"]) == pageviews + 1


@pytest.mark.parametrize(("first", "seed", "sessions", "reads"), [(600, 0, 1, 0), (0, 0, 0, 0), (0, 5, 1, 1)])
async def test_what_a_session_was_counted_with_is_read_only_where_it_has_changed(
    tables: ClickHouseProcess, first: int, seed: int, sessions: int, reads: int
) -> None:
    """A session that is new, pageviews that are repeated, and one more pageview of a session."""
    site = f"toUUID('{scale.LARGE}')"
    scale.insert(tables, site, 0, 300, stored_at="toDateTime64('2026-03-11 00:00:00', 3)")
    client = Watched(tables.url, "hitline tests")
    try:
        assert (await roll_up(client)).sessions == 100
        client.contents_read = 0
        scale.insert(tables, site, first, 3, seed=seed)
        assert (await roll_up(client)).sessions == sessions
    finally:
        await client.close()
    assert client.contents_read == reads


@pytest.mark.full  # otherwise in cli/test_many_sites.py, where no statement has more than ten sites
async def test_thousands_of_sites(tables: ClickHouseProcess) -> None:
    """No set of sites or sessions is in a statement or in a parameter: counted, moved to other zones, and erased."""
    parts.execute(tables, scale.registration(SITES, "3 + number % 2"))
    scale.insert(tables, scale.SITE, 0, SITES, seed=3)
    summary, _ = await run(tables)
    assert (summary.sessions, summary.site_days) == (SITES, SITES)
    parts.execute(tables, scale.registration(SITES // 10, "3 + (number + 1) % 2"))
    await run(tables)
    differing = (
        "SELECT count() FROM (SELECT site_id, toDate(min(timestamp), 'Asia/Kolkata') AS day FROM hitline.pageviews"
        " GROUP BY site_id) AS seen INNER JOIN hitline.freshness USING (site_id)"
        " WHERE timezone = 'Asia/Kolkata' AND (first_day != day OR last_day != day)"
    )
    assert parts.execute(tables, differing).strip() == "0"
    client = Watched(tables.url, "hitline tests")
    try:
        assert (await erase(client, Erasure(time_to=scale.END))).pageviews == SITES
    finally:
        await client.close()
    assert services.rows(tables, "SELECT * FROM hitline.daily LIMIT 1") == []
