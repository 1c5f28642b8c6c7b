"""Making unreadable what rollups have replaced, where something was erased that is in it.

`deploy/erasure/rewrite.py` takes it off the disk.  Rows that newer ones replace go first, then those that say "nothing
is left", since the erased values are in both.  In this order, as parts are changed one after the other: a zero that
went first would bring to light what it replaces.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from deploy.bounds import WRITES
from deploy.erasure.deletes import SET_ROWS, delete, delete_in, partitions, shares_of
from deploy.rollups.differences import DAILY_KEY, HOURLY_KEY
from shared.clickhouse import ClickHouse

_ERASED: Final = "hitline_control.erased_sessions WHERE erasure_id = {erasure:UUID}"
#: Rows that may be affected: of the erased sessions, and of the days and sites that these are on.
_SESSIONS: Final = (
    f"(site_id, day, session_id) IN (SELECT site_id, day + shift, session_id FROM (SELECT * FROM {_ERASED})"  # noqa: S608
    " ARRAY JOIN [-1, 0, 1] AS shift)"
)
_DAYS: Final = f"site_id IN (SELECT site_id FROM {_ERASED}) AND day BETWEEN {{first:Date}} - 1 AND {{last:Date}} + 1"  # noqa: S608
_SESSIONS_KEY: Final = "site_id, day, session_id, is_bot"
_SUMS: Final = {"daily_counts_raw": DAILY_KEY, "hourly_counts_raw": HOURLY_KEY}
_IN_PARTITION: Final = "_partition_id = {partition:String}"
_NEWEST: Final = f"SELECT count() FROM hitline.session_days_raw FINAL WHERE {_IN_PARTITION} AND {_DAYS}"  # noqa: S608
#: Hashes of rows that a statement holds in memory at once: some 64 bytes each while the set grows.
_HASHES: Final = 6_000_000


async def forget_replaced(clickhouse: ClickHouse, erasure_id: UUID) -> None:
    """Delete what an erasure touches, once its rollups are computed and while the lease is held; memory is bounded."""
    given: dict[str, Any] = {"erasure": str(erasure_id)}
    listed = await clickhouse.query(f"SELECT count(), min(day), max(day) FROM {_ERASED}", given)  # noqa: S608
    sessions, given["first"], given["last"] = listed.result_rows[0]
    if 3 * sessions <= SET_ROWS:
        await _forget(clickhouse, "session_days_raw", _SESSIONS_KEY, _SESSIONS, given)
    else:
        await _forget_of_days(clickhouse, given)
    for table, key in _SUMS.items():
        shares = shares_of(sum((await partitions(clickhouse, table, _DAYS, given)).values()))
        for share in range(shares):
            where = f"{_DAYS} AND cityHash64({key}) % {{shares:UInt32}} = {{share:UInt32}}"
            await _forget(clickhouse, table, key, where, {**given, "share": share, "shares": shares})


async def _forget(clickhouse: ClickHouse, table: str, key: str, where: str, given: dict[str, Any]) -> None:
    newest = f"SELECT {key}, max(run) FROM hitline.{table} WHERE {where} GROUP BY {key}"  # noqa: S608
    await delete(clickhouse, table, f"{where} AND ({key}, run) NOT IN ({newest})", given)
    await delete(clickhouse, table, f"{where} AND pageviews = 0", given)


async def _forget_of_days(clickhouse: ClickHouse, given: dict[str, Any]) -> None:
    """Delete all replaced rows and zeros of sessions of these days and sites, which readers don't miss: in one pass.

    Of so many sessions that a set of them would be large.  The newest rows come in the order of their keys, so nothing
    but their hashes is held, in shares where they are many.
    """
    table, row = "session_days_raw", f"sipHash128({_SESSIONS_KEY}, run)"
    rows = await partitions(clickhouse, table, _DAYS, given)
    for partition, number in rows.items():
        given = {**given, "partition": partition}
        counted = await clickhouse.query(_NEWEST, given, WRITES)
        newest = counted.result_rows[0][0]
        if newest == number:
            continue
        shares = -(-newest // _HASHES)
        for share in range(shares):
            some = f"{_DAYS} AND cityHash64(session_id) % {{shares:UInt32}} = {{share:UInt32}}"
            kept = f"SELECT {row} FROM hitline.{table} FINAL WHERE {_IN_PARTITION} AND {some}"  # noqa: S608
            where = f"{some} AND {row} NOT IN ({kept})"
            await delete_in(clickhouse, table, partition, where, {**given, "share": share, "shares": shares})
    await delete(clickhouse, table, f"{_DAYS} AND pageviews = 0", given)
