"""Taking off the disk what rollups have replaced, where something was erased that is in it."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from deploy.rollups.changes import DAILY_KEY, HOURLY_KEY
from shared.clickhouse import ClickHouse

_SESSIONS: Final = (
    "(site_id, day, session_id) IN (SELECT site_id, day + shift, session_id FROM hitline_control.erased_sessions"
    " ARRAY JOIN [-1, 0, 1] AS shift WHERE erasure_id = {erasure:UUID})"
)
_DAYS: Final = (
    "(site_id, day) IN (SELECT site_id, day + shift FROM hitline_control.erased_sessions"
    " ARRAY JOIN [-1, 0, 1] AS shift WHERE erasure_id = {erasure:UUID})"
)
#: Key and affected rows of each table.
_TABLES: Final = {
    "session_days_raw": ("site_id, day, session_id, is_bot", _SESSIONS),
    "daily_counts_raw": (DAILY_KEY, _DAYS),
    "hourly_counts_raw": (HOURLY_KEY, _DAYS),
}
_SETTINGS: Final = {"mutations_sync": 2, "allow_nondeterministic_mutations": 1}


async def forget_replaced(clickhouse: ClickHouse, erasure_id: UUID) -> None:
    """Delete the rows that newer ones replace, then those that say "nothing is left": the erased values are in both.

    Of what an erasure touches, once its rollups are computed and while the lease is held.  In this order, as parts are
    rewritten one after the other: a zero that went first would bring to light what it replaces.
    """
    given: dict[str, Any] = {"erasure": str(erasure_id)}
    for table, (key, where) in _TABLES.items():
        newest = f"SELECT {key}, max(run) FROM hitline.{table} WHERE {where} GROUP BY {key}"  # noqa: S608
        replaced = f"{where} AND ({key}, run) NOT IN ({newest})"
        for condition in (replaced, f"{where} AND pageviews = 0"):
            await clickhouse.command(f"ALTER TABLE hitline.{table} DELETE WHERE {condition}", given, _SETTINGS)
