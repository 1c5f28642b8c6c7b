"""Whatever state rollups are in, a report says what Python counts; and it reads rollups wherever it can."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report import collect
from deploy.report.figures import Counted, Period, Report, Totals
from deploy.rollups import differences
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.report.counted import Days
from tests.deploy.rollups import visits
from tests.deploy.rollups.visits import Row, Stored

#: In Newfoundland the clock goes forward on 8 March.
ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns")
SITES = {uuid.UUID(int=0xE000 + number): zone for number, zone in enumerate(ZONES)}
#: Enough to be mixed up.
TWO = dict(list(SITES.items())[1:])
#: Enough where that is not the matter: each site is a report, and each zone several statements of a run.
ONE = dict(list(SITES.items())[2:])
PERIODS = ((date(2026, 3, 6), date(2026, 3, 10)), (date(2026, 3, 8), date(2026, 3, 8)))
LONG_AGO = "2026-04-01 00:00:00.000"


class World:
    """Pageviews of some sites, in ClickHouse and in Python."""

    def __init__(self, clickhouse: ClickHouseProcess, zones: dict[uuid.UUID, str]) -> None:
        self.clickhouse = clickhouse
        self.stored: Stored = {}
        self.zones = dict(zones)
        self.sites = list(zones)
        self.from_rows = 0

    def make(self, seed: int, number: int = 450) -> list[Row]:
        chance = random.Random(seed)
        rows = visits.make(number, seed=seed, first=datetime(2026, 3, 1, tzinfo=UTC), days=12, sites=self.sites)
        for row in rows:
            row["utm_medium"] = row["utm_source"] and chance.choice(("cpc", "email"))
            row["is_bot"] = row["is_bot"] or chance.random() < 0.05  # within a session of a person
            row["bot_kind"] = chance.choice(("search", "seo")) if row["is_bot"] else ""
        return rows

    def put(self, rows: list[Row], stored_at: str | None = None) -> None:
        """Insert rows; those that were stored long ago are not looked at again once they are in the rollups."""
        visits.insert(self.clickhouse, [{**row, "stored_at": stored_at} if stored_at else row for row in rows])
        visits.store(self.stored, rows)

    def roll_up(self, *, everything: bool = False) -> None:
        async def run() -> None:
            client = ClickHouse(self.clickhouse.url, "hitline tests")
            await roll_up(client, everything=everything)
            await client.close()

        parts.run_apart(run)

    def check(self) -> None:
        """Compare all that reports say: of days in each zone, and of the day on which the clock changes by the hour."""
        asked = [(site, PERIODS[0], False) for site in self.sites] + [(self.sites[-1], PERIODS[1], True)]
        reports = parts.run_apart(lambda: self._reports(asked))
        for (site, days, with_bots), found in zip(asked, reports, strict=True):
            rows = [row for row in visits.shown(self.stored).values() if row["site_id"] == str(site)]
            counted = Days(rows, self.zones[site], *days)
            compare(found.now, counted, with_bots, tops=True)
            compare(found.before, counted.before(rows), with_bots, tops=False)

    async def _reports(self, asked: Iterable[tuple[uuid.UUID, tuple[date, date], bool]]) -> list[Report]:
        client = ClickHouse(self.clickhouse.url, "hitline tests")
        try:
            return [
                await collect.collect(
                    client, "site", site, Period(*days, self.zones[site]), with_bots=with_bots, top=1000
                )
                for site, days, with_bots in asked
            ]
        finally:
            await client.close()


def compare(found: Counted, wanted: Days, with_bots: bool, *, tops: bool) -> None:
    def counts(row: Row) -> bool:
        return with_bots or not row["is_bot"]

    assert numbers(found.totals) == pytest.approx(wanted.totals(counts))
    assert numbers(found.bots) == pytest.approx(wanted.totals(lambda row: row["is_bot"]))
    form = "%Y-%m-%d %H" if len(found.series) in (24, 48) else "%Y-%m-%d"
    series = {p.start.strftime(form): (p.pageviews, p.sessions) for p in found.series if p.pageviews}
    assert series == wanted.series(counts)
    if tops:
        lines = {
            dimension: [(top.value, top.pageviews, top.sessions) for top in some]
            for dimension, some in found.tops.items()
        }
        assert lines == wanted.rankings(counts)


def numbers(totals: Totals) -> tuple[float, ...]:
    sessions = totals.sessions
    return totals.pageviews, sessions, totals.bounce_rate * sessions, 1000 * totals.seconds * sessions


@pytest.fixture(params=[ONE, pytest.param(SITES, marks=pytest.mark.full)], ids=len)
def world(tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> World:
    visits.register(tables, request.param)
    world = World(tables, request.param)
    from_rows = collect._Asked.from_rows

    async def counting(self: collect._Asked, *arguments: object) -> object:
        world.from_rows += 1
        return await from_rows(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(collect._Asked, "from_rows", counting)
    monkeypatch.setattr(collect, "_WAIT_S", 0.0)
    return world


def test_sessions_that_are_derived(world: World) -> None:
    """Their rows have ids of their own, so what rollups have of them is not found by these."""
    rows = world.make(5)
    rows = visits.derive(rows[::2], 5) + rows[1::2]
    world.put(rows[::2], LONG_AGO)
    world.roll_up()
    world.check()  # also on days of which one of UTC lies on two
    world.put(rows[1::2])
    world.check()
    assert not world.from_rows


def test_without_rollups(world: World) -> None:
    world.put(world.make(1))
    world.check()
    assert world.from_rows


@pytest.mark.parametrize("world", [TWO, pytest.param(SITES, marks=pytest.mark.full)], ids=len, indirect=True)
def test_rollups_that_are_complete_and_rollups_that_are_behind(world: World) -> None:
    rows = world.make(2)
    world.put(rows[:350], LONG_AGO)
    world.put(rows[:50], LONG_AGO)
    world.roll_up()
    world.check()
    world.put(rows[350:])  # later ones, of old sessions and of new ones
    world.put(rows[75:100])  # repeated
    corrected = [{**row, "path": "/corrected", "is_bot": not row["is_bot"], "bot_kind": ""} for row in rows[125:150]]
    moved = [{**row, "timestamp": visits.stamp(visits.at(row) + timedelta(days=1))} for row in rows[150:165]]
    world.put([*corrected, *moved])
    world.check()
    assert not world.from_rows, "rollups were there to be read"


def test_a_run_that_dies_halfway(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums by day have a day's late pageviews, those by hour and the sessions don't."""
    rows = world.make(3)
    world.put(rows[:300], LONG_AGO)
    world.roll_up()
    world.put(rows[300:])
    monkeypatch.setattr(differences, "TO_HOURLY", "this run ends here")
    with pytest.raises(Exception, match="SYNTAX"):
        world.roll_up()
    world.check()
    assert world.from_rows


