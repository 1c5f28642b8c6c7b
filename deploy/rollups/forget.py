"""Making unreadable what rollups have replaced, where something was erased that is in it.

`deploy/erasure/rewrite.py` takes it off the disk.  Rows that newer ones replace go first, then those that say "nothing
is left", since the erased values are in both.  In this order, as parts are changed one after the other: a zero that
went first would bring to light what it replaces.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from deploy.bounds import WRITES
from deploy.erasure.deletes import SET_ROWS, delete, delete_in, partitions
from deploy.rollups.differences import DAILY_KEY, HOURLY_KEY
from shared.clickhouse import ClickHouse

_ERASED: Final = "hitline_control.erased_sessions WHERE erasure_id = {erasure:UUID}"
#: Rows that may be affected: of the erased sessions, and of the days and sites that these are on.
_SESSIONS: Final = (
    f"(site_id, day, session_id) IN (SELECT site_id, day + shift, session_id FROM (SELECT * FROM {_ERASED})"  # noqa: S608
    " ARRAY JOIN [-1, 0, 1] AS shift)"
)
_DAYS: Final = f"site_id IN (SELECT site_id FROM {_ERASED}) AND day BETWEEN {{first:Date}} - 1 AND {{last:Date}} + 1"  # noqa: S608
_PARTS: Final = ("session_days_raw", "several_days_raw")
_SESSIONS_KEY: Final = "site_id, day, session_id, is_bot"
_SUMS: Final = {"daily_counts_raw": DAILY_KEY, "hourly_counts_raw": HOURLY_KEY}
_IN_PARTITION: Final = "_partition_id = {partition:String}"
#: Hashes of rows that a statement holds in memory at once: some 64 bytes each while the set grows.
_HASHES: Final = 6_000_000


async def forget_replaced(clickhouse: ClickHouse, erasure_id: UUID) -> None:
    """Delete what an erasure touches, once its rollups are computed and while the lease is held; memory is bounded."""
    given: dict[str, Any] = {"erasure": str(erasure_id)}
    listed = await clickhouse.query(f"SELECT count(), min(day), max(day) FROM {_ERASED}", given)  # noqa: S608
    sessions, given["first"], given["last"] = listed.result_rows[0]
    for table in _PARTS:
        if 3 * sessions <= SET_ROWS:
            await _forget_of_sessions(clickhouse, table, given)
        else:
            await _forget_of_days(clickhouse, table, _SESSIONS_KEY, given)
    for table, key in _SUMS.items():
        await _forget_of_days(clickhouse, table, key, given)


async def _forget_of_sessions(clickhouse: ClickHouse, table: str, given: dict[str, Any]) -> None:
    key = _SESSIONS_KEY
    newest = f"SELECT {key}, max(run) FROM hitline.{table} WHERE {_SESSIONS} GROUP BY {key}"  # noqa: S608
    await delete(clickhouse, table, f"{_SESSIONS} AND ({key}, run) NOT IN ({newest})", given)
    await delete(clickhouse, table, f"{_SESSIONS} AND pageviews = 0", given)


async def _forget_of_days(clickhouse: ClickHouse, table: str, key: str, given: dict[str, Any]) -> None:
    """Delete all replaced rows and zeros of these days and sites, which readers don't miss: in one pass.

    A set of what was erased would be large, and each share of it another pass over the month or year.  The newest rows
    come in the order of their keys, so nothing but their hashes is held, in shares where they are many.
    """
    row = f"sipHash128({key}, run)"
    count = f"SELECT count() FROM hitline.{table} FINAL WHERE {_IN_PARTITION} AND {_DAYS}"  # noqa: S608
    for partition, number in (await partitions(clickhouse, table, _DAYS, given)).items():
        some = {**given, "partition": partition}
        newest = (await clickhouse.query(count, some, WRITES)).result_rows[0][0]
        if newest == number:
            continue
        shares = -(-newest // _HASHES)
        for share in range(shares):
            where = f"{_DAYS} AND cityHash64({key}) % {{shares:UInt32}} = {{share:UInt32}}"
            kept = f"SELECT {row} FROM hitline.{table} FINAL WHERE {_IN_PARTITION} AND {where}"  # noqa: S608
            chosen = {**some, "share": share, "shares": shares}
            await delete_in(clickhouse, table, partition, f"{where} AND {row} NOT IN ({kept})", chosen)
    await delete(clickhouse, table, f"{_DAYS} AND pageviews = 0", given)
