"""What is due is computed in shares that hold all of it, and that lie together in `session_days_raw`."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.erasure.conditions import Erasure
from deploy.erasure.request import erase
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups import shares
from deploy.rollups.shares import EVERYTHING, Share
from shared.clickhouse import ClickHouse
from tests import parts
from tests.bench import scale
from tests.deploy.cli.conftest import Hitline
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check


def test_each_place_is_in_one_share() -> None:
    last = EVERYTHING.last
    assert list(shares.shares([])) == [EVERYTHING]
    assert list(shares.shares([(70, 5)])) == [EVERYTHING]
    assert list(shares.shares([(70, 5), (90, shares.ROWS), (400, 2 * shares.ROWS + 1)])) == [
        Share(0, 70, 0, 1),
        Share(71, 90, 0, 1),
        *(Share(91, last, part, 3) for part in range(3)),
    ]


def test_days_are_within_what_a_date_holds() -> None:
    days = [EVERYTHING.parameters()[name].isoformat() for name in ("day_of_first", "day_of_last")]
    assert days == ["1970-01-01", "2149-06-06"]


def test_what_is_near_to_a_share_of_a_day_is_told_by_the_first_bits() -> None:
    names = ("day_before", "day_after", "first_bits", "last_bits")
    of_a_day = Share((20_000 << 12) + 70, (20_000 << 12) + 90, 0, 1).parameters()
    assert [str(of_a_day[name]) for name in names] == ["2024-10-03", "2024-10-05", "70", "90"]
    of_two = Share((20_000 << 12) + 70, (20_001 << 12) + 5, 0, 1).parameters()
    assert [str(of_two[name]) for name in names] == ["2024-10-03", "2024-10-06", "0", "4095"]
    everything = EVERYTHING.parameters()
    assert [str(everything[name]) for name in names] == ["1970-01-01", "2149-06-06", "0", "4095"]


async def test_each_session_is_in_one_share(tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the places where shares begin and end as well, and in parts of a place that has too many."""
    monkeypatch.setattr(shares, "ROWS", 100)
    day, id = (
        "toDate('2026-03-01') + number % 2",
        "bitShiftLeft(toUInt128(number % 7), 116) + number * (number % 7 > 2)",
    )
    client = ClickHouse(tables.url, "hitline tests")
    found: list[int] = []
    try:
        rows = f"SELECT {day} AS day, {id} AS id FROM (SELECT arrayJoin(range(2800)) AS number)"
        planned = [(last, number) for last, number in (await client.query(shares.plan([rows]))).result_rows]
        every = list(shares.shares(planned))
        for share in every:
            where = shares.condition(day, id)
            asked = await client.query(f"SELECT number FROM numbers(2800) WHERE {where}", share.parameters())
            found += [number for (number,) in asked.result_rows]
    finally:
        await client.close()
    assert sorted(found) == list(range(2800))
    assert {share.parts for share in every} == {2}
    assert len(every) == 28


@pytest.mark.parametrize(
    ("ids", "whole"),
    [
        ("counted", False),
        pytest.param("counted", True, marks=pytest.mark.full),
        pytest.param("random", True, marks=pytest.mark.full),
    ],
)
def test_shares_give_what_one_statement_gives(
    tables: ClickHouseProcess, hitline: Hitline, monkeypatch: pytest.MonkeyPatch, ids: str, whole: bool
) -> None:
    """Counted, moved to other zones, checked and erased; also where all ids begin with the same bits."""
    monkeypatch.setattr(shares, "ROWS", 40)
    sites = visits.FEW if whole else visits.PAIR
    visits.register(tables, sites)
    rows = visits.make(400 if whole else 100, seed=3, sites=sites)
    if ids == "counted":
        number = {session: n for n, session in enumerate(sorted({row["session_id"] for row in rows}), 1)}
        rows = [{**row, "session_id": str(uuid.UUID(int=number[row["session_id"]]))} for row in rows]
    visits.insert(tables, rows)
    stored: visits.Stored = {}
    visits.store(stored, rows)
    hitline("rollup")
    check(tables, stored, sites)
    zones = dict(sites)
    if whole:
        zones = dict(zip(visits.FEW, reversed(visits.FEW.values()), strict=True))
        visits.register(tables, zones, version=2)
        hitline("rollup", "--all")
        check(tables, stored, zones)
    paths = sorted({row["path"] for row in rows})[::2]
    for path in paths[: 3 if whole else 1]:
        hitline("erase", "--path", path, "--yes")
        stored = {key: row for key, row in stored.items() if row["path"] != path}
    check(tables, stored, zones)


async def test_what_sessions_were_counted_with_is_read_once(
    tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of shares: of nearly all of a day that is erased."""
    pageviews = 100_000
    scale.insert(tables, f"toUUID('{scale.LARGE}')", 0, pageviews)
    client = scale.Counting(tables.url, "hitline tests")
    read = []
    try:
        await scale.roll_up(client)
        parts.execute(tables, "OPTIMIZE TABLE hitline.session_days_raw FINAL")
        command = client.command

        async def watched(sql: str, *arguments: Any, **named: Any) -> Any:
            result = await command(sql, *arguments, **named)
            if "-1, site_id" in sql and "session_days_raw FINAL" in sql:
                read.append(int(result.summary["read_rows"]))
            return result

        monkeypatch.setattr(client, "command", watched)
        monkeypatch.setattr(shares, "ROWS", 8_000)
        asked = Erasure(time_to=datetime(2026, 3, 10, 22, tzinfo=UTC))
        assert (await erase(client, asked)).pageviews > pageviews * 0.9
    finally:
        await client.close()
    assert len(read) > 5, "shares of the day"
    # Each reads the granules of 8,192 rows that its sessions are in.
    assert sum(read) < 4 * pageviews / 3
