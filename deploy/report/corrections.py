"""By how much the sums of rollups count sessions too often, and what sessions add that the sums lack.

The sums count a session on each of its days, and once more for each day but one that it has a value on.  Of a changed
session all that it has is added, since what the rollups hold of it is subtracted elsewhere.

Queries answer rows of (kind, value, is_bot, p, s, b, t).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deploy.report.uncommon import CHANGED
from deploy.rollups.dimensions import quoted

#: Not shown: how many rows are repeats of others.  A session of a bot and a person counts as one, since a pageview's
#: repeat may have become the other.
REPEATS: Final = "repeats"
#: Kinds of whole sessions that have a page: the page of a session's part on a day, and which part has the session's.
PAGES: Final = {"entry_page": ("part.5", "1"), "exit_page": ("part.6", "length(parts)")}
#: A pageview's place in its session, as one number: the time, then `page_id` as it is written.
_PLACE: Final = "bitShiftLeft(toUInt256(toUnixTimestamp64Milli(timestamp)), 128) + toUInt256(toUInt128(page_id))"
_MS: Final = "toInt64(bitShiftRight({}, 128))"
#: Entries: (number of the kind, value, pageviews, sessions, bounces, milliseconds).
_WHOLE: Final = (
    """[(1, '', n * (1 - known), 1 - known * toInt64(length(parts)),
         toInt64(n = 1) - known * toInt64(countEqual(parts.2, 1)),
         ms - known * arraySum(arrayMap(part -> part.4 - part.3, parts)))]""",
    "[(2, '', repeats, 0, 0, 0)]",
)


def parts_of_pageviews(rows: str, zone: str) -> str:
    """Return the query for the parts of sessions by day, which `of_sessions` takes.

    `rows`: the SQL of pageviews in the period, each with its session's `key`; `zone`: the time zone, quoted.
    """
    return f"""
        SELECT session_id, is_bot AS bot, toDate(timestamp, {zone}) AS day, toInt64(count()) AS of_day,
               toInt64(uniqExact(cityHash64(place))) AS different,
               any(key) IN (SELECT key FROM {CHANGED}) AS is_changed,
               {_MS.format("min(place)")} AS began, {_MS.format("max(place)")} AS ended,
               argMin(path, place) AS entry, argMax(path, place) AS exit
        FROM (SELECT *, {_PLACE} AS place FROM {rows})
        GROUP BY session_id, bot, day"""  # noqa: S608 - constants, and a time zone that is quoted


def of_sessions(parts: str, pages: Sequence[str]) -> str:
    """Return the query about sessions as a whole: of the kind '', and of these `PAGES`.

    `parts`: the query for their parts, with the columns of `parts_of_pageviews`.
    """
    kinds = ["", REPEATS, *pages]
    entries = ", ".join((*_WHOLE, *(_of_page(kinds.index(kind) + 1, *PAGES[kind]) for kind in pages)))
    return f"""
        SELECT [{", ".join(map(quoted, kinds))}][entry.1] AS kind, entry.2 AS value, is_bot, sum(entry.3) AS p,
               sum(entry.4) AS s, sum(entry.5) AS b, sum(entry.6) AS t
        FROM
        (
            SELECT is_bot, repeats, toInt64(NOT is_changed) AS known,
                   arraySort(if(mixed, arrayFilter(part -> part.7 = is_bot, all_parts), all_parts)) AS parts,
                   arraySum(parts.2) AS n, parts.4[-1] - parts.3[1] AS ms, arrayConcat({entries}) AS entries
            FROM
            (
                SELECT is_changed, min(bot) != max(bot) AS mixed, if(mixed, [false, true], [min(bot)]) AS bots,
                       sum(of_day - different) + toInt64(mixed) AS repeats,
                       groupArray((day, of_day, began, ended, entry, exit, bot)) AS all_parts
                FROM ({parts})
                GROUP BY session_id, is_changed
            )
            ARRAY JOIN bots AS is_bot
        )
        ARRAY JOIN entries AS entry
        GROUP BY kind, value, is_bot"""  # noqa: S608 - constants


def _of_page(number: int, page: str, place: str) -> str:
    return f"""arrayMap((part, whole) -> ({number}, {page}, whole * n - known * part.2, whole - known,
                                          whole * (n = 1) - known * (part.2 = 1),
                                          whole * ms - known * (part.4 - part.3)),
                        parts, arrayMap(place -> toInt64(place = {place}), arrayEnumerate(parts)))"""


def of_values(rows: str, zone: str, values: Mapping[str, str], with_empty: str) -> str:
    """Return the query about these kinds, each the SQL of its value; '' counts only for `with_empty`.

    `rows` and `zone` as for `parts_of_pageviews`.  A hash stands for the value, since numbers are compared quickest.
    """
    kinds = list(values)
    pairs = ", ".join(f"({number}, toString({value}))" for number, value in enumerate(values.values(), 1))
    empty = kinds.index(with_empty) + 1 if with_empty in kinds else 0
    return f"""
        SELECT [{", ".join(map(quoted, kinds))}][number] AS kind, value, is_bot, sum(n) AS p, sum(times) AS s,
               toInt64(0) AS b, toInt64(0) AS t
        FROM
        (
            SELECT pair.1 AS number, any(pair.2) AS value, is_bot, if(is_changed, toInt64(count()), 0) AS n,
                   if(is_changed, 1, 1 - toInt64(uniqExact(day))) AS times
            FROM
            (
                SELECT session_id, is_bot, toDate(timestamp, {zone}) AS day,
                       key IN (SELECT key FROM {CHANGED}) AS is_changed,
                       arrayFilter(pair -> pair.2 != '' OR pair.1 = {empty}, [{pairs}]) AS pairs
                FROM {rows}
            )
            ARRAY JOIN pairs AS pair
            GROUP BY session_id, is_bot, is_changed, number, cityHash64(pair.2)
            HAVING n != 0 OR times != 0
        )
        GROUP BY number, value, is_bot"""  # noqa: S608 - constants, and a time zone that is quoted
