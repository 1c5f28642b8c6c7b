"""How far a site's rollups can be relied on, and which sessions need a look at their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from deploy.report.figures import Period
from deploy.report.session_ids import read_ids
from shared.clickhouse import ClickHouse

#: How far the server's clock may be set back, or a replica be behind.
_MARGIN: Final = timedelta(seconds=60)

_LOOK: Final = """
    SELECT (SELECT countIf(kind = 'complete') > 0 FROM hitline.rollup_progress),
           (SELECT argMax(moment, number) FROM hitline.rollup_moments),
           (SELECT argMax(moment, number) > now64(3) + toIntervalSecond(1) FROM hitline.rollup_moments),
           (SELECT if(count() = 0, 'UTC', if(any(moving), '', any(timezone))) FROM hitline_control.rollup_zones FINAL
            WHERE site_id = {site:UUID}),
           (SELECT count() FROM hitline_control.rollup_changes WHERE site_id = {site:UUID}
            AND run IN (SELECT run FROM hitline_control.rollup_changes WHERE sign = 0)),
           (SELECT count() FROM hitline_control.retention_cutoffs
            WHERE site_id = {site:UUID} AND first_day > {first:Date}),
           (SELECT count() FROM hitline_control.erased_sessions WHERE site_id = {site:UUID}),
           (SELECT max(run) FROM hitline.daily_counts_raw WHERE site_id = {site:UUID}
            AND day BETWEEN {first:Date} AND {last:Date})"""

#: Whether any session is derived.  Its pageviews have ids of their own, by which rollups have none of it: neither those
#: that have changed nor those on several days are found.  The column takes next to nothing where there is none.
_DERIVED: Final = """
    SELECT count() FROM
    (
        SELECT 1 FROM hitline.pageviews_raw
        PREWHERE site_id = {site:UUID} AND timestamp >= {start:DateTime64(3, 'UTC')}
             AND timestamp < {end:DateTime64(3, 'UTC')} AND visitor_id != toUUID('00000000-0000-0000-0000-000000000000')
        LIMIT 1
    )"""
#: Sessions on several days; of those that were replaced in the rollups there may be more rows a day.
_SEVERAL: Final = """
    SELECT groupArray(session_id) FROM
    (
        SELECT session_id FROM hitline.session_days_raw
        WHERE site_id = {site:UUID} AND day BETWEEN {first:Date} AND {last:Date}
        GROUP BY session_id HAVING min(day) != max(day)
    )"""
#: Sessions with rows that the rollups need not have, or that are being erased; days of these are in UTC.
_CHANGED: Final = """
    SELECT groupUniqArray(session_id) FROM
    (
        SELECT session_id FROM hitline.pageviews_raw
        WHERE site_id = {site:UUID} AND timestamp >= {start:DateTime64(3, 'UTC')}
          AND timestamp < {end:DateTime64(3, 'UTC')} AND stored_at >= {counted_to:DateTime64(3, 'UTC')}
        UNION ALL
        SELECT session_id FROM hitline_control.erased_sessions
        WHERE site_id = {site:UUID} AND day BETWEEN {first:Date} - 1 AND {last:Date} + 1
    )"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rollups of a site hold: everything stored before `counted_to`.

    Equal before and after something was read: nothing has changed meanwhile.
    """

    counted_to: datetime
    erasing: int
    last_run: int


async def look(clickhouse: ClickHouse, site_id: UUID, period: Period) -> Standing | None:
    """Return how rollups stand; None where they can't be used.

    That is: none were completed yet, or by a clock that was ahead, they are in another time zone, a run is writing its
    changes to this site or died while it did, or retention is just erasing days of the periods.
    """
    given = {"site": str(site_id), "first": period.before().first, "last": period.last}
    found = await clickhouse.query(_LOOK, given)
    complete, counted_to, ahead, zone, writing, expiring, erasing, last_run = found.result_rows[0]
    if not complete or ahead or zone != period.zone or writing or expiring:
        return None
    return Standing(counted_to - _MARGIN, erasing, last_run)


async def derives_sessions(clickhouse: ClickHouse, parameters: Mapping[str, Any]) -> bool:
    """Return whether pageviews between `start` and `end` are in derived sessions, for which rollups can't be used."""
    return bool((await clickhouse.query(_DERIVED, parameters)).result_rows[0][0])


async def uncommon(clickhouse: ClickHouse, stands: Standing, parameters: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the ids of changed sessions, and of those on several days, for a period's `parameters`."""
    changed = await read_ids(clickhouse, _CHANGED, {**parameters, "counted_to": stands.counted_to})
    return changed, await read_ids(clickhouse, _SEVERAL, parameters)
