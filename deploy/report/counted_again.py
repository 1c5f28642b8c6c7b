"""What rollups count too often: sessions on several days, once for each day but one that they have a value on."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.rollups.dimensions import DAILY, quoted


def counted_again(dimensions: Sequence[str], rows: str, zone: str, counted: str) -> str:
    """Return the query for how many sessions to subtract, by dimension and value.

    `rows`: the SQL of such sessions' pageviews in the period; `zone`: the time zone, quoted; `counted`: the condition
    on sessions that are counted.  Of the pageviews of a session with a value, the first of a day tells, unless it is
    the first of all.  A hash stands for the value, since numbers are compared quickest.
    """
    values = ", ".join(f"toString({DAILY[name]})" for name in dimensions)
    hashes = ", ".join(f"cityHash64({number}, {DAILY[name]})" for number, name in enumerate(dimensions))
    count = len(dimensions)
    return f"""
        SELECT [{", ".join(map(quoted, dimensions))}][pair.1] AS kind, pair.2 AS value, toInt64(0) AS p,
               -toInt64(count()) AS s, 0 AS b, 0 AS t
        FROM
        (
            SELECT is_bot, arrayFilter(
                (pair, of_day, of_all) -> of_day = 1 AND of_all > 1,
                arrayZip(arrayMap(place -> (place - 1) % {count} + 1, arrayEnumerate(every)), every),
                arrayEnumerateUniq(days, hashes), arrayEnumerateUniq(hashes)) AS pairs
            FROM
            (
                SELECT is_bot, groupArrayArray([{values}]) AS every, groupArrayArray([{hashes}]) AS hashes,
                       groupArrayArray(arrayWithConstant({count}, toDate(timestamp, {zone}))) AS days
                FROM {rows}
                GROUP BY session_id, is_bot
            )
        )
        ARRAY JOIN pairs AS pair
        WHERE if(kind = 'bot_kind', is_bot, {counted})
        GROUP BY kind, value"""  # noqa: S608 - constants, and a time zone that is quoted
