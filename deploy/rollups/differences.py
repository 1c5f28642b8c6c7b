"""The statements that correct the sums by the differences in `hitline_control.rollup_changes`, each repeatable."""

from __future__ import annotations

from typing import Final

from deploy.rollups.changes import CHANGES, CONTENT, UNCHANGED, UNIT

#: The values that a session is counted with in `daily`: 1 session each, and in three of them with its length.
DAILY_ENTRIES: Final = """
    SELECT site_id, entry.1 AS dimension, is_bot, day, entry.2 AS value, sign * toInt64(pageviews) AS p,
           toInt64(sign) AS s, toInt64(sign * (pageviews = 1)) AS b, sign * toInt64(milliseconds) AS t
    FROM source ARRAY JOIN [('', ''), ('entry_page', entry_page), ('exit_page', exit_page)] AS entry
    UNION ALL
    SELECT site_id, toString(dimension), is_bot, day, value, sign * toInt64(number), toInt64(sign), 0, 0
    FROM source ARRAY JOIN dimensions AS dimension, `values` AS value, hours AS hour, counts AS number
    WHERE hour = toDateTime(0, 'UTC')"""
HOURLY_ENTRIES: Final = """
    SELECT site_id, toString(dimension) AS dimension, is_bot, day, hour, value, sign * toInt64(number) AS p,
           toInt64(sign) AS s
    FROM source ARRAY JOIN dimensions AS dimension, `values` AS value, hours AS hour, counts AS number
    WHERE hour != toDateTime(0, 'UTC')"""

DAILY_KEY: Final = "site_id, dimension, is_bot, day, value"
HOURLY_KEY: Final = "site_id, dimension, is_bot, day, hour, value"

#: New sums: the old ones and the difference.  A sum that has this run's number already is left alone, so that a run
#: that was cut off here can simply do this again.
TO_DAILY: Final = f"""
    INSERT INTO hitline.daily_counts_raw ({DAILY_KEY}, run, pageviews, sessions, bounces, milliseconds)
    WITH source AS (SELECT * FROM {CHANGES} AND abs(sign) = 1),
    differences AS
    (
        SELECT {DAILY_KEY}, sum(p) AS p, sum(s) AS s, sum(b) AS b, sum(t) AS t FROM ({DAILY_ENTRIES})
        GROUP BY {DAILY_KEY} HAVING p != 0 OR s != 0 OR b != 0 OR t != 0
    )
    SELECT {DAILY_KEY}, {{run:UInt64}}, sum(p), sum(s), sum(b), sum(t)
    FROM
    (
        SELECT {DAILY_KEY}, p, s, b, t, toUInt64(0) AS run FROM differences
        UNION ALL
        SELECT {DAILY_KEY}, pageviews, sessions, bounces, milliseconds, run FROM hitline.daily_counts_raw FINAL
        WHERE ({DAILY_KEY}) IN (SELECT {DAILY_KEY} FROM differences)
    )
    GROUP BY {DAILY_KEY} HAVING max(run) < {{run:UInt64}}"""  # noqa: S608
TO_HOURLY: Final = f"""
    INSERT INTO hitline.hourly_counts_raw ({HOURLY_KEY}, run, pageviews, sessions)
    WITH source AS (SELECT * FROM {CHANGES} AND abs(sign) = 1),
    differences AS
    (
        SELECT {HOURLY_KEY}, sum(p) AS p, sum(s) AS s FROM ({HOURLY_ENTRIES})
        GROUP BY {HOURLY_KEY} HAVING p != 0 OR s != 0
    )
    SELECT {HOURLY_KEY}, {{run:UInt64}}, sum(p), sum(s)
    FROM
    (
        SELECT {HOURLY_KEY}, p, s, toUInt64(0) AS run FROM differences
        UNION ALL
        SELECT {HOURLY_KEY}, pageviews, sessions, run FROM hitline.hourly_counts_raw FINAL
        WHERE ({HOURLY_KEY}) IN (SELECT {HOURLY_KEY} FROM differences)
    )
    GROUP BY {HOURLY_KEY} HAVING max(run) < {{run:UInt64}}"""  # noqa: S608

#: What the sessions are counted with from now on; the last step, since the differences are to what is replaced here.
TO_SESSIONS: Final = f"""
    INSERT INTO hitline.session_days_raw ({UNIT}, run, {CONTENT})
    SELECT {UNIT}, {{run:UInt64}}, {CONTENT} FROM {CHANGES} AND sign = 1 AND ({UNIT}) NOT IN {UNCHANGED}
    UNION ALL
    SELECT {UNIT}, {{run:UInt64}}, 0, 0, '', '', [], [], [], [], 0 FROM {CHANGES} AND sign = -1
    AND ({UNIT}) NOT IN (SELECT {UNIT} FROM {CHANGES} AND sign = 1)"""  # noqa: S608
