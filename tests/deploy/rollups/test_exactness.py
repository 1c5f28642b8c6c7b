"""Rollups, `pageviews`, `sessions` and a count in Python agree to the row, after any change to the pageviews."""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups import changes
from tests import parts, services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import kept, visits
from tests.deploy.rollups.visits import SITES, Rollup, Stored


def in_clickhouse(clickhouse: ClickHouseProcess, table: str, keys: str, numbers: str) -> Rollup:
    rows = services.rows(clickhouse, f"SELECT {keys}, {numbers} FROM hitline.{table}")
    found: Rollup = {}
    for row in rows:
        key = tuple(row[name] for name in keys.split(", "))
        assert key not in found, "each bucket is one row"
        found[key] = tuple(int(row[name.rpartition(" ")[2]]) for name in numbers.split(", "))
    return found


def check(clickhouse: ClickHouseProcess, stored: Stored, zones: dict[uuid.UUID, str] = visits.ZONE_OF) -> None:
    """Compare everything."""
    keys = "site_id, toString(timestamp) AS timestamp, session_id, page_id, path, referrer_host, country, is_bot"
    seen = services.rows(clickhouse, f"SELECT {keys} FROM hitline.pageviews")
    assert len(seen) == len(stored)
    assert {tuple(row.values()) for row in seen} == {tuple(row[name] for name in seen[0]) for row in stored.values()}
    daily = in_clickhouse(
        clickhouse,
        "daily",
        "site_id, day, is_bot, dimension, value",
        "pageviews, sessions, bounces, toInt64(round(1000 * seconds)) AS milliseconds",
    )
    assert daily == visits.daily(stored, zones)
    hourly = in_clickhouse(clickhouse, "hourly", "site_id, day, hour, is_bot, dimension, value", "pageviews, sessions")
    assert hourly == visits.hourly(stored, zones)
    check_sessions(clickhouse, stored)
    kept.check(clickhouse, stored, zones)
    check_days(clickhouse, stored, zones)


def check_sessions(clickhouse: ClickHouseProcess, stored: Stored) -> None:
    sessions: dict[tuple[Any, ...], list[visits.Row]] = defaultdict(list)
    for row in stored.values():
        sessions[row["site_id"], row["session_id"], row["is_bot"]].append(row)
    found = services.rows(clickhouse, "SELECT *, toString(started_at) AS started FROM hitline.sessions")
    assert len(found) == len(sessions)
    for one in found:
        rows = sessions[one["site_id"], one["session_id"], one["is_bot"]]
        rows.sort(key=lambda row: (row["timestamp"], uuid.UUID(row["page_id"]).int))
        length_s = (visits.at(rows[-1]) - visits.at(rows[0])).total_seconds()
        assert (one["started"], int(one["pageviews"]), one["entry_page"], one["exit_page"], one["duration_s"]) == (
            rows[0]["timestamp"], len(rows), rows[0]["path"], rows[-1]["path"], pytest.approx(length_s)
        )  # fmt: skip
        assert bool(one["bounced"]) == (len(rows) == 1)
    merged = services.rows(
        clickhouse, "SELECT site_id, uniqExactArray(session_ids) AS n FROM hitline.daily_sessions GROUP BY site_id"
    )
    ids: dict[str, set[str]] = defaultdict(set)
    for row in stored.values():
        ids[row["site_id"]].add(row["session_id"])
    assert {row["site_id"]: int(row["n"]) for row in merged} == {s: len(n) for s, n in ids.items()}
    assert services.rows(clickhouse, "SELECT * FROM hitline.daily_sessions WHERE empty(session_ids)") == []


def check_days(clickhouse: ClickHouseProcess, stored: Stored, zones: dict[uuid.UUID, str] = visits.ZONE_OF) -> None:
    """A day without pageviews is not listed, such as after a change of time zone."""
    days: dict[str, list[str]] = defaultdict(list)
    for row in stored.values():
        days[row["site_id"]].append(visits.local_day(row, zones))
    found = services.rows(clickhouse, "SELECT site_id, first_day, last_day FROM hitline.freshness")
    assert {row["site_id"]: (row["first_day"], row["last_day"]) for row in found} == {
        site: (min(some), max(some)) for site, some in days.items()
    }


#: An end of the world, and a summer time of thirty minutes.
SOME = {site: zone for site, zone in SITES.items() if zone in ("Australia/Lord_Howe", "Pacific/Pago_Pago")}