def test_an_erasure_that_has_not_come_to_the_rollups(world: World) -> None:
    rows = world.make(4)
    world.put(rows, LONG_AGO)
    world.roll_up()
    erased = {row["session_id"] for row in rows[50:65]}
    ids = ", ".join(f"'{session}'" for session in erased)
    parts.execute(
        world.clickhouse,
        "INSERT INTO hitline_control.erased_sessions (erasure_id, site_id, day, session_id)"
        " SELECT DISTINCT generateUUIDv4(), site_id, toDate(timestamp), session_id"
        f" FROM hitline.pageviews_raw WHERE session_id IN ({ids})",
    )
    parts.execute(world.clickhouse, f"DELETE FROM hitline.pageviews_raw WHERE session_id IN ({ids})")
    world.stored = {key: row for key, row in world.stored.items() if row["session_id"] not in erased}
    world.check()
    assert not world.from_rows


def test_a_time_zone_that_changed(world: World) -> None:
    world.put(world.make(5), LONG_AGO)
    world.roll_up()
    site = world.sites[0]
    world.zones[site] = "Asia/Kathmandu"
    visits.register(world.clickhouse, {site: "Asia/Kathmandu"}, version=2)
    world.check()
    assert world.from_rows
    world.from_rows = 0
    world.roll_up()
    world.check()
    assert not world.from_rows


def test_a_run_between_two_of_its_queries(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = world.make(6)
    world.put(rows[:300], LONG_AGO)
    world.roll_up()
    world.put(rows[300:])
    from_rollups = collect._Asked.from_rollups
    runs = iter([world.roll_up])

    async def with_a_run(self: collect._Asked, *arguments: object) -> object:
        found = await from_rollups(self, *arguments)  # type: ignore[arg-type]
        for run in runs:
            run()
        return found

    monkeypatch.setattr(collect._Asked, "from_rollups", with_a_run)
    world.check()
    assert not world.from_rows


def test_so_many_uncommon_sessions_that_exact_rows_are_quicker(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(world.make(7, 150))
    world.roll_up()
    monkeypatch.setattr(collect, "_MOST_UNCOMMON", 3)
    world.check()
    assert world.from_rows
