"""What rollups have replaced is forgotten, whether a set of the erased sessions is held or not."""

from __future__ import annotations

import pytest

from deploy.erasure.conditions import Erasure
from deploy.erasure.request import erase
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.rollups import forget
from deploy.rollups.run import roll_up
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.rollups import visits
from tests.deploy.rollups.test_exactness import check

#: Sets of 3 of at most 200 sessions; and none, with hashes in one share or in several.
SIZES = {"a set": (10**6, 10**6), "all of their days": (0, 10**6), "in shares": (0, 20)}


@pytest.mark.parametrize(("set_rows", "hashes"), SIZES.values(), ids=SIZES)
def test_nothing_that_was_replaced_is_left(
    tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch, set_rows: int, hashes: int
) -> None:
    monkeypatch.setattr(forget, "SET_ROWS", set_rows)
    monkeypatch.setattr(forget, "_HASHES", hashes)
    visits.register(tables, visits.FEW)
    stored: visits.Stored = {}
    rows = visits.make(300, seed=71, days=2, sites=visits.FEW)

    async def put(client: ClickHouse, some: list[visits.Row]) -> None:
        visits.insert(tables, some)
        visits.store(stored, some)
        await roll_up(client)

    async def work() -> None:
        client = ClickHouse(tables.url, "hitline tests")
        try:
            await put(client, rows[::2])
            await put(client, rows[1::2])  # sessions go on
            parts.execute(tables, "SYSTEM START MERGES hitline.session_days_raw")  # which deletes wait for as well
            await erase(client, Erasure(path="/a"))
        finally:
            await client.close()

    parts.execute(tables, "SYSTEM STOP MERGES hitline.session_days_raw")
    try:
        parts.run_apart(work)
    finally:
        parts.execute(tables, "SYSTEM START MERGES hitline.session_days_raw")
    stored = {key: row for key, row in stored.items() if row["path"] != "/a"}
    check(tables, stored, visits.FEW)
    erased = "arrayExists((d, v) -> d = 'path' AND v = '/a', dimensions, `values`) OR entry_page = '/a'"
    assert count(tables, f"hitline.session_days_raw WHERE {erased}") == 0
    assert count(tables, "hitline.session_days_raw FINAL WHERE pageviews = 0") == 0
    if not set_rows:
        everything = count(tables, "hitline.session_days_raw FINAL")
        assert count(tables, "hitline.session_days_raw") == everything, "of other sessions neither"


def count(tables: ClickHouseProcess, what: str) -> int:
    return int(parts.execute(tables, f"SELECT count() FROM {what}"))