@pytest.mark.full  # otherwise in test_derived_sessions.py, half of whose sessions are ordinary ones
@pytest.mark.parametrize(("sites", "old_days"), [(SOME, 20), (SITES, 60)], ids=["some", "all"])
def test_duplicates_replays_late_rows_and_erasures(
    tables: ClickHouseProcess, hitline: Hitline, sites: dict[uuid.UUID, str], old_days: int
) -> None:
    visits.register(tables, sites)
    stored: Stored = {}
    number = 1200 if sites is SITES else 600
    rows = visits.make(number, seed=1, sites=sites)

    def put(some: list[visits.Row]) -> None:
        visits.insert(tables, some)
        visits.store(stored, some)

    put(rows[: number * 3 // 4])
    hitline("rollup")
    check(tables, stored, sites)

    put(rows[: number // 4])  # replayed, in parts of their own
    put([{**row, "path": "/corrected", "country": "FR"} for row in rows[100:200]])  # retried with other fields
    put(rows[number * 3 // 4 :])  # late: they lie in the days that are rolled up
    old = visits.make(60, seed=2, first=datetime(1995, 1, 1, tzinfo=UTC), days=old_days, sites=sites)
    put(old)  # an old history, a month of which is a partition
    hitline("rollup")
    check(tables, stored, sites)

    path = [key for key, row in stored.items() if row["path"] == "/corrected"]
    output = hitline("erase", "--path", "/corrected", "--yes").stdout
    assert f"{len(path)} pageviews erased, none left" in output
    erase(stored, path)
    # What a correction had replaced was merged away or is erased with its own path; ask the exact view.
    if sites is SITES:  # otherwise with the next
        check(tables, stored, sites)

    site = str(next(iter(sites)))
    if sites is SITES:  # otherwise in erasure/test_two_steps.py
        session = next(row["session_id"] for row in stored.values() if row["site_id"] != site)
        hitline("erase", "--session", session, "--yes")
        erase(stored, [key for key, row in stored.items() if row["session_id"] == session])
    hitline("erase", "--site", site, "--yes")
    erase(stored, [key for key, row in stored.items() if row["site_id"] == site])
    if sites is SITES:  # otherwise in test_shares.py, by erase()
        hitline("erase", "--to", "2000-01-01", "--yes")
        erase(stored, [key for key, row in stored.items() if row["timestamp"] < "2000"])
    check(tables, stored, sites)
    assert services.rows(tables, f"SELECT * FROM hitline.daily WHERE site_id = '{site}'") == []
    if sites is SITES:
        hitline("rollup", "--all")
        check(tables, stored, sites)


def erase(stored: Stored, keys: list[tuple[Any, ...]]) -> None:
    assert keys
    for key in keys:
        del stored[key]


IS_SECRET = "has(`values`, cityHash64('path', '/secret')) OR entry_page = cityHash64('entry_page', '/secret')"


@pytest.mark.full  # otherwise in erasure/test_forget.py
def test_erased_values_are_in_no_row_of_a_rollup_any_more(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables, visits.PAIR)
    visits.insert(tables, [{**row, "path": "/secret"} for row in visits.make(150, seed=3, sites=visits.PAIR)])
    hitline("rollup")
    assert services.count(tables, "several_days_raw", IS_SECRET)
    hitline("erase", "--path", "/sec*", "--yes")
    for table, where in (
        ("daily_counts_raw", "value = '/secret'"),
        ("hourly_counts_raw", "value = '/secret'"),
        ("session_days_raw", "has(`values`, '/secret') OR entry_page = '/secret' OR exit_page = '/secret'"),
        ("several_days_raw", IS_SECRET),
    ):
        assert services.count(tables, table, where) == 0
    for table in ("rollup_changes", "rollup_touched", "erased_sessions"):
        assert services.rows(tables, f"SELECT * FROM hitline_control.{table}") == []
    assert "path" not in str(services.rows(tables, "SELECT * FROM hitline_control.erasures WHERE path != ''"))


@pytest.mark.full  # otherwise in test_derived_sessions.py, half of whose sessions are ordinary ones
def test_a_site_that_moves_to_another_time_zone_gets_new_days(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables, visits.FEW)
    stored: Stored = {}
    rows = visits.make(300, seed=4, sites=visits.FEW)
    visits.insert(tables, rows)
    visits.store(stored, rows)
    hitline("rollup")
    moved = dict(zip(visits.FEW, reversed(visits.FEW.values()), strict=True))
    visits.register(tables, moved, version=2)
    hitline("rollup")
    check(tables, stored, moved)


def test_all_of_it_also_finds_days_whose_pageviews_were_taken_away_by_hand(
    tables: ClickHouseProcess, hitline: Hitline
) -> None:
    """An operator drops a month's partition: nothing new is stored, so only --all can see it."""
    visits.register(tables, visits.PAIR)
    stored: Stored = {}
    rows = visits.make(200, seed=12, first=datetime(2026, 3, 25, tzinfo=UTC), days=14, sites=visits.PAIR)
    visits.insert(tables, rows)
    visits.store(stored, rows)
    hitline("rollup")
    parts.execute(tables, "ALTER TABLE hitline.pageviews_raw DROP PARTITION 202603")
    erase(stored, [key for key, row in stored.items() if row["timestamp"] < "2026-04"])
    hitline("rollup", "--all")
    check(tables, stored)


@pytest.mark.full  # otherwise a visitor's in test_derived_sessions.py
def test_a_session_too_large_for_an_array(tables: ClickHouseProcess, hitline: Hitline) -> None:
    """A client gives all its visitors one session id: such a session is computed in another way, beside all others."""
    visits.register(tables, visits.PAIR)
    stored: Stored = {}
    rows = visits.make(40, seed=41, sites=visits.PAIR)
    chance = random.Random(41)
    start = visits.at(rows[0]).replace(hour=0)  # half a day from then on is one day of these zones
    large = [
        {**rows[0], "page_id": str(uuid.UUID(int=chance.getrandbits(128))), "path": f"/{chance.randrange(50)}",
         "timestamp": visits.stamp(start + timedelta(number % 20 // 19, milliseconds=chance.randrange(43_200_000)))}
        for number in range(changes.MOST_IN_ARRAY + 1000)
    ]  # fmt: skip
    for some in (rows, large, [{**row, "country": "FR"} for row in large[:500]]):
        visits.insert(tables, some)
        visits.store(stored, some)
    hitline("rollup")
    check(tables, stored)
    assert any(n > changes.MOST_IN_ARRAY for n in visits.longest_parts(stored))
    visits.insert(tables, more := [{**row, "page_id": row["session_id"]} for row in large[:3]])
    visits.store(stored, more)
    hitline("rollup")
    check(tables, stored)


@pytest.mark.full  # otherwise in test_kills.py, where one of several is killed
def test_two_runs_at_once_and_runs_beside_inserts(tables: ClickHouseProcess, hitline: Hitline) -> None:
    import threading

    visits.register(tables, visits.PAIR)
    stored: Stored = {}
    rows = visits.make(400, seed=5, sites=visits.PAIR)
    visits.store(stored, rows)
    random.Random(5).shuffle(rows)

    def insert_all() -> None:
        for start in range(0, len(rows), 50):
            visits.insert(tables, rows[start : start + 50])

    threads = [threading.Thread(target=insert_all)]
    threads += [threading.Thread(target=hitline, args=("rollup",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hitline("rollup")
    check(tables, stored)


def test_an_erasure_that_was_cut_off_is_not_forgotten(tables: ClickHouseProcess, hitline: Hitline) -> None:
    """It had noted its days and deleted the rows, and died before it computed anything again."""
    from tests.parts import execute

    visits.register(tables, visits.PAIR)
    stored: Stored = {}
    rows = visits.make(150, seed=6, sites=visits.PAIR)
    visits.insert(tables, rows)
    visits.store(stored, rows)
    hitline("rollup")
    site = rows[0]["site_id"]
    gone = [key for key, row in stored.items() if row["site_id"] == site]
    execute(
        tables,
        "INSERT INTO hitline_control.erasures (erasure_id, sites, pageviews, done) VALUES"
        f" ('{uuid.UUID(int=1)}', ['{site}'], {len(gone)}, false)",
    )
    execute(
        tables,
        "INSERT INTO hitline_control.erased_sessions SELECT DISTINCT"
        f" '{uuid.UUID(int=1)}', site_id, toDate(timestamp), session_id"
        f" FROM hitline.pageviews_raw WHERE site_id = '{site}'",
    )
    execute(tables, f"ALTER TABLE hitline.pageviews_raw DELETE WHERE site_id = '{site}' SETTINGS mutations_sync = 2")
    erase(stored, gone)
    assert "erase --resume" in hitline("rollup").stderr
    check(tables, stored)
    assert "1 interrupted erasures completed" in hitline("erase", "--resume").stdout
    assert hitline("rollup").stderr == ""
    check(tables, stored)


@pytest.mark.full  # otherwise in erasure/test_retention.py
def test_retention_takes_whole_days_of_each_site(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables, visits.PAIR)
    now = datetime.now(UTC)
    stored: Stored = {}
    rows = visits.make(150, seed=7, first=datetime(now.year - 1, 1, 1, tzinfo=UTC), days=100, sites=visits.PAIR)
    recent = visits.make(60, seed=8, first=now - timedelta(1.9), days=1, sites=visits.PAIR)
    for some in (rows, recent):
        visits.insert(tables, some)
        visits.store(stored, some)
    hitline("rollup")
    short = dict.fromkeys([next(iter(visits.PAIR))], "UTC")
    visits.insert(
        tables,
        [{"site_id": str(site), "name": "short.example", "timezone": visits.PAIR[site], "retention_days": 90,
          "version": 3, "created_at": "2026-01-01 00:00:00"} for site in short],
        "hitline_control.sites",
    )  # fmt: skip
    assert hitline("retain", "--dry-run").stdout.count("would be erased") == 1
    assert "retention of 90 days" in hitline("retain").stdout
    erase(stored, [key for key, row in stored.items() if uuid.UUID(row["site_id"]) in short and row in rows])
    check(tables, stored)
    assert "retention of" not in hitline("retain").stdout, "nothing is left to be erased"
