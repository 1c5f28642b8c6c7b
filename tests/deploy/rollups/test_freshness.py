"""Up to when rollups are complete."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report import standing
from deploy.rollups import progress, run, zones
from tests import parts, services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import visits


def test_everything_stored_before_complete_to_is_in_the_rollups(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables, visits.PAIR)
    visits.insert(tables, visits.make(50, seed=1, sites=visits.PAIR))
    output = hitline("rollup").stdout
    [count] = services.rows(
        tables,
        "SELECT (SELECT count() FROM hitline.pageviews WHERE stored_at < (SELECT max(complete_to) FROM"
        " hitline.freshness)) AS before, (SELECT sum(pageviews) FROM hitline.daily WHERE dimension = '') AS rolled_up",
    )
    assert count["before"] == count["rolled_up"]
    assert "complete up to 2" in output
    zones = services.rows(tables, "SELECT timezone FROM hitline.freshness")
    assert {row["timezone"] for row in zones} <= set(visits.ZONES)


def test_a_second_run_computes_only_what_is_new(tables: ClickHouseProcess, hitline: Hitline) -> None:
    """It looks a minute back, for clocks that are set back, and finds only days of that minute."""
    visits.register(tables, visits.PAIR)
    visits.insert(
        tables, [{**row, "stored_at": "2026-01-01 00:00:00"} for row in visits.make(50, seed=1, sites=visits.PAIR)]
    )
    assert "on 0 days of sites" not in hitline("rollup").stdout
    assert "0 sessions on 0 days of sites have changed" in hitline("rollup").stdout
    row = visits.make(50, seed=1, sites=visits.PAIR)[0]
    visits.insert(tables, [{**row, "page_id": "00000000-0000-4000-8000-000000000001"}])
    assert "1 sessions on 1 days of sites have changed" in hitline("rollup").stdout


def test_an_insert_under_way_holds_the_time_back(tables: ClickHouseProcess, hitline: Hitline) -> None:
    """Its rows say that they were stored before the run, and the run can't see them."""
    visits.register(tables, visits.PAIR)
    site = next(iter(visits.PAIR))
    slow = (
        "INSERT INTO hitline.pageviews_raw (site_id, timestamp, session_id, page_id, stored_at) SELECT"
        f" '{site}', now64(3), generateUUIDv4(), generateUUIDv4(), now64(3) FROM numbers(3) WHERE sleepEachRow(1) = 0"
    )
    thread = threading.Thread(target=parts.execute, args=(tables, slow))
    thread.start()
    services.wait_for(
        lambda: services.rows(tables, "SELECT 1 AS n FROM system.processes WHERE query LIKE 'INSERT%sleepEachRow%'")
    )
    hitline("rollup")
    thread.join()
    [row] = services.rows(
        tables,
        "SELECT (SELECT max(moment) FROM hitline.rollup_moments) <= min(stored_at) AS held_back, count() AS stored,"
        " (SELECT sum(pageviews) FROM hitline.daily WHERE dimension = '') AS rolled_up FROM hitline.pageviews",
    )
    assert bool(row["held_back"])
    assert (int(row["stored"]), int(row["rolled_up"])) == (3, 0)
    hitline("rollup")
    assert parts.execute(tables, "SELECT sum(pageviews) FROM hitline.daily WHERE dimension = ''").strip() == "3"


def test_the_oldest_of_several_inserts_holds_the_time_back(tables: ClickHouseProcess) -> None:
    running = "(SELECT 'Insert' AS query_kind, arrayJoin([1.5, 90., 5.]) AS elapsed UNION ALL SELECT 'Select', 500.)"
    told = parts.execute(tables, progress._MOMENTS.format(processes=running)).strip().split("\t")
    before, now = (datetime.fromisoformat(each) for each in told)
    assert timedelta(seconds=90) <= now - before < timedelta(seconds=91)


def test_all_sites_are_asked_by_a_row_a_site(tables: ClickHouseProcess, hitline: Hitline) -> None:
    """Also after a run of an older version, which has kept none; until then the days are read."""
    days, sites = 365, 40
    parts.execute(
        tables,
        "INSERT INTO hitline.daily_counts_raw (site_id, dimension, is_bot, day, value, run, pageviews, sessions,"
        f" bounces, milliseconds) SELECT reinterpretAsUUID(sipHash128(intDiv(number, {days}))), '' AS dimension,"
        f" false, toDate('2025-01-01') + number % {days}, '', 7, 1, 1, 1, 1 FROM numbers({sites * days})"
        " SETTINGS max_partitions_per_insert_block = 0",
    )
    parts.execute(tables, "INSERT INTO hitline.rollup_progress (kind, moment) VALUES ('complete', now64(3))")
    before, read_before = freshness(tables)
    assert read_before > sites * days
    hitline("rollup")
    after, read = freshness(tables)
    assert before == after == {(str(site), "2025-01-01", "2025-12-31") for site, *_ in after}
    assert len(after) == sites
    assert read < sites + 50, "and a few rows that say how far rollups have come"


