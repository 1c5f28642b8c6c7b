"""Up to when rollups are complete."""

from __future__ import annotations

import threading

from deploy.local.clickhouse.process import ClickHouseProcess
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
        "SELECT (SELECT max(moment) FROM hitline.rollup_progress) <= min(stored_at) AS held_back, count() AS stored,"
        " (SELECT sum(pageviews) FROM hitline.daily WHERE dimension = '') AS rolled_up FROM hitline.pageviews",
    )
    assert bool(row["held_back"])
    assert (int(row["stored"]), int(row["rolled_up"])) == (3, 0)
    hitline("rollup")
    assert parts.execute(tables, "SELECT sum(pageviews) FROM hitline.daily WHERE dimension = ''").strip() == "3"
