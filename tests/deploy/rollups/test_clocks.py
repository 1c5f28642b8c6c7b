"""Rollups follow what is stored, also where the clock that says when it was has been ahead, and new rules of zones."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report import standing
from deploy.report.figures import Period
from deploy.rollups.run import Summary, roll_up
from shared.clickhouse import ClickHouse
from tests import parts, services
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check

pytestmark = pytest.mark.processes


class Life:
    """An instance whose pageviews are stored at a time by the clock of that moment."""

    def __init__(self, clickhouse: ClickHouseProcess) -> None:
        self.clickhouse = clickhouse
        self.stored: visits.Stored = {}
        self._seed = 0
        visits.register(clickhouse, visits.PAIR)

    def store(self, **ago: float) -> None:
        """Store some pageviews this long ago."""
        self._seed += 1
        rows = visits.make(40, seed=self._seed, sites=visits.PAIR)
        at = visits.stamp(datetime.now(UTC) - timedelta(**ago))
        visits.insert(self.clickhouse, [{**row, "stored_at": at} for row in rows])
        visits.store(self.stored, rows)

    async def roll_up(self, **ahead: float) -> Summary:
        """Run by a clock of this machine that is ahead."""
        client = ClickHouse(self.clickhouse.url, "hitline tests")
        try:
            return await roll_up(client, clock=lambda: time.time() + timedelta(**ahead).total_seconds())
        finally:
            await client.close()

    def check(self) -> None:
        check(self.clickhouse, self.stored)


@pytest.fixture
def life(tables: ClickHouseProcess) -> Life:
    return Life(tables)


def recorded_ahead(clickhouse: ClickHouseProcess, **ahead: float) -> None:
    """Make the last run one by clocks that were all ahead."""
    seconds = timedelta(**ahead).total_seconds()
    parts.execute(
        clickhouse,
        "INSERT INTO hitline.rollup_moments (kind, number, moment, registry, zones)"
        f" SELECT kind, number + 1, now64(3) + toIntervalSecond({seconds:.0f}), registry, zones"
        " FROM hitline.rollup_moments ORDER BY number DESC LIMIT 1",
    )


@pytest.mark.parametrize(
    "ahead_s", [86_400, *(pytest.param(each, marks=pytest.mark.full) for each in (600, 400 * 86_400))]
)
async def test_a_run_by_a_clock_that_was_ahead_hides_nothing(life: Life, ahead_s: int) -> None:
    life.store(days=100)
    assert not (await life.roll_up()).clock_was_ahead
    life.store()
    recorded_ahead(life.clickhouse, seconds=ahead_s)
    summary = await life.roll_up()
    assert summary.clock_was_ahead
    assert abs(summary.complete_to - datetime.now(UTC)) < timedelta(minutes=1)
    life.check()
    [freshness] = services.rows(life.clickhouse, "SELECT max(complete_to) < now64(3) AS past FROM hitline.freshness")
    assert freshness["past"]
    life.store(seconds=1)
    assert not (await life.roll_up()).clock_was_ahead
    life.check()


async def test_what_is_stored_in_the_future_is_counted_once(life: Life) -> None:
    life.store(days=1)
    await life.roll_up()
    for _ in range(2):
        life.store(days=-1)
        assert (await life.roll_up()).sessions > 0
        life.check()
        [noted] = services.rows(
            life.clickhouse,
            "SELECT argMax(ahead, number) AS ahead,"
            " (SELECT count() FROM hitline.pageviews_raw WHERE stored_at > now64(3) + 3600) AS stored"
            " FROM hitline.rollup_moments",
        )
        assert noted["ahead"] == noted["stored"], "or each run computes them again"
        assert (await life.roll_up()).sessions == 0


async def test_of_two_clocks_the_earlier_one_is_believed(life: Life) -> None:
    """ClickHouse's is right here: seen from a machine that is a day behind, it is a day ahead."""
    life.store(days=3)
    life.store(minutes=5)
    summary = await life.roll_up(days=-1)
    assert summary.complete_to < datetime.now(UTC) - timedelta(hours=23)
    life.check()
    life.store()
    await life.roll_up(days=-1)
    life.check()
    summary = await life.roll_up(days=1)
    assert summary.complete_to < datetime.now(UTC)


