"""Erasing a derived session: its pageviews are those of its visitor from when it begins to when it ends.

Which they are can't be asked while they are being erased, since the rest then forms other sessions: it is found first.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from deploy.erasure.conditions import LAST_BITS, VISITORS_VERSION, Erasure
from shared.clickhouse import ClickHouse

_GAP: Final = timedelta(minutes=30)


async def resolved(clickhouse: ClickHouse, erasure: Erasure) -> Erasure:
    """Return the erasure by visitor and time where it names a derived session; any other is returned unchanged."""
    session_id = erasure.session_id
    if session_id is None or session_id.version != VISITORS_VERSION:
        return erasure
    visitor_id = UUID(int=session_id.int & ~LAST_BITS)
    found = await clickhouse.query(
        "SELECT DISTINCT timestamp FROM hitline.pageviews_raw WHERE visitor_id = {visitor:UUID} ORDER BY timestamp",
        {"visitor": str(visitor_id)},
    )
    times = [time for (time,) in found.result_rows]
    if not times:
        return erasure
    day = times[0].astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begins = day + timedelta(milliseconds=session_id.int & LAST_BITS)
    ends = _end(times, begins)
    return replace(
        erasure,
        session_id=visitor_id,
        time_from=max(filter(None, (begins, erasure.time_from))),
        time_to=min(filter(None, (ends + timedelta(milliseconds=1), erasure.time_to))),
    )


def _end(times: list[datetime], begins: datetime) -> datetime:
    """Return the last moment of the session that begins then."""
    ends = begins
    for time in times:
        if ends < time <= ends + _GAP:
            ends = time
    return ends
