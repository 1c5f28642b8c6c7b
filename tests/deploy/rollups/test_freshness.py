"""Up to when rollups are complete."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import timedelta

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.report import standing
from deploy.rollups import run, zones
from tests import parts, services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import visits


def test_everything_stored_before_complete_to_is_in_the_rollups(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables)
    visits.insert(tables, visits.make(50, seed=1, sites=visits.FEW))
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
    visits.register(tables)
    visits.insert(
        tables, [{**row, "stored_at": "2026-01-01 00:00:00"} for row in visits.make(50, seed=1, sites=visits.FEW)]
    )
    assert "on 0 days of sites" not in hitline("rollup").stdout
    assert "0 sessions on 0 days of sites have changed" in hitline("rollup").stdout
    row = visits.make(50, seed=1, sites=visits.FEW)[0]
    visits.insert(tables, [{**row, "page_id": "00000000-0000-4000-8000-000000000001"}])
    assert "1 sessions on 1 days of sites have changed" in hitline("rollup").stdout


def test_an_insert_under_way_holds_the_time_back(tables: ClickHouseProcess, hitline: Hitline) -> None:
    """Its rows say that they were stored before the run, and the run can't see them."""
    visits.register(tables)
    site = next(iter(visits.FEW))
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


def test_all_sites_are_asked_without_reading_all_rollups(tables: ClickHouseProcess) -> None:
    """The index leads to the rows of whole sites, which are few of a site's."""
    values, days, sites = 60, 365, 10
    parts.execute(
        tables,
        "INSERT INTO hitline.daily_counts_raw (site_id, dimension, is_bot, day, value, run, pageviews, sessions,"
        f" bounces, milliseconds) SELECT reinterpretAsUUID(sipHash128(intDiv(number, {values * days}))) AS site,"
        f" if(number % {values} = 0, '', 'path') AS dimension, false, toDate('2025-01-01') + intDiv(number, {values})"
        f" % {days}, toString(number % {values}), 7, 1, 1, 1, 1 FROM numbers({sites * values * days})"
        " SETTINGS max_partitions_per_insert_block = 0",
    )
    parts.execute(tables, "INSERT INTO hitline.rollup_progress (kind, moment) VALUES ('complete', now64(3))")
    parts.execute(tables, "OPTIMIZE TABLE hitline.daily_counts_raw FINAL")
    answer = json.loads(parts.execute(tables, "SELECT site_id, first_day, last_day FROM hitline.freshness FORMAT JSON"))
    assert [(row["first_day"], row["last_day"]) for row in answer["data"]] == [("2025-01-01", "2025-12-31")] * sites
    # A granule or two a site, however many rollups it has.
    assert answer["statistics"]["rows_read"] < sites * values * days / 2


def test_what_appears_up_to_a_minute_late_is_counted(tables: ClickHouseProcess, hitline: Hitline) -> None:
    """A clock was set back, or a replica was behind: `stored_at` is from before the moment up to which was counted."""
    visits.register(tables)
    first, late, later = visits.make(3, seed=1, sites=visits.FEW)[:3]
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