def freshness(tables: ClickHouseProcess) -> tuple[set[tuple[str, str, str]], int]:
    """Return site, first and last day, and the rows read for it."""
    answer = json.loads(parts.execute(tables, "SELECT site_id, first_day, last_day FROM hitline.freshness FORMAT JSON"))
    return {tuple(row.values()) for row in answer["data"]}, answer["statistics"]["rows_read"]


@pytest.mark.parametrize("all_of_it", [False, pytest.param(True, marks=pytest.mark.full)])
def test_a_days_end_is_looked_for_only_where_it_is_gone(
    tables: ClickHouseProcess, hitline: Hitline, all_of_it: bool
) -> None:
    """A site's row widens with new days; its first and last day move where these are erased, and go at last."""
    visits.register(tables, visits.PAIR)
    site = next(iter(visits.PAIR))
    template = visits.make(1, seed=1, sites=visits.PAIR)[0]
    stamps = {day: f"2026-03-{day:02d} 12:00:00.000" for day in (2, 5, 9)}

    def put(*days: int) -> None:
        for day in days:
            row = {**template, "site_id": str(site), "timestamp": stamps[day], "session_id": str(uuid.UUID(int=day))}
            visits.insert(tables, [row])
        hitline("rollup")

    def spans() -> set[tuple[str, str]]:
        return {(first, last) for _, first, last in freshness(tables)[0]}

    for days, expected in (((5,), ("05", "05")), ((2, 9), ("02", "09"))):
        put(*days)
        assert spans() == {tuple(f"2026-03-{day}" for day in expected)}
    middle_first, ends_only = ((5, ("02", "09")), (2, ("09", "09"))), ((9, ("02", "05")), (2, ("05", "05")))
    for day, expected in middle_first if all_of_it else ends_only:
        hitline("erase", "--session", str(uuid.UUID(int=day)), "--yes")
        assert spans() == {tuple(f"2026-03-{day}" for day in expected)}
    if not all_of_it:  # a whole site is erased in test_exactness.py
        return
    hitline("erase", "--session", str(uuid.UUID(int=9)), "--yes")
    assert spans() == set()
    put(5)
    assert spans() == {("2026-03-05", "2026-03-05")}


def test_a_site_begins_where_retention_ended_and_where_sums_were_mended(
    tables: ClickHouseProcess, hitline: Hitline
) -> None:
    site = str(next(iter(visits.FEW)))
    row = {**visits.make(1, seed=1, sites=visits.FEW)[0], "site_id": site}
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    days = [noon - timedelta(ago) for ago in (90, 40, 10)]  # the second is the first one that is kept
    for number, at in enumerate(days):
        visits.insert(tables, [{**row, "timestamp": visits.stamp(at), "session_id": str(uuid.UUID(int=number + 1))}])
    hitline("rollup")
    expired, first, last = (str(at.date()) for at in days)
    assert freshness(tables)[0] == {(site, expired, last)}
    visits.insert(
        tables,
        [
            {
                "site_id": site,
                "name": "a.example",
                "retention_days": 40,
                "version": 1,
                "created_at": "2026-01-01 00:00:00",
            }
        ],
        "hitline_control.sites",
    )
    hitline("retain", "--idle")
    assert freshness(tables)[0] == {(site, first, last)}
    # The first day's sums are lost, and that it was one with them.
    harm = "SELECT * REPLACE (run + 1 AS run, 0 AS pageviews, 0 AS sessions)"
    parts.execute(
        tables, f"INSERT INTO hitline.daily_counts_raw {harm} FROM hitline.daily_counts_raw WHERE day = '{first}'"
    )
    parts.execute(tables, f"INSERT INTO hitline.site_days_raw SELECT '{site}', '{last}', '{last}', max(run) + 1"
                  " FROM hitline.site_days_raw")  # fmt: skip
    assert freshness(tables)[0] == {(site, last, last)}
    hitline("rollup", "--all")
    assert freshness(tables)[0] == {(site, first, last)}


def test_what_appears_up_to_a_minute_late_is_counted(tables: ClickHouseProcess, hitline: Hitline) -> None:
    """A clock was set back, or a replica was behind: `stored_at` is from before the moment up to which was counted."""
    visits.register(tables, visits.PAIR)
    first, late, later = visits.make(3, seed=1, sites=visits.PAIR)[:3]
    visits.insert(tables, [first])
    hitline("rollup")
    [counted] = services.rows(
        tables,
        "SELECT max(moment) AS to, toString(to - 58) AS late, toString(to - 75) AS later FROM hitline.rollup_progress",
    )
    visits.insert(tables, [{**late, "session_id": str(uuid.UUID(int=1)), "stored_at": counted["late"]}])
    visits.insert(tables, [{**later, "session_id": str(uuid.UUID(int=2)), "stored_at": counted["later"]}])
    hitline("rollup")
    found = services.rows(tables, "SELECT session_id FROM hitline.session_days_raw FINAL")
    assert {str(uuid.UUID(int=1))} == {row["session_id"] for row in found} - {first["session_id"]}


def test_margins_are_a_minute_wherever_moments_are_compared() -> None:
    assert run._MARGIN == standing._MARGIN == timedelta(minutes=1)
    assert zones.since(1_700_000_000_000_000) == 1_700_000_000_000_000 - 60 * 10**6
    assert zones.since(5) == 0
