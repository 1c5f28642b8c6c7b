"""docs/queries.md after all that changes pageviews: every query and rollup still answers what Python does."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts
from tests.deploy.cli.conftest import Hitline, _logging_as_before, runner_with
from tests.deploy.rollups import visits
from tests.queries_in_clickhouse import OF_PAGEVIEWS, PERIODS, SITES, compare, computed, make_rows
from tests.queries_in_python import Asked, at

__all__ = ["_logging_as_before"]
pytestmark = pytest.mark.processes

#: Between the two periods.
RETENTION_BEGINS = date(2026, 7, 1)
MOVED = "Asia/Kathmandu"


class World:
    """Pageviews in ClickHouse and in Python.

    `whole`: each check is of all sites and periods; else of one, and where it is not `last` of its kind, left out, and
    so are the third site and what is computed between two changes.
    """

    def __init__(self, clickhouse: ClickHouseProcess, hitline: Hitline, whole: bool) -> None:
        self.clickhouse, self.hitline, self.whole = clickhouse, hitline, whole
        self.zones = dict(SITES) if whole else dict(list(SITES.items())[1:])
        self.sites = list(self.zones)
        self.stored: visits.Stored = {}
        self._turn = itertools.cycle(itertools.product(PERIODS, self.sites))

    def put(self, rows: list[visits.Row]) -> None:
        visits.insert(self.clickhouse, rows)
        visits.store(self.stored, rows)

    def rows(self, site: uuid.UUID) -> list[visits.Row]:
        return [row for row in self.stored.values() if row["site_id"] == str(site)]

    def check(self, *, site: uuid.UUID | None = None, last: bool = True) -> None:
        if not (last or self.whole):
            return
        every = list(itertools.product(PERIODS, self.sites))
        for period, asked_site in every if self.whole else [next(self._turn)]:
            chosen = site or asked_site
            asked = Asked(self.rows(chosen), self.zones[chosen], *PERIODS[period])
            for query in OF_PAGEVIEWS:
                compare(self.clickhouse, query, asked, chosen)

    def computed_between(self) -> None:
        if self.whole:
            computed(self.clickhouse)
            self.check()

    def erase(self, *arguments: str, matching: dict[str, str]) -> None:
        self.hitline("erase", *arguments, "--yes")
        self.stored = {
            key: row
            for key, row in self.stored.items()
            if any(row[name] != wanted for name, wanted in matching.items())
        }


@pytest.fixture
def clickhouse_with_sites(clickhouse: ClickHouseProcess, _schema: None) -> Iterator[ClickHouseProcess]:
    parts.empty_tables(clickhouse)
    visits.register(clickhouse, SITES)
    yield clickhouse
    parts.empty_tables(clickhouse)


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.full)])
def test_all_queries_after_each_change(clickhouse_with_sites: ClickHouseProcess, tmp_path: Path, whole: bool) -> None:
    clickhouse = clickhouse_with_sites
    world = World(clickhouse, runner_with(parts.make_env(tmp_path, clickhouse)), whole)
    made = {site: make_rows(site, seed=number + 70) for number, site in enumerate(world.sites)}
    for rows in made.values():
        world.put(rows[:-200])
    computed(clickhouse)
    world.check(last=False)
    for rows in made.values():
        world.put(rows[:150])  # repeated
        world.put([{**row, "path": "/corrected", "is_bot": not row["is_bot"]} for row in rows[150:200]])
    world.computed_between()
    parts.execute(clickhouse, "OPTIMIZE TABLE hitline.pageviews_raw FINAL")
    world.computed_between()
    for rows in made.values():
        world.put(rows[-200:])  # late: their days are in the rollups
    computed(clickhouse)
    world.check()
    move(world)
    if whole:  # otherwise what rollups and pageviews are then is in deploy/erasure and deploy/rollups
        erase(world)
        retain(world)


def move(world: World) -> None:
    """A site moves to another time zone."""
    site = world.sites[0]
    world.zones[site] = MOVED
    visits.register(world.clickhouse, {site: MOVED}, version=2)
    computed(world.clickhouse)
    world.check(site=site)


def erase(world: World) -> None:
    """A session, a path of a site, and a site are erased."""
    first, second, *others = world.sites
    session = max(
        world.rows(first), key=lambda row: sum(r["session_id"] == row["session_id"] for r in world.rows(first))
    )
    world.erase("--session", session["session_id"], matching={"session_id": session["session_id"]})
    world.check(site=first, last=False)
    path = world.rows(second)[0]["path"]
    name = f"{second.hex[-4:]}.example"
    world.erase("--site", name, "--path", path, matching={"site_id": str(second), "path": path})
    world.check(site=second)
    for third in others:
        world.erase("--site", f"{third.hex[-4:]}.example", matching={"site_id": str(third)})
        world.check(site=third, last=False)


def retain(world: World) -> None:
    """Retention takes what is older than the beginning of the day so many days ago, in the site's time zone."""
    today = datetime.now(UTC)
    days = (today.date() - RETENTION_BEGINS).days
    for site in world.sites[:2]:
        world.hitline("site", "change", f"{site.hex[-4:]}.example", "--retention-days", str(days))
    world.hitline("retain", "--idle")  # no pageview is of today
    for site in world.sites[:2]:
        zone = ZoneInfo(world.zones[site])
        first_kept = (today - timedelta(days=days)).astimezone(zone).date()
        world.stored = {
            key: row
            for key, row in world.stored.items()
            if row["site_id"] != str(site) or at(row).astimezone(zone).date() >= first_kept
        }
        assert world.rows(site), "the autumn is left"
        world.check(site=site, last=site is world.sites[0])
