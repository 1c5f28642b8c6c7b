"""Small sites are counted together, by which their numbers do not change."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report import many
from deploy.report.figures import Period, Report
from deploy.report.many import Site
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.cli.conftest import Hitline
from tests.deploy.report.counted import Days
from tests.deploy.report.test_reading import compare
from tests.deploy.rollups import visits

FIRST, LAST = date(2026, 3, 14), date(2026, 3, 20)
#: Two in one time zone, and one in another.
SITES = {**visits.PAIR, list(visits.FEW)[1]: "Australia/Lord_Howe"}


def site(number: int, pageviews: int, zone: str = "UTC") -> Site:
    return Site(uuid.UUID(int=number), f"{number}.example", Period(FIRST, LAST, zone), pageviews)


def numbers(sites: list[Site]) -> list[list[int]]:
    return [[each.site_id.int for each in group] for group in many.groups(sites)]


def test_small_sites_of_a_time_zone_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_SITES", 3)
    monkeypatch.setattr(many, "_PAGEVIEWS", 100)
    monkeypatch.setattr(many, "_SMALL", 60)
    assert numbers([site(1, 5), site(2, 5, "Asia/Kolkata"), site(3, 5)]) == [[2], [1, 3]]
    assert numbers([site(number, 5) for number in range(7)]) == [[0, 1, 2], [3, 4, 5], [6]]
    assert numbers([site(1, 60), site(2, 40), site(3, 1)]) == [[1, 2], [3]]
    assert numbers([site(1, 5), site(2, 61), site(3, 5)]) == [[2], [1, 3]]
    assert numbers([]) == []


@pytest.fixture
def stored(tables: ClickHouseProcess) -> list[visits.Row]:
    visits.register(tables, SITES)
    rows = visits.make(600, seed=4, first=datetime(2026, 3, 8, tzinfo=UTC), days=13, sites=SITES)
    one, other = ([row for row in rows if row["site_id"] == str(each)] for each in visits.PAIR)
    for mine, theirs in zip(one[:50], other, strict=False):
        mine["session_id"] = theirs["session_id"]
    rows = visits.derive(rows[::3], 4) + [row for number, row in enumerate(rows) if number % 3]
    visits.insert(tables, rows)
    visits.insert(tables, rows[:40])  # twice, which must not show
    kept: visits.Stored = {}
    visits.store(kept, rows)
    return list(visits.shown(kept).values())


@pytest.mark.parametrize("small", [20_000, 250], ids=["all small", "some small"])
def test_the_numbers_are_those_of_the_pageviews(
    tables: ClickHouseProcess, stored: list[visits.Row], monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    """Also those of sessions that are derived, of ids that two sites share, and of a site without any pageview."""
    monkeypatch.setattr(many, "_SMALL", small)
    nobody = uuid.UUID(int=1)
    zones = {**SITES, nobody: "Asia/Kolkata"}
    shares = {each: sum(row["site_id"] == str(each) for row in stored) for each in zones}
    sites = [Site(each, str(each), Period(FIRST, LAST, zone), shares[each]) for each, zone in zones.items()]

    async def collect() -> list[Report]:
        client = ClickHouse(tables.url, "hitline tests")
        try:
            await roll_up(client)
            return [found async for found in many.collect_many(client, sites, with_bots=False, top=1000)]
        finally:
            await client.close()

    reports = {found.site: found for found in parts.run_apart(collect)}
    assert reports.keys() == {str(each) for each in zones}
    for each, zone in zones.items():
        found, rows = reports[str(each)], [row for row in stored if row["site_id"] == str(each)]
        assert rows or each == nobody
        days = Days(rows, zone, FIRST, LAST)
        assert not rows or days.rows
        if rows:
            compare(found.now, days, with_bots=False, tops=True)
            compare(found.before, days.before(rows), with_bots=False, tops=False)
        else:
            assert found.now.totals.pageviews == 0


def test_all_sites_are_shown_by_name_in_every_form(hitline: Hitline, stored: list[visits.Row]) -> None:
    names = sorted(f"{each.hex[-4:]}.example" for each in SITES)
    period = ("--from", str(FIRST), "--to", str(LAST), "--top", "2")
    every = json.loads(hitline("report", "--all", *period, "--json").stdout)
    assert [each["site"] for each in every] == names
    named = json.loads(hitline("report", *reversed(names), *period, "--json").stdout)
    for each in (*every, *named):
        del each["made_at"]
    assert named == every[::-1]
    assert hitline("report", "--all", *period, "--csv").stdout == hitline("report", *names, *period, "--csv").stdout
    assert hitline("report", "--all", *period).stdout == hitline("report", *names, *period).stdout
    assert json.loads(hitline("report", "--all", "--from", "2020-01-01", "--to", "2020-01-02", "--json").stdout) == []
