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

TABLES = ("session_days_raw", "several_days_raw", "daily_counts_raw", "hourly_counts_raw")
UNMERGED = ("max_bytes_to_merge_at_max_space_in_pool", "max_bytes_to_merge_at_min_space_in_pool")
#: Sets of 3 of at most 60 sessions; and none, with hashes in one share or in several.
SIZES = {"a set": (10**6, 10**6), "all of their days": (0, 10**6), "in shares": (0, 150)}
LONG = {"all of their days"}  # as a single share


@pytest.mark.parametrize(
    ("set_rows", "hashes"),
    [pytest.param(*size, id=name, marks=pytest.mark.full if name in LONG else ()) for name, size in SIZES.items()],
)
def test_nothing_that_was_replaced_is_left(
    tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch, set_rows: int, hashes: int
) -> None:
    monkeypatch.setattr(forget, "SET_ROWS", set_rows)
    monkeypatch.setattr(forget, "_HASHES", hashes)
    visits.register(tables, visits.PAIR)
    stored: visits.Stored = {}
    rows = visits.make(90, seed=71, days=2, sites=visits.PAIR)

    async def put(client: ClickHouse, some: list[visits.Row]) -> None:
        visits.insert(tables, some)
        visits.store(stored, some)
        await roll_up(client)

    async def work() -> None:
        client = ClickHouse(tables.url, "hitline tests")
        try:
            await put(client, rows[::2])
            await put(client, rows[1::2])  # sessions go on
            await erase(client, Erasure(path="/a"))
        finally:
            await client.close()

    for table in TABLES:  # nothing is merged, which would forget by itself; deletes would wait for stopped merges
        parts.execute(tables, f"ALTER TABLE hitline.{table} MODIFY SETTING {' = 1, '.join(UNMERGED)} = 1")
    try:
        parts.run_apart(work)
        everything = {table: count(tables, f"hitline.{table}") for table in TABLES}
    finally:
        for table in TABLES:
            parts.execute(tables, f"ALTER TABLE hitline.{table} RESET SETTING {', '.join(UNMERGED)}")
    stored = {key: row for key, row in stored.items() if row["path"] != "/a"}
    check(tables, stored, visits.PAIR)
    erased = "arrayExists((d, v) -> d = 'path' AND v = '/a', dimensions, `values`) OR entry_page = '/a'"
    assert count(tables, f"hitline.session_days_raw WHERE {erased}") == 0
    assert count(tables, "hitline.session_days_raw FINAL WHERE pageviews = 0") == 0
    erased = "has(`values`, cityHash64('path', '/a')) OR entry_page = cityHash64('entry_page', '/a')"
    assert everything["several_days_raw"]
    assert count(tables, f"hitline.several_days_raw WHERE {erased}") == 0
    assert count(tables, "hitline.several_days_raw FINAL WHERE pageviews = 0") == 0
    # Parts of sessions on several days are kept again when what is left is verified.
    sums = TABLES[2:]
    for table in sums if set_rows else ("session_days_raw", *sums):
        assert everything[table] == count(tables, f"hitline.{table} FINAL"), "what was replaced of others neither"
        assert count(tables, f"hitline.{table} FINAL WHERE pageviews = 0") == 0


def count(tables: ClickHouseProcess, what: str) -> int:
    return int(parts.execute(tables, f"SELECT count() FROM {what}"))
