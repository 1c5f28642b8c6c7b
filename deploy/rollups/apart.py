"""Sessions whose days are apart: their parts are kept for reports when the later day is over (`several`).

What a run computes has a session's parts of days in a row.  To find others takes a look at all sessions of a month, so
it is done once a day, and not with each new pageview.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from deploy.rollups import shares
from deploy.rollups.changes import MOST_IN_ARRAY
from deploy.rollups.lease import Lease
from deploy.rollups.settle import Settled, settle_listed
from deploy.rollups.touched import in_zone
from shared.clickhouse import ClickHouse

#: How far back is looked: reports are of a month mostly.
_DAYS_BACK: Final = 31
_UNIT: Final = "site_id, day, session_id, is_bot"
_HASH: Final = "cityHash64(site_id, session_id)"
_COLUMNS: Final = f"{_UNIT}, run, pageviews, fingerprint"
_BEFORE: Final = f"day >= {{day:Date}} - {_DAYS_BACK} AND day < {{day:Date}} AND in_zone"
_UNTIL: Final = f"day >= {{day:Date}} - {_DAYS_BACK} AND day <= {{day:Date}} AND in_zone"
#: Hashes of the day's sessions that are on a day before as well.
_ON_BOTH: Final = f"""
    SELECT {_HASH} FROM hitline.session_days_raw WHERE {_BEFORE} AND {_HASH} IN
    (SELECT {_HASH} FROM hitline.session_days_raw WHERE day = {{day:Date}} AND in_zone)"""  # noqa: S608
#: Touch all parts of those of which not each is kept as it is: of as many as one statement computes.  What is left, and
#: a session with more pageviews than anybody's, is looked up by reports.
_TOUCH: Final = f"""
    INSERT INTO hitline_control.rollup_touched (run, zone, site_id, day, session_id)
    SELECT {{run:UInt64}}, {{zone:String}}, site_id, day, session_id
    FROM
    (
        SELECT site_id, session_id, days, sum(number) OVER (ORDER BY site_id, session_id
                                                            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far
        FROM
        (
            SELECT site_id, session_id, groupUniqArrayIf(day, pageviews > 0) AS days, sum(pageviews) AS number
            FROM
            (
                SELECT {_UNIT}, argMaxIf(parts.pageviews, run, counted) AS pageviews,
                       countIf(NOT counted) > 0 AND argMaxIf(fingerprint, run, counted)
                                                    = argMaxIf(fingerprint, run, NOT counted) AS as_kept
                FROM
                (
                    SELECT {_COLUMNS}, true AS counted FROM hitline.session_days_raw
                    WHERE {_UNTIL} AND {_HASH} IN ({_ON_BOTH})
                    UNION ALL
                    SELECT {_COLUMNS}, false FROM hitline.several_days_raw WHERE {_UNTIL}
                ) AS parts
                GROUP BY {_UNIT}
            )
            GROUP BY site_id, session_id
            HAVING length(days) > 1 AND countIf(pageviews > 0 AND NOT as_kept) > 0 AND number <= {MOST_IN_ARRAY}
        )
    )
    ARRAY JOIN days AS day
    WHERE so_far <= {shares.ROWS}"""  # noqa: S608 - constants


async def keep(clickhouse: ClickHouse, lease: Lease, day: date, zone: str, counted_to: datetime) -> Settled:
    """Keep the parts of sessions of this day that are on days before as well, of sites in a time zone.

    `counted_to` as for `settle`.
    """
    touch = _TOUCH.replace("in_zone", in_zone(zone))
    return await settle_listed(clickhouse, lease, zone, touch, {"day": day}, counted_to)
