"""The statements that compute a day of a site from its exact pageviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final
from uuid import UUID

#: Dimensions by name, each the SQL of its value for one pageview.  A region or city is told by its country as well,
#: since names repeat; a referrer that is the site itself counts as none.
DAILY: Final[Mapping[str, str]] = {
    "hostname": "hostname",
    "path": "path",
    "referrer_host": "if(referrer_host = hostname, '', referrer_host)",
    "utm_source": "utm_source",
    "utm_medium": "utm_medium",
    "utm_campaign": "utm_campaign",
    "utm_term": "utm_term",
    "utm_content": "utm_content",
    "country": "country",
    "region": "if(region = '', '', concat(country, '/', region))",
    "city": "if(city = '', '', concat(country, '/', region, '/', city))",
    "language": "language",
    "device": "device",
    "browser": "browser",
    "os": "os",
    "provider": "provider",
}
#: Dimensions that a session has once a day.
DAILY_BY_SESSION: Final = ("", "entry_page", "exit_page")
HOURLY: Final[Mapping[str, str]] = {
    "": "''",
    **{name: DAILY[name] for name in ("path", "referrer_host", "utm_source", "utm_campaign", "country", "device")},
}

SiteDay = tuple[UUID, date]

_COLUMNS: Final = (
    "session_id, page_id, stored_at, hostname, path, referrer_host, utm_source, utm_medium, utm_campaign, utm_term,"
    " utm_content, country, region, city, language, device, browser, os, provider"
)


def _source(zone: str, due: Sequence[SiteDay]) -> str:
    """Return the WITH clause that both statements begin with: the days that are due, and their pageviews.

    `zone` comes from the registry, which takes only names that ClickHouse knows; it is quoted all the same.
    """
    sites = ", ".join(f"'{site_id}'" for site_id in sorted({str(site_id) for site_id, _ in due}))
    # A day begins at most 14 hours before and ends at most 12 hours after the day of the same date in UTC.
    first, last = min(day for _, day in due) - timedelta(1), max(day for _, day in due) + timedelta(2)
    name = quoted(zone)
    return f"""
    WITH
        due AS (SELECT pair.1 AS site_id, pair.2 AS day FROM (SELECT arrayJoin({pairs(due)}) AS pair)),
        seen AS
        (
            SELECT site_id, toDate(timestamp, {name}) AS day,
                   -- Not toStartOfHour: where a summer time of 30 minutes ends, it is wrong for the rest of the day.
                   toDateTime(timestamp, 'UTC') - toMinute(timestamp, {name}) * 60 - toSecond(timestamp) AS hour,
                   is_bot, timestamp, {_COLUMNS}
            FROM hitline.pageviews
            WHERE site_id IN ({sites}) AND timestamp >= '{first} 00:00:00' AND timestamp < '{last} 00:00:00'
              AND (site_id, toDate(timestamp, {name})) IN (SELECT site_id, day FROM due)
        )"""  # noqa: S608


def daily(zone: str, due: Sequence[SiteDay], version: int) -> str:
    """Return the statement that computes `hitline.daily_raw` for days in the time zone `zone`."""
    names = ", ".join(map(quoted, DAILY))
    every = ", ".join(map(quoted, (*DAILY_BY_SESSION, *DAILY)))
    values = ", ".join(f"toString({value})" for value in DAILY.values())
    return f"""
    INSERT INTO hitline.daily_raw
        (site_id, dimension, is_bot, day, version, computed_at, `values`, pageviews, sessions, bounces, seconds,
         session_ids)
    {_source(zone, due)}
    SELECT site_id, dimension, is_bot, day, {version}, now64(3),
           groupArrayIf(value, p > 0), groupArrayIf(p, p > 0), groupArrayIf(s, p > 0), groupArrayIf(b, p > 0),
           groupArrayIf(t, p > 0), arrayFlatten(groupArray(ids))
    FROM
    (
        SELECT site_id, day, is_bot, pair.1 AS dimension, pair.2 AS value, count() AS p, uniqExact(session_id) AS s,
               toUInt64(0) AS b, toUInt64(0) AS t, []::Array(UUID) AS ids
        FROM seen ARRAY JOIN arrayZip([{names}], [{values}]) AS pair
        GROUP BY site_id, day, is_bot, dimension, value
        UNION ALL
        SELECT site_id, day, is_bot, pair.1, pair.2, sum(pages), count(), countIf(pages = 1), sum(duration_s),
               if(pair.1 = '', groupArray(session_id), [])
        FROM
        (
            SELECT site_id, day, is_bot, session_id, count() AS pages,
                   toUInt64(dateDiff('second', min(timestamp), max(timestamp))) AS duration_s,
                   argMin(path, (timestamp, toUInt128(page_id))) AS entry,
                   argMax(path, (timestamp, toUInt128(page_id))) AS exit
            FROM seen
            GROUP BY site_id, day, is_bot, session_id
        )
        ARRAY JOIN arrayZip(['', 'entry_page', 'exit_page'], ['', entry, exit]) AS pair
        GROUP BY site_id, day, is_bot, pair
        UNION ALL
        -- What has no pageviews (any more) is written as well: it replaces what was there.
        SELECT site_id, day, arrayJoin([false, true]), arrayJoin([{every}]), '', 0, 0, 0, 0, [] FROM due
    )
    GROUP BY site_id, dimension, is_bot, day"""  # noqa: S608


def hourly(zone: str, due: Sequence[SiteDay], version: int) -> str:
    """Return the statement that computes `hitline.hourly_raw` for days in the time zone `zone`."""
    names = ", ".join(map(quoted, HOURLY))
    values = ", ".join(f"toString({value})" for value in HOURLY.values())
    return f"""
    INSERT INTO hitline.hourly_raw
        (site_id, dimension, is_bot, day, version, computed_at, hours, `values`, pageviews, sessions)
    {_source(zone, due)}
    SELECT site_id, dimension, is_bot, day, {version}, now64(3), groupArrayIf(at, p > 0), groupArrayIf(value, p > 0),
           groupArrayIf(p, p > 0), groupArrayIf(s, p > 0)
    FROM
    (
        SELECT site_id, day, hour AS at, is_bot, pair.1 AS dimension, pair.2 AS value, count() AS p,
               uniqExact(session_id) AS s
        FROM seen ARRAY JOIN arrayZip([{names}], [{values}]) AS pair
        GROUP BY site_id, day, at, is_bot, dimension, value
        UNION ALL
        SELECT site_id, day, toDateTime(0, 'UTC'), arrayJoin([false, true]), arrayJoin([{names}]), '', 0, 0 FROM due
    )
    GROUP BY site_id, dimension, is_bot, day"""  # noqa: S608


def differing(zone: str, due: Sequence[SiteDay], oldest: int) -> str:
    """Return the query that counts the days whose rollups hold another number of pageviews than the pageviews are.

    Every dimension has to add up, and every path to have its own number.  Days that got pageviews since {computed} may
    differ; that their rollups are of version `oldest` or later tells that they were computed anew, too.
    """
    return f"""
    {_source(zone, due)}
    SELECT uniqExact(site_id, day) FROM
    (
        SELECT site_id, day FROM hitline.daily_raw FINAL
        WHERE (site_id, day) IN (SELECT site_id, day FROM due) AND version < {oldest}
        UNION ALL
        SELECT site_id, day FROM hitline.hourly_raw FINAL
        WHERE (site_id, day) IN (SELECT site_id, day FROM due) AND version < {oldest}
        UNION ALL
        SELECT site_id, day FROM
        (
        SELECT site_id, day, path, sum(seen) AS a, sum(by_day) AS b, sum(by_hour) AS c FROM
        (
            SELECT site_id, day, path, 1 AS seen, 0 AS by_day, 0 AS by_hour FROM seen
            UNION ALL
            SELECT site_id, day, value, 0, pageviews, 0 FROM hitline.daily
            WHERE dimension = 'path' AND (site_id, day) IN (SELECT site_id, day FROM due)
            UNION ALL
            SELECT site_id, day, value, 0, 0, pageviews FROM hitline.hourly
            WHERE dimension = 'path' AND (site_id, day) IN (SELECT site_id, day FROM due)
        )
        GROUP BY site_id, day, path HAVING a != b OR a != c
        UNION ALL
        SELECT site_id, day, dimension, sum(pageviews) AS p, 0, 0 FROM
        (
            SELECT site_id, day, dimension, pageviews FROM hitline.daily
            WHERE (site_id, day) IN (SELECT site_id, day FROM due)
            UNION ALL
            SELECT site_id, day, concat('hourly ', dimension), pageviews FROM hitline.hourly
            WHERE (site_id, day) IN (SELECT site_id, day FROM due)
        ) AS rolled
        GROUP BY site_id, day, dimension
        HAVING p > 0 AND (site_id, day, p) NOT IN (SELECT site_id, day, count() FROM seen GROUP BY site_id, day)
        )
        WHERE (site_id, day) NOT IN
            (SELECT site_id, day FROM seen WHERE stored_at >= {{computed:DateTime64(3, 'UTC')}})
    )"""  # noqa: S608


def pairs(site_days: Sequence[SiteDay]) -> str:
    """Return days as a SQL array of (site, day): one literal, since an expression of thousands is read in seconds."""
    text = ",".join(f"('{site_id}','{day}')" for site_id, day in site_days)
    return f"CAST({quoted(f'[{text}]')} AS Array(Tuple(UUID, Date)))"


def quoted(text: str) -> str:
    """Return text as a SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
