"""Sessions on several days: their parts are kept in `several_days_raw` as well, for reports.

With a part, its session's parts of the day before and of the day after are computed as well.  So the days of a session
that goes past midnight are in one run, as those of a visitor's derived sessions are; its parts are kept, and what is
kept already is kept up.
"""

from __future__ import annotations

from typing import Final

from deploy.rollups.dimensions import quoted

_UNIT: Final = "site_id, day, session_id, is_bot"
_TOUCHED: Final = "hitline_control.rollup_touched WHERE run = {run:UInt64}"
_CHANGES: Final = "hitline_control.rollup_changes WHERE run = {run:UInt64}"
_KEPT: Final = "hitline.several_days_raw"

#: Touch the parts on the days before and after those that are touched.
TOUCH_NEIGHBOURS: Final = f"""
    INSERT INTO hitline_control.rollup_touched (run, zone, site_id, day, session_id)
    SELECT DISTINCT {{run:UInt64}}, {{zone:String}}, site_id, day, session_id FROM hitline.session_days_raw
    PREWHERE (site_id, day, session_id) IN
    (SELECT site_id, day + shift, session_id FROM (SELECT * FROM {_TOUCHED}) ARRAY JOIN [-1, 1] AS shift)
    WHERE pageviews > 0
      AND (site_id, day, session_id) NOT IN (SELECT site_id, day, session_id FROM {_TOUCHED})"""  # noqa: S608

#: Whether what is computed of a touched part is to be kept, also where it is what it was.
IS_KEPT: Final = f"""
    ((site_id, session_id) IN
     (SELECT site_id, session_id FROM {_TOUCHED} GROUP BY site_id, session_id HAVING min(day) != max(day))
     OR (site_id, day, session_id) IN
     (SELECT site_id, day, session_id FROM {_KEPT}
      WHERE (site_id, day, session_id) IN (SELECT site_id, day, session_id FROM {_TOUCHED})))"""  # noqa: S608

_ON_SEVERAL_DAYS: Final = f"""
    (SELECT site_id, session_id FROM {_CHANGES} AND sign IN (1, 5)
     GROUP BY site_id, session_id HAVING min(day) != max(day))"""  # noqa: S608
_ARE_KEPT: Final = f"(SELECT {_UNIT} FROM {_KEPT} WHERE ({_UNIT}) IN (SELECT {_UNIT} FROM {_CHANGES}))"  # noqa: S608
_IS_SHOWN: Final = f"hour = toDateTime(0, 'UTC') AND (value != '' OR dimension = {quoted('path')})"
_HASHES: Final = "arrayMap((dimension, value) -> cityHash64(toString(dimension), value), dimensions, `values`)"

#: Whether a run has anything to keep.
COUNT: Final = f"""
    SELECT count() FROM {_CHANGES} AND sign IN (1, 5)
    AND ((site_id, session_id) IN {_ON_SEVERAL_DAYS} OR ({_UNIT}) IN {_ARE_KEPT})"""  # noqa: S608
#: Keep what a run has computed; of what is gone, that nothing is left.  It can be repeated.
KEEP: Final = f"""
    INSERT INTO {_KEPT} ({_UNIT}, run, pageviews, began, milliseconds, entry_page, exit_page, `values`,
                         fingerprint)
    SELECT {_UNIT}, {{run:UInt64}}, pageviews, began, milliseconds, cityHash64('entry_page', entry_page),
           cityHash64('exit_page', exit_page),
           arrayFilter((hash, dimension, value, hour) -> {_IS_SHOWN}, {_HASHES}, dimensions, `values`, hours),
           fingerprint
    FROM {_CHANGES} AND sign IN (1, 5)
    AND ((site_id, session_id) IN {_ON_SEVERAL_DAYS} OR ({_UNIT}) IN {_ARE_KEPT})
    UNION ALL
    SELECT {_UNIT}, {{run:UInt64}}, 0, toDateTime64(0, 3, 'UTC'), 0, 0, 0, [], 0 FROM {_CHANGES} AND sign = -1
    AND ({_UNIT}) IN {_ARE_KEPT} AND ({_UNIT}) NOT IN (SELECT {_UNIT} FROM {_CHANGES} AND sign = 1)"""  # noqa: S608
