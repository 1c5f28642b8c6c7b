"""Readers see the rollups of the kind before until the new ones are complete."""

from __future__ import annotations

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests import parts, services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check

pytestmark = pytest.mark.processes

SITE = next(iter(visits.PAIR))
BEFORE = f"""
INSERT INTO hitline.daily_raw
    (site_id, dimension, day, version, `values`, pageviews, sessions, bounces, seconds, session_ids)
VALUES ('{SITE}', '', '2026-03-01', 1, [''], [7], [2], [1], [60], [generateUUIDv4(), generateUUIDv4()])"""
BEFORE_BY_HOUR = f"""
INSERT INTO hitline.hourly_raw (site_id, dimension, day, version, hours, `values`, pageviews, sessions)
VALUES ('{SITE}', '', '2026-03-01', 1, ['2026-03-01 00:00:00', '2026-03-01 01:00:00'], ['', ''], [3, 4], [1, 2])"""
VIEWS = ("daily", "hourly", "daily_sessions", "freshness")


def test_old_numbers_until_the_new_ones_are_there(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables, visits.PAIR)
    rows = visits.make(80, seed=31, sites=visits.PAIR)
    visits.insert(tables, rows)
    parts.execute(tables, BEFORE)
    parts.execute(tables, BEFORE_BY_HOUR)
    parts.execute(tables, "INSERT INTO hitline.rollup_runs (complete_to) VALUES ('2026-03-02 00:00:00')")
    before = {view: services.rows(tables, f"SELECT * FROM hitline.{view} ORDER BY ALL") for view in VIEWS}
    assert [len(found) for found in before.values()] == [1, 2, 1, 1]
    assert [(row["pageviews"], row["seconds"]) for row in before["daily"]] in ([(7, 60)], [("7", 60)])
    assert before["freshness"][0]["complete_to"].startswith("2026-03-02")

    # As a first run leaves it that was cut off: the new tables are filled in part.
    hitline("rollup")
    parts.execute(tables, BEFORE)
    parts.execute(tables, BEFORE_BY_HOUR)
    parts.execute(
        tables, "ALTER TABLE hitline.rollup_progress DELETE WHERE kind = 'complete' SETTINGS mutations_sync = 2"
    )
    cut_off = {view: services.rows(tables, f"SELECT * FROM hitline.{view} ORDER BY ALL") for view in VIEWS[:2]}
    assert cut_off == {view: before[view] for view in VIEWS[:2]}

    hitline("rollup")
    stored: visits.Stored = {}
    visits.store(stored, rows)
    check(tables, stored)
    for table in ("daily_raw", "hourly_raw"):
        assert services.count(tables, table) == 0
