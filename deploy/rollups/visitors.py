"""Derived sessions in rollups: a pageview that comes or goes may change where all sessions of its visitor begin.

So for each such pageview all of its visitor's are due, of that UTC day.  A session's id names its visitor: the last 28
bits, zero in the visitor's own id, are the millisecond of the day at which the session begins (deploy/schema/0015).
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from shared.clickhouse import ClickHouse

NIL: Final = "toUUID('00000000-0000-0000-0000-000000000000')"
_ROWS: Final = "hitline.pageviews_raw"
_TOUCHED: Final = "hitline_control.rollup_touched WHERE run = {run:UInt64}"
_LAST_BITS: Final = "bitShiftLeft(toUInt128(268435455), 64)"
#: The session's visitor, where the session is derived.
OF_SESSION: Final = f"reinterpretAsUUID(bitAnd(reinterpretAsUInt128(session_id), bitNot({_LAST_BITS})))"
#: What all pageviews of a session, and all sessions of a visitor, have in common.
_UNIT: Final = f"if(visitor_id = {NIL}, session_id, visitor_id)"
#: The same of a pageview and of a session, for shares.
SHARED_BY_PAGEVIEWS: Final = f"bitAnd(reinterpretAsUInt128({_UNIT}), bitNot({_LAST_BITS}))"
SHARED_BY_SESSIONS: Final = f"bitAnd(reinterpretAsUInt128(session_id), bitNot({_LAST_BITS}))"

#: Whether there are any derived sessions: an index answers.
ANY: Final = f"SELECT count() FROM (SELECT 1 FROM {_ROWS} WHERE visitor_id != {NIL} LIMIT 1)"  # noqa: S608
_VISITORS: Final = f"""
    SELECT site_id, visitor_id FROM {_ROWS}
    WHERE session_id IN (SELECT session_id FROM {_TOUCHED}) AND visitor_id != {NIL}
      AND (site_id, session_id) IN (SELECT site_id, session_id FROM {_TOUCHED})
    UNION DISTINCT
    SELECT site_id, {OF_SESSION} FROM {_TOUCHED}"""  # noqa: S608
#: Touch all pageviews of the visitors of what is touched, each by its own session, and by the visitor's id.
EXPAND: Final = f"""
    INSERT INTO hitline_control.rollup_touched (run, zone, site_id, day, session_id)
    SELECT DISTINCT {{run:UInt64}}, {{zone:String}}, site_id, toDate(timestamp, {{zone:String}}),
           arrayJoin([session_id, visitor_id])
    FROM {_ROWS}
    WHERE visitor_id IN (SELECT visitor_id FROM ({_VISITORS})) AND (site_id, visitor_id) IN ({_VISITORS})"""  # noqa: S608

#: Add the sessions of visitors to an erasure's, as they were counted, before any pageview of theirs is deleted.
_ERASED: Final = "hitline_control.erased_sessions WHERE erasure_id = {erasure:UUID}"
_RECORD: Final = f"""
    INSERT INTO hitline_control.erased_sessions (erasure_id, site_id, day, session_id)
    SELECT DISTINCT {{erasure:UUID}}, site_id, day, session_id FROM hitline.session_days_raw
    WHERE (site_id, {OF_SESSION}) IN
    (
        SELECT site_id, visitor_id FROM {_ROWS}
        WHERE session_id IN (SELECT session_id FROM {_ERASED}) AND visitor_id != {NIL}
          AND (site_id, session_id) IN (SELECT site_id, session_id FROM {_ERASED})
    )"""  # noqa: S608 - constants

_BEGINS: Final = "PARTITION BY site_id, unit ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"


def with_sessions(rows: str, columns: str) -> str:
    """Return the query for the same rows with their sessions as the view `pageviews` has them.

    `rows` must have all pageviews of the visitors in it, each once, with `timestamp` and `visitor_id`; `columns` are to
    be returned besides the session.
    """
    return f"""
        SELECT {columns}, if(visitor_id = {NIL}, session_id, reinterpretAsUUID(
               reinterpretAsUInt128(visitor_id) + bitShiftLeft(toUInt128(began_ms % 86400000), 64))) AS session_id
        FROM
        (
            SELECT *, max(if(ms - before_ms > 1800000, ms, 0)) OVER ({_BEGINS}) AS began_ms
            FROM
            (
                SELECT *, {_UNIT} AS unit, toUnixTimestamp64Milli(timestamp) AS ms,
                       lagInFrame(ms) OVER ({_BEGINS}) AS before_ms
                FROM ({rows})
            )
        )"""  # noqa: S608 - constants


async def record_erased(clickhouse: ClickHouse, erasure_id: UUID) -> None:
    """Add to the sessions of an erasure, which are those of pageviews, the derived ones that these are counted in."""
    if (await clickhouse.query(ANY)).result_rows[0][0]:
        await clickhouse.command(_RECORD, {"erasure": str(erasure_id)})
