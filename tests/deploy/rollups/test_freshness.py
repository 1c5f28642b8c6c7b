"""Up to when rollups are complete."""

from __future__ import annotations

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import visits


def test_everything_stored_before_the_time_told_is_in_the_rollups(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables)
    visits.insert(tables, visits.make(50, seed=1, sites=visits.FEW))
    told = hitline("rollup").stdout
    [count] = services.rows(
        tables,
        "SELECT (SELECT count() FROM hitline.pageviews WHERE stored_at < (SELECT max(complete_to) FROM"
        " hitline.freshness)) AS before, (SELECT sum(pageviews) FROM hitline.daily WHERE dimension = '') AS rolled_up",
    )
    assert count["before"] == count["rolled_up"]
    assert "complete up to 2" in told
    zones = services.rows(tables, "SELECT timezone FROM hitline.freshness")
    assert {row["timezone"] for row in zones} <= set(visits.ZONES)


def test_a_second_run_has_nothing_to_do_but_what_is_new(tables: ClickHouseProcess, hitline: Hitline) -> None:
    """It looks a minute back, for clocks that are set back, and finds only days of that minute."""
    visits.register(tables)
    visits.insert(
        tables, [{**row, "stored_at": "2026-01-01 00:00:00"} for row in visits.make(50, seed=1, sites=visits.FEW)]
    )
    assert "0 days of sites" not in hitline("rollup").stdout
    assert "0 days of sites computed" in hitline("rollup").stdout
    row = visits.make(50, seed=1, sites=visits.FEW)[0]
    visits.insert(tables, [{**row, "page_id": "00000000-0000-4000-8000-000000000001"}])
    assert "1 days of sites computed" in hitline("rollup").stdout
