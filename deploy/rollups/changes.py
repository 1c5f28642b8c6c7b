"""The statements that find what sessions are counted with now, and what they were counted with.

Both go into `hitline_control.rollup_changes`, the second with sign -1, for the sessions in `rollup_touched`.  What a
session was counted with is long and lies among what others of that day were; so it is read only where it can't be told
from the pageviews that were stored before: it is theirs if the fingerprint is the same.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from deploy.rollups import visitors
from deploy.rollups.dimensions import COLUMNS, DAILY, HOURLY, quoted

#: Of several rows of one pageview the one counts that was inserted last, as in the view `pageviews`.  Parts are
#: numbered in the order of inserts; FINAL would read and merge all of the day for the few sessions that are asked for.
LAST_INSERTED_FIRST: Final = "toUInt64(splitByChar('_', _part)[2]) DESC, _part_offset DESC"
#: A pageview's place in its session, as one number: the time, then `page_id` as it is written.
_PLACE: Final = "bitShiftLeft(toUInt256(toUnixTimestamp64Milli(timestamp)), 128) + toUInt256(toUInt128(page_id))"
#: When the pageview's hour of the site's clock began.  Not toStartOfHour: where a summer time of 30 minutes ends, that
#: is wrong for the rest of the day.
_HOUR: Final = "toDateTime(timestamp, 'UTC') - toMinute(timestamp, {zone:String}) * 60 - toSecond(timestamp)"

_DIMENSIONS: Final = (*DAILY, *HOURLY)
_VALUES: Final = (*DAILY.values(), *HOURLY.values())
#: What distinguishes the pages of a session: each pageview has one path.
_PATH: Final = _DIMENSIONS.index("path") + 1

#: Pageviews of a session on a day that are handled as arrays; a client that gives all visitors one id has more.
MOST_IN_ARRAY: Final = 10_000
_LENGTH: Final = "toUInt32(bitShiftRight(max(place), 128) - bitShiftRight(min(place), 128)) AS length_ms"
_LOCAL_DAY: Final = "toDate(timestamp, {zone:String})"

_UNIT: Final = "site_id, day, session_id, is_bot"
#: A pageview that was stored before everything was counted is also one that a session was counted with, as far as that
#: can be told from it: a repetition may have replaced it.
_SIGNS: Final = "if(stored_at < {counted_to:DateTime64(3, 'UTC')}, [1, -1], [1])"
_CONTENT: Final = "pageviews, milliseconds, entry_page, exit_page, dimensions, `values`, hours, counts, fingerprint"
_INTO: Final = f"INSERT INTO hitline_control.rollup_changes (run, sign, {_UNIT}, {_CONTENT})"
_CHANGES: Final = "hitline_control.rollup_changes WHERE run = {run:UInt64}"
_LARGE: Final = f"SELECT {_UNIT} FROM {_CHANGES} AND sign = 2"  # noqa: S608
_TOUCHED: Final = "hitline_control.rollup_touched WHERE run = {run:UInt64}"


def _rows(more: str = "", *, derived: bool) -> str:
    """Return the query for the pageviews of the touched sessions of one time zone, each once, with `sign` 1.

    `more`: a further condition.  `derived`: sessions are derived for some of them.
    """
    if derived:
        columns = f"site_id, day, is_bot, hour, place, {COLUMNS}, sign"
        rows = visitors.with_sessions(_stored(", timestamp, visitor_id"), columns)
        return f"SELECT * FROM ({rows}) WHERE 1 {more}"  # noqa: S608
    return _stored("", more)


def _stored(columns: str, more: str = "", signs: str = "[1]") -> str:
    """`signs`: the SQL of an array; each pageview is there once for each."""
    touched = f"{_TOUCHED} AND zone = {{zone:String}}"
    return f"""
        SELECT site_id, {_LOCAL_DAY} AS day, session_id, is_bot, {_HOUR} AS hour, {_PLACE} AS place, {COLUMNS}{columns},
               toInt8(arrayJoin({signs})) AS sign
        FROM hitline.pageviews_raw
        PREWHERE session_id IN (SELECT session_id FROM {touched})
        WHERE (site_id, {_LOCAL_DAY}) IN (SELECT site_id, day FROM {touched})
          AND (site_id, {_LOCAL_DAY}, session_id) IN (SELECT site_id, day, session_id FROM {touched}) {more}
        ORDER BY {LAST_INSERTED_FIRST}
        LIMIT 1 BY sign, site_id, timestamp, session_id, page_id"""  # noqa: S608 - constants


def _now(*, derived: bool) -> str:
    """Return the statement for sessions that fit into arrays; of others it writes a row of sign 2.

    Sessions that are what is known of them get a row of sign 4 and no values, and those whose earlier pageviews are,
    one of sign -1 with these.  In an array of all values, the last of each counts: its number is how often it has been
    there until then.
    """
    arrays, values, numbers, hours, names = [], [], [], [], []
    for name, value in DAILY.items():
        arrays.append(f"groupArray({MOST_IN_ARRAY + 1})(toString({value})) AS all_{name}")
        values.append(f"arrayFilter((x, left) -> left = 1, all_{name}, {_left(f'all_{name}')})")
        numbers.append(f"arrayFilter((x, left) -> left = 1, arrayEnumerateUniq(all_{name}), {_left(f'all_{name}')})")
        hours.append(f"arrayWithConstant(length({values[-1]}), toDateTime(0, 'UTC'))")
        names.append(f"arrayWithConstant(length({values[-1]}), {quoted(name)})")
    for name in HOURLY:
        every = f"all_{name}" if name else "arrayWithConstant(length(all_hours), '')"
        left = _left("all_hours", every)
        values.append(f"arrayFilter((x, left) -> left = 1, {every}, {left})")
        numbers.append(f"arrayFilter((x, left) -> left = 1, arrayEnumerateUniq(all_hours, {every}), {left})")
        hours.append(f"arrayFilter((x, left) -> left = 1, all_hours, {left})")
        names.append(f"arrayWithConstant(length({values[-1]}), {quoted(name)})")
    columns = [f"arrayConcat({', '.join(parts)})" for parts in (names, values, hours, numbers)]
    rows = _rows(derived=True) if derived else _stored("", signs=_SIGNS)
    return f"""
    {_INTO}
    SELECT {{run:UInt64}}, multiIf(same, 4, number > {MOST_IN_ARRAY}, 2, sign), {_UNIT}, number, length_ms, entry, exit,
           if(same, [], dimensions), if(same, [], `values`), if(same, [], hours), if(same, [], counts), fingerprint
    FROM
    (
        SELECT *, ({_UNIT}, fingerprint) IN (SELECT {_UNIT}, fingerprint FROM {_CHANGES} AND sign = 3) AS known,
               max(known AND sign = 1) OVER (PARTITION BY {_UNIT}) AS same
        FROM
        (
            SELECT *, arraySum(arrayMap((d, v, h, n) -> cityHash64(d, v, h, n), dimensions, `values`, hours, counts))
                      + cityHash64(length_ms, entry, exit) AS fingerprint
            FROM
            (
                SELECT sign, {_UNIT}, number, length_ms, entry, exit,
                       {columns[0]} AS dimensions, {columns[1]} AS `values`, {columns[2]} AS hours,
                       arrayMap(n -> toUInt32(n), {columns[3]}) AS counts
                FROM
                (
                    SELECT sign, {_UNIT}, toUInt32(count()) AS number, {_LENGTH}, argMin(path, place) AS entry,
                           argMax(path, place) AS exit, groupArray({MOST_IN_ARRAY + 1})(hour) AS all_hours,
                           {", ".join(arrays)}
                    FROM ({rows})
                    GROUP BY sign, {_UNIT}
                )
            )
        )
    )
    WHERE sign = 1 OR (known AND NOT same AND number <= {MOST_IN_ARRAY})"""  # noqa: S608 - constants


def _left(*arrays: str) -> str:
    """Return, for each element, how many equal ones there are from it on; of several arrays, of tuples of theirs."""
    return f"arrayReverse(arrayEnumerateUniq({', '.join(f'arrayReverse({array})' for array in arrays)}))"


def _now_large(*, derived: bool) -> str:
    """Return the statement for the sessions that were left out: it goes on on disk, and takes several times as long."""
    day = "day" if derived else _LOCAL_DAY
    names = ", ".join(map(quoted, _DIMENSIONS))
    values = ", ".join(f"toString({value})" for value in _VALUES)
    hours = ", ".join(["toDateTime(0, 'UTC')"] * len(DAILY) + ["hour"] * len(HOURLY))
    return f"""
    {_INTO}
    WITH [{names}] AS names
    SELECT {{run:UInt64}}, 1, {_UNIT}, sumIf(number, kind = {_PATH}) AS pageviews,
           toUInt32(bitShiftRight(max(latest), 128) - bitShiftRight(min(earliest), 128)) AS length_ms,
           argMinIf(value, earliest, kind = {_PATH}) AS entry, argMaxIf(value, latest, kind = {_PATH}) AS exit,
           groupArray(names[kind]), groupArray(value), groupArray(hour), groupArray(number),
           sum(cityHash64(names[kind], value, hour, number)) + cityHash64(length_ms, entry, exit)
    FROM
    (
        SELECT {_UNIT}, kind, value, at AS hour, toUInt32(count()) AS number,
               min(place) AS earliest, max(place) AS latest
        FROM ({_rows(f"AND (site_id, {day}, session_id, is_bot) IN ({_LARGE})", derived=derived)})
        ARRAY JOIN range(1, {len(_DIMENSIONS) + 1}) AS kind, [{values}] AS value, [{hours}] AS at
        GROUP BY {_UNIT}, kind, value, at
    )
    GROUP BY {_UNIT}"""  # noqa: S608 - constants


LARGE: Final = f"SELECT count() FROM ({_LARGE})"  # noqa: S608


class Statements(NamedTuple):
    """What is computed of the touched sessions of one time zone, in this order.

    `known`: what is known of them; "": it isn't asked for.  `now_large` only where `LARGE` finds any.  `before` only
    where `left` finds any; "": always.
    """

    known: str
    now: str
    now_large: str
    left: str
    before: str


def _before(units: str) -> str:
    return f"""
    {_INTO}
    SELECT {{run:UInt64}}, -1, {_UNIT}, {_CONTENT}
    FROM hitline.session_days_raw FINAL
    WHERE ({units}) AND pageviews > 0"""  # noqa: S608


_IS_TOUCHED: Final = f"(site_id, day, session_id) IN (SELECT site_id, day, session_id FROM {_TOUCHED})"  # noqa: S608
#: The fingerprint alone, in a row of sign 3: it is short, and does not need FINAL.
_KNOWN: Final = f"""
    INSERT INTO hitline_control.rollup_changes (run, sign, {_UNIT}, fingerprint)
    SELECT {{run:UInt64}}, 3, {_UNIT}, argMax(fingerprint, days.run) FROM hitline.session_days_raw AS days
    PREWHERE {_IS_TOUCHED}
    GROUP BY {_UNIT} HAVING argMax(pageviews, days.run) > 0"""  # noqa: S608
_LEFT: Final = f"""
    SELECT {_UNIT} FROM {_CHANGES} AND sign = 3
    AND ({_UNIT}) NOT IN (SELECT {_UNIT} FROM {_CHANGES} AND sign IN (-1, 4))"""  # noqa: S608
PLAIN: Final = Statements(
    _KNOWN,
    _now(derived=False),
    _now_large(derived=False),
    f"SELECT count() FROM ({_LEFT})",  # noqa: S608
    _before(f"({_UNIT}) IN ({_LEFT})"),
)
#: Where some of the touched sessions are derived, also those that none of the visitor's pageviews is in any more.
DERIVED: Final = Statements(
    "",
    _now(derived=True),
    _now_large(derived=True),
    "",
    _before(
        f"{_IS_TOUCHED} OR (site_id, day, {visitors.OF_SESSION}) IN (SELECT site_id, day + shift, session_id"  # noqa: S608
        f" FROM (SELECT * FROM {_TOUCHED}) ARRAY JOIN [-1, 0, 1] AS shift)"
    ),
)

#: Which are the same before and after.
_UNCHANGED: Final = f"""
    (SELECT {_UNIT} FROM {_CHANGES} AND abs(sign) = 1
     GROUP BY {_UNIT}, fingerprint HAVING count() = 2)"""  # noqa: S608

#: Sessions on days that change, and those days.
COUNT: Final = f"""
    SELECT uniqExact({_UNIT}), uniqExact(site_id, day) FROM {_CHANGES}
    AND abs(sign) = 1 AND ({_UNIT}) NOT IN {_UNCHANGED}"""  # noqa: S608
#: Of the sessions that change, those that got no pageview since `counted_to`.
DRIFTED: Final = f"""
    SELECT uniqExact({_UNIT}) FROM {_CHANGES} AND abs(sign) = 1 AND ({_UNIT}) NOT IN {_UNCHANGED}
    AND (site_id, session_id) NOT IN
    (SELECT site_id, session_id FROM hitline.pageviews_raw WHERE stored_at >= {{counted_to:DateTime64(3, 'UTC')}})
    AND (site_id, {visitors.OF_SESSION}) NOT IN
    (SELECT site_id, visitor_id FROM hitline.pageviews_raw WHERE stored_at >= {{counted_to:DateTime64(3, 'UTC')}})"""  # noqa: S608
COMPLETE: Final = "INSERT INTO hitline_control.rollup_changes (run, sign) SELECT {run:UInt64}, 0"

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
    WITH source AS (SELECT * FROM {_CHANGES} AND abs(sign) = 1),
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
    WITH source AS (SELECT * FROM {_CHANGES} AND abs(sign) = 1),
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
    INSERT INTO hitline.session_days_raw ({_UNIT}, run, {_CONTENT})
    SELECT {_UNIT}, {{run:UInt64}}, {_CONTENT} FROM {_CHANGES} AND sign = 1 AND ({_UNIT}) NOT IN {_UNCHANGED}
    UNION ALL
    SELECT {_UNIT}, {{run:UInt64}}, 0, 0, '', '', [], [], [], [], 0 FROM {_CHANGES} AND sign = -1
    AND ({_UNIT}) NOT IN (SELECT {_UNIT} FROM {_CHANGES} AND sign = 1)"""  # noqa: S608
