"""The statements that find what sessions are counted with now, and what they were counted with.

Both go into `hitline_control.rollup_changes`, the second with sign -1, for the sessions in `rollup_touched`.  What a
session was counted with is long, and lies among what others of that day were; so it is read only where there is
something of the session, and another fingerprint.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from deploy.rollups import several, visitors
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
_BEGAN: Final = "fromUnixTimestamp64Milli(toInt64(bitShiftRight(min({}), 128)), 'UTC') AS began_at"
_LOCAL_DAY: Final = "toDate(timestamp, {zone:String})"

UNIT: Final = "site_id, day, session_id, is_bot"
CONTENT: Final = "pageviews, milliseconds, entry_page, exit_page, dimensions, `values`, hours, counts, fingerprint"
_INTO: Final = f"INSERT INTO hitline_control.rollup_changes (run, sign, {UNIT}, {CONTENT})"
_INTO_NOW: Final = f"INSERT INTO hitline_control.rollup_changes (run, sign, {UNIT}, {CONTENT}, began)"
CHANGES: Final = "hitline_control.rollup_changes WHERE run = {run:UInt64}"
_LARGE: Final = f"SELECT {UNIT} FROM {CHANGES} AND sign = 2"  # noqa: S608
_TOUCHED: Final = "hitline_control.rollup_touched WHERE run = {run:UInt64}"


def _rows(more: str = "", *, derived: bool) -> str:
    """Return the query for the pageviews of the touched sessions of one time zone, each once.

    `more`: a further condition.  `derived`: sessions are derived for some of them.
    """
    if derived:
        columns = f"site_id, day, is_bot, hour, place, {COLUMNS}"
        rows = visitors.with_sessions(_stored(", timestamp, visitor_id"), columns)
        return f"SELECT * FROM ({rows}) WHERE 1 {more}"  # noqa: S608
    return _stored("", more)


def _stored(columns: str, more: str = "") -> str:
    touched = f"{_TOUCHED} AND zone = {{zone:String}}"
    return f"""
        SELECT site_id, {_LOCAL_DAY} AS day, session_id, is_bot, {_HOUR} AS hour, {_PLACE} AS place, {COLUMNS}{columns}
        FROM hitline.pageviews_raw
        PREWHERE session_id IN (SELECT session_id FROM {touched})
        WHERE (site_id, {_LOCAL_DAY}) IN (SELECT site_id, day FROM {touched})
          AND (site_id, {_LOCAL_DAY}, session_id) IN (SELECT site_id, day, session_id FROM {touched}) {more}
        ORDER BY {LAST_INSERTED_FIRST}
        LIMIT 1 BY site_id, timestamp, session_id, page_id"""  # noqa: S608 - constants


def _now(*, derived: bool) -> str:
    """Return the statement for sessions that fit into arrays; of others it writes a row of sign 2.

    Those that are what is known of them get a row of sign 4 and no values, or of sign 5 with these where they are kept
    for reports (`several`).  In an array of all values, the last of each counts: its number is how often it has been
    there until then.

    `daily` and `hourly` have such an array for each dimension, and functions of them are named once for all: ClickHouse
    takes longer to read a statement that names each than to compute a few sessions, and a fifth longer for many.
    """
    all_values = ", ".join(f"groupArray({MOST_IN_ARRAY + 1})(toString({DAILY[name]})) AS all_{name}" for name in DAILY)
    daily = ", ".join(f"all_{name}" for name in DAILY)
    hourly = ", ".join(f"all_{name}" if name else "arrayWithConstant(length(all_hours), '')" for name in HOURLY)
    names = ", ".join(map(quoted, _DIMENSIONS))
    session = f"{UNIT}, number, length_ms, began_at, entry, exit"
    return f"""
    {_INTO_NOW}
    SELECT {{run:UInt64}}, multiIf(done, 4, number > {MOST_IN_ARRAY}, 2, same, 5, 1), {UNIT}, number, length_ms, entry,
           exit, if(done, [], dimensions), if(done, [], `values`), if(done, [], hours), if(done, [], counts),
           fingerprint, began_at
    FROM
    (
        SELECT {session}, dimensions, `values`, hours, counts,
               arraySum(arrayMap((d, v, h, n) -> cityHash64(d, v, h, n), dimensions, `values`, hours, counts))
               + cityHash64(length_ms, entry, exit) AS fingerprint,
               ({UNIT}, fingerprint) IN (SELECT {UNIT}, fingerprint FROM {CHANGES} AND sign = 3) AS same,
               same AND NOT {several.IS_KEPT} AS done
        FROM
        (
            SELECT {session}, [{daily}] AS daily, [{hourly}] AS hourly,
                   arrayMap(a -> {_left("a")}, daily) AS left_of_day,
                   arrayMap(a -> {_left("all_hours", "a")}, hourly) AS left_of_hour,
                   arrayConcat({_last("a", "daily", "left_of_day")}, {_last("a", "hourly", "left_of_hour")}) AS last,
                   arrayFlatten(arrayMap((a, name) -> arrayWithConstant(length(a), name), last, [{names}]))
                   AS dimensions,
                   arrayFlatten(last) AS `values`,
                   arrayFlatten({_last("all_hours", "hourly", "left_of_hour")}) AS hours_of_hour,
                   arrayConcat(arrayWithConstant(length(`values`) - length(hours_of_hour), toDateTime(0, 'UTC')),
                               hours_of_hour) AS hours,
                   arrayFlatten(arrayConcat({_last("arrayEnumerateUniq(a)", "daily", "left_of_day")},
                                            {_last("arrayEnumerateUniq(all_hours, a)", "hourly", "left_of_hour")}))
                   AS counts
            FROM
            (
                SELECT {UNIT}, toUInt32(count()) AS number, {_LENGTH}, {_BEGAN.format("place")},
                       argMin(path, place) AS entry, argMax(path, place) AS exit,
                       groupArray({MOST_IN_ARRAY + 1})(hour) AS all_hours, {all_values}
                FROM ({_rows(derived=derived)})
                GROUP BY {UNIT}
            )
        )
    )"""  # noqa: S608 - constants


def _last(what: str, arrays: str, left: str) -> str:
    """Return `what` of the last of equal elements; `what`: of an array `a` of `arrays`, with as many elements."""
    return f"arrayMap((a, left) -> arrayFilter((x, n) -> n = 1, {what}, left), {arrays}, {left})"


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
    {_INTO_NOW}
    WITH [{names}] AS names
    SELECT {{run:UInt64}}, 1, {UNIT}, sumIf(number, kind = {_PATH}) AS pageviews,
           toUInt32(bitShiftRight(max(latest), 128) - bitShiftRight(min(earliest), 128)) AS length_ms,
           argMinIf(value, earliest, kind = {_PATH}) AS entry, argMaxIf(value, latest, kind = {_PATH}) AS exit,
           groupArray(names[kind]), groupArray(value), groupArray(hour), groupArray(number),
           sum(cityHash64(names[kind], value, hour, number)) + cityHash64(length_ms, entry, exit),
           {_BEGAN.format("earliest")}
    FROM
    (
        SELECT {UNIT}, kind, value, at AS hour, toUInt32(count()) AS number,
               min(place) AS earliest, max(place) AS latest
        FROM ({_rows(f"AND (site_id, {day}, session_id, is_bot) IN ({_LARGE})", derived=derived)})
        ARRAY JOIN range(1, {len(_DIMENSIONS) + 1}) AS kind, [{values}] AS value, [{hours}] AS at
        GROUP BY {UNIT}, kind, value, at
    )
    GROUP BY {UNIT}"""  # noqa: S608 - constants


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
    SELECT {{run:UInt64}}, -1, {UNIT}, {CONTENT}
    FROM hitline.session_days_raw FINAL
    WHERE ({units}) AND pageviews > 0"""  # noqa: S608


_IS_TOUCHED: Final = f"(site_id, day, session_id) IN (SELECT site_id, day, session_id FROM {_TOUCHED})"  # noqa: S608
#: The fingerprint alone, in a row of sign 3: it is short, and does not need FINAL.
_KNOWN: Final = f"""
    INSERT INTO hitline_control.rollup_changes (run, sign, {UNIT}, fingerprint)
    SELECT {{run:UInt64}}, 3, {UNIT}, argMax(fingerprint, days.run) FROM hitline.session_days_raw AS days
    PREWHERE {_IS_TOUCHED}
    GROUP BY {UNIT} HAVING argMax(pageviews, days.run) > 0"""  # noqa: S608
_LEFT: Final = f"""
    SELECT {UNIT} FROM {CHANGES} AND sign = 3
    AND ({UNIT}) NOT IN (SELECT {UNIT} FROM {CHANGES} AND sign IN (4, 5))"""  # noqa: S608
PLAIN: Final = Statements(
    _KNOWN,
    _now(derived=False),
    _now_large(derived=False),
    f"SELECT count() FROM ({_LEFT})",  # noqa: S608
    _before(f"({UNIT}) IN ({_LEFT})"),
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
UNCHANGED: Final = f"""
    (SELECT {UNIT} FROM {CHANGES} AND abs(sign) = 1
     GROUP BY {UNIT}, fingerprint HAVING count() = 2)"""  # noqa: S608

#: Sessions on days that change, and those days.
COUNT: Final = f"""
    SELECT uniqExact({UNIT}), uniqExact(site_id, day) FROM {CHANGES}
    AND abs(sign) = 1 AND ({UNIT}) NOT IN {UNCHANGED}"""  # noqa: S608
#: Of the sessions that change, those that got no pageview since `counted_to`.
DRIFTED: Final = f"""
    SELECT uniqExact({UNIT}) FROM {CHANGES} AND abs(sign) = 1 AND ({UNIT}) NOT IN {UNCHANGED}
    AND (site_id, session_id) NOT IN
    (SELECT site_id, session_id FROM hitline.pageviews_raw WHERE stored_at >= {{counted_to:DateTime64(3, 'UTC')}})
    AND (site_id, {visitors.OF_SESSION}) NOT IN
    (SELECT site_id, visitor_id FROM hitline.pageviews_raw WHERE stored_at >= {{counted_to:DateTime64(3, 'UTC')}})"""  # noqa: S608
COMPLETE: Final = "INSERT INTO hitline_control.rollup_changes (run, sign) SELECT {run:UInt64}, 0"
