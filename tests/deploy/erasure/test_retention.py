"""Retention: what has expired is unreadable at once, and each partition is written again once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from deploy.erasure import retention
from deploy.erasure.clocks import ClocksDifferError
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report.figures import midnight
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.erasure.cut_off import until_cut_off
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check

pytestmark = pytest.mark.processes

ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia")
#: A month that is over, in which the retentions end.
NOW = datetime.now(UTC)
MONTH = (NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=32)).replace(day=1)


def groups(number: int, zones: Sequence[str] = ZONES) -> dict[uuid.UUID, tuple[str, int]]:
    """Return sites, each with a time zone and a retention of its own that ends in `MONTH`."""
    first = (NOW - MONTH).days
    return {
        uuid.UUID(int=0xE << 64 | each): (zones[each % len(zones)], first - 3 - each // len(zones) * 2)
        for each in range(number)
    }


def register(clickhouse: ClickHouseProcess, sites: dict[uuid.UUID, tuple[str, int]]) -> None:
    rows = [
        {"site_id": str(site), "name": f"{site.hex[-4:]}.example", "timezone": zone, "retention_days": days,
         "version": 1, "created_at": "2026-01-01 00:00:00"} for site, (zone, days) in sites.items()
    ]  # fmt: skip
    visits.insert(clickhouse, rows, "hitline_control.sites")


def expired(stored: visits.Stored, sites: dict[uuid.UUID, tuple[str, int]]) -> list[tuple[str, ...]]:
    zones = {site: zone for site, (zone, _) in sites.items()}
    first_kept = {}
    for site, (zone, days) in sites.items():
        then = {"site_id": str(site), "timestamp": visits.stamp(datetime.now(UTC) - timedelta(days))}
        first_kept[site] = visits.local_day(then, {site: zone})
    return [key for key, row in stored.items() if visits.local_day(row, zones) < first_kept[uuid.UUID(row["site_id"])]]


def masked(clickhouse: ClickHouseProcess, table: str) -> int:
    """Return how many rows are on the disk and readable by nobody."""
    sql = f"SELECT count() AS n FROM hitline.{table} WHERE NOT _row_exists SETTINGS apply_deleted_mask = 0"
    return int(services.rows(clickhouse, sql)[0]["n"])


@pytest.mark.parametrize("number", [8, pytest.param(48, marks=pytest.mark.full)])
def test_many_groups_in_a_month_are_one_rewrite(tables: ClickHouseProcess, hitline: Hitline, number: int) -> None:
    sites = groups(number, ZONES if number > 8 else ZONES[1::2])
    zones = {site: zone for site, (zone, _) in sites.items()}
    register(tables, sites)
    stored: visits.Stored = {}
    rows = visits.make(500, seed=31, first=MONTH, days=27, sites=zones)
    recent = visits.make(50, seed=32, first=NOW - timedelta(1.9), days=1, sites=zones)
    for some in (rows[::2], rows[1::2], recent):
        visits.insert(tables, some)
        visits.store(stored, some)
    hitline("rollup")

    gone = expired(stored, sites)
    assert 50 < len(gone) < len(stored)
    output = hitline("retain", "--dry-run").stdout
    assert output.count("would be erased") > number / 3
    assert sum(int(line.split(": ")[1].split()[0]) for line in output.splitlines()) == len(gone)

    month = f"{MONTH:%Y%m}"
    before = mutations(tables)
    printed = hitline("retain").stdout
    assert printed.count(f"rewriting pageviews_raw {month} ") <= 1
    done = mutations(tables)[len(before) :]
    assert sum("APPLY DELETED MASK" in each for each in done) <= 1, "one rewrite"
    assert len(done) <= 3, "and few marks"
    for key in gone:
        del stored[key]
    check(tables, stored, zones)
    for table in ("pageviews_raw", "session_days_raw", "several_days_raw", "daily_counts_raw", "hourly_counts_raw"):
        assert masked(tables, table) == 0
    assert hitline("retain").stdout == ""
    if number > 8:
        hitline("rollup", "--all")
        check(tables, stored, zones)


def test_a_day_is_kept_from_its_first_moment_on_the_site_s_clock(tables: ClickHouseProcess, hitline: Hitline) -> None:
    sites = groups(2)
    zones = {site: zone for site, (zone, _) in sites.items()}
    register(tables, sites)
    [template] = visits.make(1, seed=41, first=NOW - timedelta(1.9), days=1, sites=zones)[:1]
    stored: visits.Stored = {}
    for number, (site, (zone, days)) in enumerate(sites.items()):
        first_kept = (datetime.now(UTC) - timedelta(days)).astimezone(ZoneInfo(zone)).date()
        moments = [midnight(first_kept, zone) + timedelta(milliseconds=each) for each in (-900_000, -1, 0, 899_999)]
        rows = [
            {**template, "site_id": str(site), "timestamp": visits.stamp(at), "session_id": str(uuid.UUID(int=each))}
            for each, at in enumerate([*moments, NOW - timedelta(1)], 1 + 10 * number)
        ]
        visits.insert(tables, rows)
        visits.store(stored, rows[2:])
    hitline("rollup")
    hitline("retain")
    check(tables, stored, zones)


def mutations(clickhouse: ClickHouseProcess) -> list[str]:
    """Return the mutations of the pageviews, the first one first."""
    sql = "SELECT command FROM system.mutations WHERE table = 'pageviews_raw' ORDER BY create_time, mutation_id"
    return [str(row["command"]) for row in services.rows(clickhouse, sql)]


def test_months_in_which_nothing_else_is_or_arrives_are_dropped(tables: ClickHouseProcess, hitline: Hitline) -> None:
    sites = {site: (zone, 30) for site, zone in visits.PAIR.items()}
    zones = {site: zone for site, (zone, _) in sites.items()}
    register(tables, sites)
    old = visits.make(30, seed=33, first=datetime(2025, 2, 3, tzinfo=UTC), days=20, sites=zones)
    recent = visits.make(20, seed=34, first=NOW - timedelta(1.9), days=1, sites=zones)
    stored: visits.Stored = {}
    for some in (old, recent):
        visits.insert(tables, some)
    visits.store(stored, recent)
    hitline("rollup")
    before = mutations(tables)
    hitline("retain", HITLINE_RETENTION_DAYS="60")
    assert mutations(tables) == before
    check(tables, stored, zones)
    assert "retention of 30 days" in hitline("erase", "--list").stdout


@pytest.mark.full  # otherwise with many groups, above
def test_a_site_that_keeps_more_keeps_it_in_the_same_month(tables: ClickHouseProcess, hitline: Hitline) -> None:
    short, long, *_ = visits.PAIR
    zones = {site: visits.PAIR[site] for site in (short, long)}
    register(tables, {short: (zones[short], 30), long: (zones[long], 0)})
    old = visits.make(40, seed=35, first=datetime(2025, 2, 3, tzinfo=UTC), days=20, sites=zones)
    recent = visits.make(5, seed=36, first=NOW - timedelta(1.9), days=1, sites=zones)
    stored: visits.Stored = {}
    for some in (old, recent):
        visits.insert(tables, some)
        visits.store(stored, some)
    hitline("rollup")
    hitline("retain")
    stored = {key: row for key, row in stored.items() if row["site_id"] == str(long) or row in recent}
    check(tables, stored, zones)


async def test_nothing_is_erased_while_the_clocks_differ(tables: ClickHouseProcess, hitline: Hitline) -> None:
    register(tables, {site: (zone, 30) for site, zone in visits.PAIR.items()})
    visits.insert(tables, visits.make(40, seed=37, first=datetime(2026, 1, 3, tzinfo=UTC), days=20, sites=visits.PAIR))
    parts.execute(tables, "ALTER TABLE hitline.pageviews_raw UPDATE received_at = now64(3) WHERE 1"
                          " SETTINGS mutations_sync = 2")  # fmt: skip
    rows = services.count(tables)
    client = ClickHouse(tables.url, "hitline tests")
    try:
        for what in (retention.due, retention.apply):
            with pytest.raises(ClocksDifferError, match="nothing was erased"):
                await what(client, 0, clock=lambda: time.time() + 25 * 86_400)
        assert services.count(tables) == rows
        assert sum(each.pageviews for each in await retention.apply(client, 0)) == rows
    finally:
        await client.close()
    assert services.count(tables) == 0


#: Where a run has erased pageviews and nothing of the rollups, or these in part; each before or after the statement.
MARKING = (("DELETE FROM hitline.pageviews_raw", True), ("DELETE FROM hitline.hourly_counts_raw", False))
#: All of its statements and more, some killed before and some after.
EVERY = tuple((step, step % 4 == 1) for step in range(1, 200, 2))


@pytest.mark.parametrize("kills", [MARKING, pytest.param(EVERY, marks=pytest.mark.full)], ids=len)
async def test_cut_off_at_any_step_the_next_run_completes_it(
    tables: ClickHouseProcess,
    hitline: Hitline,
    kills: Sequence[tuple[int | str, bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deploy.rollups.lease._is_gone", lambda owner: True)  # as that of a process that was killed
    sites = groups(2 if kills is MARKING else 4)  # each has a time zone of its own
    zones = {site: zone for site, (zone, _) in sites.items()}
    register(tables, sites)
    stored: visits.Stored = {}
    for number, (at, afterwards) in enumerate(kills):
        some = visits.make(12, seed=100 + number, first=MONTH, days=27, sites=zones)
        some += visits.make(8, seed=700 + number, first=MONTH, days=2, sites=zones)
        some += visits.make(2, seed=300 + number, first=datetime(2025, 7, 30, tzinfo=UTC), days=3, sites=zones)
        some += visits.make(2, seed=500 + number, first=NOW - timedelta(1.9), days=1, sites=zones)
        visits.insert(tables, some)
        visits.store(stored, some)
        hitline("rollup")
        killed = await until_cut_off(tables, lambda client: retention.apply(client, 0), at, afterwards=afterwards)
        if number % 3:
            hitline("rollup")
        hitline("retain")
        for key in expired(stored, sites):
            del stored[key]
        if not killed:
            break
    assert killed == (kills is MARKING), "it has fewer steps"
    check(tables, stored, zones)
    for table in ("pageviews_raw", "session_days_raw", "several_days_raw", "daily_counts_raw", "hourly_counts_raw"):
        assert masked(tables, table) == 0
