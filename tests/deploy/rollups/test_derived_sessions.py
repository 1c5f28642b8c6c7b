"""Sessions that are derived agree in `pageviews`, `sessions`, rollups and Python, whatever comes and goes."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups import changes
from tests import parts, services
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check, erase
from tests.deploy.rollups.visits import Stored

#: Kolkata and Lord Howe: a day of UTC lies on two of theirs.
SITES = visits.FEW
#: Where zones are not the matter; also of Kolkata.
PAIR = visits.PAIR


def make(number: int, seed: int, sites: dict[uuid.UUID, str] = SITES) -> list[visits.Row]:
    """Make visitors' pageviews and ordinary sessions."""
    rows = visits.make(number, seed=seed, sites=sites)
    return visits.derive(rows[: number // 2], seed) + rows[number // 2 :]


@pytest.mark.parametrize("number", [300, pytest.param(900, marks=pytest.mark.full)])
def test_late_rows_repeats_and_erasures_move_sessions(tables: ClickHouseProcess, hitline: Hitline, number: int) -> None:
    visits.register(tables, SITES)
    stored: Stored = {}
    rows = make(number, seed=1)

    def put(some: list[visits.Row], *, then: bool = True) -> None:
        visits.insert(tables, some)
        visits.store(stored, some)
        if then:
            hitline("rollup")
            check(tables, visits.shown(stored), SITES)

    put(rows[::2])
    assert any(row["session_id"].startswith(row.get("visitor_id", "-")[:20]) for row in visits.shown(stored).values())
    put(rows[1::2], then=number > 300)  # late: they begin sessions earlier, and join two to one
    visits.insert(tables, rows[: number // 3])  # replayed, in parts of their own
    put([{**row, "path": "/corrected", "is_bot": not row["is_bot"]} for row in rows[number // 9 : number // 6]])
    erased = [key for key, row in stored.items() if row["path"] == "/a"]
    hitline("erase", "--path", "/a", "--yes")
    erase(stored, erased)
    check(tables, visits.shown(stored), SITES)
    if number > 300:
        hitline("rollup", "--all")
        check(tables, visits.shown(stored), SITES)


def test_a_repeat_without_its_salt_is_the_same_pageview_in_a_session_of_its_own(
    tables: ClickHouseProcess, hitline: Hitline
) -> None:
    visits.register(tables, PAIR)
    stored: Stored = {}
    rows = visits.derive(visits.make(200, seed=2, sites=PAIR), 2)
    parts.execute(tables, "SYSTEM STOP MERGES hitline.pageviews_raw")
    try:
        for some in (rows, [{name: row[name] for name in row if name != "visitor_id"} for row in rows[::5]]):
            visits.insert(tables, some)
            visits.store(stored, some)
            hitline("rollup")
            check(tables, visits.shown(stored), PAIR)
    finally:
        parts.execute(tables, "SYSTEM START MERGES hitline.pageviews_raw")
    assert len(stored) == len(rows)


def test_a_site_that_moves_to_another_time_zone(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables, SITES)
    stored: Stored = {}
    rows = make(300, seed=4)
    visits.insert(tables, rows)
    visits.store(stored, rows)
    hitline("rollup")
    moved = dict(zip(SITES, reversed(SITES.values()), strict=True))
    visits.register(tables, moved, version=2)
    hitline("rollup")
    check(tables, visits.shown(stored), moved)


def test_a_visitor_with_more_pageviews_than_fit_into_an_array(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables, PAIR)
    stored: Stored = {}
    site = next(iter(PAIR))
    row = visits.make(1, seed=5, sites=[site])[0]
    start = datetime(2026, 3, 28, tzinfo=UTC).timestamp()
    number = changes.MOST_IN_ARRAY + 1000
    large = [
        {**row, "timestamp": visits.stamp(datetime.fromtimestamp(start + n * 2, UTC)), "path": f"/{n % 50}",
         "page_id": str(uuid.UUID(int=n + 1))}
        for n in range(number)
    ]  # fmt: skip
    for some in (make(40, seed=41, sites=PAIR), visits.derive(large, 5)):
        visits.insert(tables, some)
        visits.store(stored, some)
    hitline("rollup")
    check(tables, visits.shown(stored), PAIR)


def test_half_an_hour_to_the_millisecond(tables: ClickHouseProcess) -> None:
    """Exactly 30 minutes go on, a millisecond more begins another; one id on two sites is two visitors."""
    visits.register(tables, SITES)
    visitor = str(uuid.UUID(int=0x1234 << 64))
    times = ("10:00:00.000", "10:30:00.000", "11:00:00.001", "23:59:59.999")
    row = visits.make(1, seed=6, sites=[next(iter(SITES))])[0]
    rows = [
        {**row, "site_id": str(site), "timestamp": f"2026-03-28 {time}", "session_id": str(uuid.UUID(int=n + 1)),
         "visitor_id": visitor}
        for site in SITES
        for n, time in enumerate(times)
    ]  # fmt: skip
    visits.insert(tables, rows)
    for site in SITES:
        where = f"WHERE site_id = '{site}' ORDER BY timestamp"
        found = services.rows(tables, f"SELECT session_id FROM hitline.pageviews {where}")
        begun = [int(each["session_id"][-7:], 16) for each in found]
        assert begun == [36_000_000, 36_000_000, 39_600_001, 86_399_999]
        sessions = services.rows(tables, f"SELECT pageviews FROM hitline.sessions WHERE site_id = '{site}'")
        assert sorted(int(each["pageviews"]) for each in sessions) == [1, 1, 2]
    stored: Stored = {}
    visits.store(stored, rows)
    assert len({row["session_id"] for row in visits.shown(stored).values()}) == 3


def test_a_period_is_quick_and_has_the_same_sessions(tables: ClickHouseProcess) -> None:
    visits.register(tables, SITES)
    visits.insert(tables, make(600, seed=7))
    for site, zone in SITES.items():
        for first, last in (("2026-03-29", "2026-03-29"), ("2026-04-01", "2026-04-05"), ("2020-01-01", "2020-01-02")):
            period = f"site = '{site}', zone = '{zone}', from = '{first}', to = '{last}'"
            within = (
                f"site_id = '{site}' AND timestamp >= toDateTime('{first} 00:00:00', '{zone}')"
                f" AND timestamp < toDateTime(toDate('{last}') + 1, '{zone}')"
            )
            order = "ORDER BY timestamp, page_id"
            all_of_it = services.rows(tables, f"SELECT * FROM hitline.pageviews WHERE {within} {order}")
            assert services.rows(tables, f"SELECT * FROM hitline.pageviews_between({period}) {order}") == all_of_it
            ids = {row["session_id"] for row in all_of_it}
            order = "ORDER BY session_id, is_bot"
            sessions = services.rows(tables, f"SELECT * FROM hitline.sessions WHERE site_id = '{site}' {order}")
            between = services.rows(tables, f"SELECT * FROM hitline.sessions_between({period}) {order}")
            assert between == [row for row in sessions if row["session_id"] in ids]


def test_erasing_one_session_leaves_the_visitor_s_others(tables: ClickHouseProcess, hitline: Hitline) -> None:
    visits.register(tables, PAIR)
    stored: Stored = {}
    rows = make(300, seed=8, sites=PAIR)
    visits.insert(tables, rows)
    visits.store(stored, rows)
    hitline("rollup")
    shown = visits.shown(stored)
    ids = [row["session_id"] for row in shown.values() if "visitor_id" in row]
    # One of several pageviews, of a visitor who has other sessions on that day.
    session = next(each for each in ids if ids.count(each) > 1 and len({o for o in ids if o[:20] == each[:20]}) > 1)
    gone = [key for key, row in shown.items() if row["session_id"] == session]
    assert f"{len(gone)} pageviews erased" in hitline("erase", "--session", session, "--yes").stdout
    erase(stored, gone)
    check(tables, visits.shown(stored), PAIR)
    assert session not in {row["session_id"] for row in visits.shown(stored).values()}
    assert services.count(tables, "session_days_raw", f"session_id = '{session}' AND pageviews > 0") == 0


def test_sites_that_do_not_derive_sessions_pay_nothing_for_it(tables: ClickHouseProcess) -> None:
    parts.execute(
        tables,
        "INSERT INTO hitline.pageviews_raw (site_id, timestamp, session_id, page_id) SELECT"
        " toUUID(if(number % 2, '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002')),"
        " toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + number, reinterpretAsUUID(toUInt128(intDiv(number, 10) + 1)),"
        " generateUUIDv4() FROM numbers(200000)",
    )

    def rows_read(sql: str) -> int:
        answer: dict[str, dict[str, int]] = json.loads(parts.execute(tables, f"{sql} FORMAT JSON"))
        return answer["statistics"]["rows_read"]

    for where in (
        "site_id = '00000000-0000-0000-0000-000000000001' AND timestamp < '2026-01-01 12:00:00'",
        "session_id = reinterpretAsUUID(toUInt128(777))",
    ):
        by_view = rows_read(f"SELECT count(), uniqExact(session_id) FROM hitline.pageviews WHERE {where}")
        of_table = rows_read(f"SELECT count(), uniqExact(session_id) FROM hitline.pageviews_raw FINAL WHERE {where}")
        assert by_view == of_table
