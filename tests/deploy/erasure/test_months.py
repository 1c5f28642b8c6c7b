"""Old months are merged where it is worth it: what is rewritten is bounded by what was stored, not by what there is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deploy.erasure import months
from deploy.local.clickhouse.process import ClickHouseProcess
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.bench import scale
from tests.deploy.cli.conftest import Hitline
from tests.deploy.erasure.test_retention import masked
from tests.deploy.rollups import visits

pytestmark = pytest.mark.processes

SITE = f"toUUID('{scale.LARGE}')"


def written(clickhouse: ClickHouseProcess) -> int:
    """Return the rows that merges have written since the start."""
    found = services.rows(clickhouse, "SELECT value FROM system.events WHERE event = 'MergeWrittenRows'")
    return int(found[0]["value"]) if found else 0


async def plan(clickhouse: ClickHouseProcess) -> months.Plan:
    client = ClickHouse(clickhouse.url, "hitline tests")
    try:
        return await months.plan(client)
    finally:
        await client.close()


@pytest.mark.parametrize("days", [4, pytest.param(10, marks=pytest.mark.full)])
async def test_a_late_pageview_rewrites_no_month(tables: ClickHouseProcess, hitline: Hitline, days: int) -> None:
    for part in range(3):
        scale.insert(tables, SITE, part * 30_000, 30_000)
    due = bool((await plan(tables)).months)  # unless ClickHouse has done it by itself
    assert ("merging 202603" in hitline("retain").stdout) == due
    assert await plan(tables) == months.Plan([], 0)
    before = written(tables)
    for day in range(days):
        scale.insert(tables, SITE, 100_000 + day, 1, seed=7)
        assert "merging" not in hitline("retain").stdout
    assert (await plan(tables)).waiting == 1
    assert written(tables) - before < 1000
    assert services.rows(tables, "SELECT count() AS n FROM hitline.pageviews")[0]["n"] in (
        90_000 + days, f"{90_000 + days}",
    )  # fmt: skip


@pytest.mark.parametrize("days", [8, pytest.param(25, marks=pytest.mark.full)])
async def test_what_is_rewritten_is_at_most_ten_times_what_was_stored(
    tables: ClickHouseProcess, hitline: Hitline, days: int
) -> None:
    before, stored, merges = written(tables), 20_000, 0
    scale.insert(tables, SITE, 0, stored)
    for day in range(days):  # a day's late pageviews, more and fewer
        late = 300 * (1 + day % 5)
        scale.insert(tables, SITE, 100_000 + stored, late, seed=7)
        stored += late
        merges += "merging 202603" in hitline("retain").stdout
    assert 0 < merges < max(4, days // 2)
    assert written(tables) - before <= 10 * stored
    assert services.count(tables) == stored


async def test_merging_takes_what_was_erased_off_the_disk(tables: ClickHouseProcess, hitline: Hitline) -> None:
    parts.execute(tables, "SYSTEM STOP MERGES hitline.pageviews_raw")
    try:
        for seed in (61, 62):
            first = datetime(2026, 3, 10, tzinfo=UTC)
            visits.insert(tables, visits.make(60, seed=seed, first=first, days=1, sites=visits.PAIR))
    finally:
        parts.execute(tables, "SYSTEM START MERGES hitline.pageviews_raw")
    hitline("rollup")
    hitline("erase", "--path", "/a", "--yes")
    output = hitline("retain").stdout
    if "merging 202603" in output:
        assert "rewriting pageviews_raw" not in output
    assert masked(tables, "pageviews_raw") == 0
    assert services.rows(tables, "SELECT count() AS n FROM hitline.pageviews WHERE path = '/a'")[0]["n"] in (0, "0")
