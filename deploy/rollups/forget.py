"""Making unreadable what rollups have replaced, where something was erased that is in it.

`deploy/erasure/rewrite.py` takes it off the disk.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from deploy.erasure.deletes import delete, partitions, shares_of
from deploy.rollups.differences import DAILY_KEY, HOURLY_KEY
from shared.clickhouse import ClickHouse

#: Rows that may be affected: of the erased sessions, and of the days and sites that these are on.
_SESSIONS: Final = (
    "(site_id, day, session_id) IN (SELECT site_id, day + shift, session_id FROM hitline_control.erased_sessions"
    " ARRAY JOIN [-1, 0, 1] AS shift"
    " WHERE erasure_id = {erasure:UUID} AND cityHash64(session_id) % {shares:UInt32} = {share:UInt32})"
)
_DAYS: Final = (
    "site_id IN (SELECT site_id FROM hitline_control.erased_sessions WHERE erasure_id = {erasure:UUID})"
    " AND day BETWEEN {first:Date} - 1 AND {last:Date} + 1"
)
#: Key and affected rows of each table.
_TABLES: Final = {
    "session_days_raw": ("site_id, day, session_id, is_bot", _SESSIONS),
    "daily_counts_raw": (DAILY_KEY, f"{_DAYS} AND cityHash64({DAILY_KEY}) % {{shares:UInt32}} = {{share:UInt32}}"),
    "hourly_counts_raw": (HOURLY_KEY, f"{_DAYS} AND cityHash64({HOURLY_KEY}) % {{shares:UInt32}} = {{share:UInt32}}"),
}


async def forget_replaced(clickhouse: ClickHouse, erasure_id: UUID) -> None:
    """Delete the rows that newer ones replace, then those that say "nothing is left": the erased values are in both.

    Of what an erasure touches, once its rollups are computed and while the lease is held; in shares, so that memory is
    bounded.  In this order, as parts are changed one after the other: a zero that went first would bring to light what
    it replaces.
    """
    given: dict[str, Any] = {"erasure": str(erasure_id)}
    listed = await clickhouse.query(
        "SELECT count(), min(day), max(day) FROM hitline_control.erased_sessions WHERE erasure_id = {erasure:UUID}",
        given,
    )
    sessions, given["first"], given["last"] = listed.result_rows[0]
    for table, (key, where) in _TABLES.items():
        if where is _SESSIONS:
            shares = shares_of(3 * sessions)
        else:
            shares = shares_of(sum((await partitions(clickhouse, table, _DAYS, given)).values()))
        newest = f"SELECT {key}, max(run) FROM hitline.{table} WHERE {where} GROUP BY {key}"  # noqa: S608
        for share in range(shares):
            some = {**given, "share": share, "shares": shares}
            await delete(clickhouse, table, f"{where} AND ({key}, run) NOT IN ({newest})", some)
            await delete(clickhouse, table, f"{where} AND pageviews = 0", some)
