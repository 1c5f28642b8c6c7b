"""How far a site's rollups can be relied on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from deploy.report.figures import Period
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
            AND day BETWEEN {first:Date} AND {last:Date}),
           (SELECT max(run) FROM hitline.several_days_raw WHERE site_id = {site:UUID}
            AND day BETWEEN {first:Date} AND {last:Date})"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rollups of a site hold: everything stored before `counted_to`.

    Equal before and after something was read: nothing has changed meanwhile.  `is_changing`: a run is writing its
    changes to this site, or died while it did, so that they hold neither this nor that.
    """

    is_changing: bool
    counted_to: datetime
    erasing: int
    last_run: int
    last_kept: int


async def look(clickhouse: ClickHouse, site_id: UUID, period: Period) -> Standing | None:
    """Return how rollups stand; None where they can't be used.

    That is: none were completed yet, or by a clock that was ahead, they are in another time zone, or retention is just
    erasing days of the periods.
    """
    given = {"site": str(site_id), "first": period.before().first, "last": period.last}
    found = await clickhouse.query(_LOOK, given)
    complete, counted_to, ahead, zone, writing, expiring, erasing, *runs = found.result_rows[0]
    if not complete or ahead or zone != period.zone or expiring:
        return None
    return Standing(writing > 0, counted_to - _MARGIN, erasing, *runs)