async def test_a_reader_does_not_rely_on_a_moment_that_is_still_to_come(life: Life) -> None:
    life.store(days=100)
    await life.roll_up()
    site, zone = next(iter(visits.PAIR.items()))
    period = Period(date(2026, 4, 1), date(2026, 4, 2), zone)
    client = ClickHouse(life.clickhouse.url, "hitline tests")
    try:
        assert await standing.look(client, site, period) is not None
        recorded_ahead(life.clickhouse, hours=1)
        assert await standing.look(client, site, period) is None
    finally:
        await client.close()


async def test_days_that_were_checked_ahead_are_checked_when_they_are_over(life: Life) -> None:
    life.store(days=100)
    await life.roll_up()
    days = "SELECT zone, toString(day) AS day FROM hitline_control.rollup_checked FINAL ORDER BY zone"
    before = services.rows(life.clickhouse, days)
    parts.execute(life.clickhouse, "TRUNCATE TABLE hitline_control.rollup_checked")
    ahead = ", ".join(
        f"('{row['zone']}', toDate('{row['day']}') + 40, 1, now64(3) + INTERVAL 40 DAY)" for row in before
    )
    parts.execute(
        life.clickhouse,
        f"INSERT INTO hitline_control.rollup_checked (zone, day, number, checked_at) VALUES {ahead}",
    )
    await life.roll_up()
    assert services.rows(life.clickhouse, days) == before


async def test_a_rule_that_has_changed_moves_the_sites_of_its_zone(life: Life) -> None:
    """As if India's clocks had been those of Nepal by the database that rollups were computed with."""
    site, zone = next(item for item in visits.PAIR.items() if item[1] == "Asia/Kolkata")
    visits.register(life.clickhouse, {site: "Asia/Kathmandu"}, version=2)
    life.store(days=100)
    await life.roll_up()
    visits.register(life.clickhouse, {site: zone}, version=3)
    parts.execute(
        life.clickhouse,
        "INSERT INTO hitline_control.rollup_zones (site_id, timezone, moving, version)"
        f" SELECT site_id, '{zone}', false, version + 1 FROM hitline_control.rollup_zones FINAL"
        f" WHERE site_id = '{site}'",
    )
    assert (await life.roll_up()).new_rules == ()
    with pytest.raises(AssertionError):
        life.check()
    this_year = datetime.now(UTC).year - 1990 + 1
    parts.execute(
        life.clickhouse,
        "INSERT INTO hitline_control.rollup_zone_rules SELECT timezone,"
        f" arrayMap((hash, n) -> if(n = {this_year}, hash + 1, hash), years, arrayEnumerate(years)), number + 1"
        f" FROM hitline_control.rollup_zone_rules FINAL WHERE timezone = '{zone}'",
    )
    assert (await life.roll_up()).new_rules == (), "looked at with a new version of the database only"
    another_database(life.clickhouse)
    assert (await life.roll_up()).new_rules == (zone,)
    life.check()
    another_database(life.clickhouse)
    assert (await life.roll_up()).new_rules == ()


async def test_a_rule_of_years_to_come_moves_nobody(life: Life) -> None:
    life.store(days=100)
    await life.roll_up()
    parts.execute(
        life.clickhouse,
        "INSERT INTO hitline_control.rollup_zone_rules SELECT timezone, arrayResize(years, 45), number + 1"
        " FROM hitline_control.rollup_zone_rules FINAL",
    )
    another_database(life.clickhouse)
    assert (await life.roll_up()).new_rules == ()
    noted = services.rows(
        life.clickhouse, "SELECT min(length(years)) AS years FROM hitline_control.rollup_zone_rules FINAL"
    )
    assert int(noted[0]["years"]) > 45


def another_database(clickhouse: ClickHouseProcess) -> None:
    """Make the last run one with another version of the time zone database."""
    parts.execute(
        clickhouse,
        "INSERT INTO hitline.rollup_moments (kind, number, moment, registry, zones)"
        " SELECT kind, number + 1, moment, registry, '2019a' FROM hitline.rollup_moments"
        " ORDER BY number DESC LIMIT 1",
    )
