"""The statements that count a period, out of exact rows and out of rollups.

Each answers rows of (kind, value, pageviews, sessions, bounces, milliseconds).  Kinds: `TOTALS`, `BOTS` (the totals of
all bots), `SERIES` (a value a day or hour), and the dimensions of `RANKINGS`.

Rollups count a session once a day.  So with them, three sets of sessions are distinguished:

- those that are on one day only, and in the rollups as they are: most; the sums say all about them,
- *changed* ones, of which there are rows that are newer than the rollups, or being erased: what the rollups hold of
  them is subtracted, and their exact rows are counted instead,
- others that are on *several* days: their exact rows tell how often the sums count them too often.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from deploy.report.counted_again import counted_again
from deploy.report.figures import Period
from deploy.report.hours import within
from deploy.report.rankings import LEFT_OUT
from deploy.rollups.changes import LAST_INSERTED_FIRST
from deploy.rollups.dimensions import COLUMNS, DAILY, quoted

TOTALS: Final = ""
BOTS: Final = "bots"
SERIES: Final = "series"
#: Kinds that are about sessions as a whole, each the SQL of its value for one.
OF_SESSIONS: Final = {TOTALS: "''", BOTS: "''", "entry_page": "entry_page", "exit_page": "exit_page"}
#: External data: a column `id` of sessions each, the second a part of the first.
UNCOMMON: Final = "uncommon"
CHANGED: Final = "changed"

_PERIOD: Final = (
    "site_id = {site:UUID} AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}"
)
_DAYS: Final = "site_id = {site:UUID} AND day BETWEEN {first:Date} AND {last:Date}"
_IS_CHANGED: Final = f"session_id IN (SELECT id FROM {CHANGED})"  # noqa: S608
#: A pageview's place in its session, as one number: the time, then `page_id` as it is written.
_PLACE: Final = "bitShiftLeft(toUInt256(toUnixTimestamp64Milli(timestamp)), 128) + toUInt256(toUInt128(page_id))"
_COLUMNS: Final = f"site_id, timestamp, session_id, page_id, is_bot, {COLUMNS}"
#: The rows of uncommon sessions, each once: the view would take three times as long for a few of many rows.
_UNCOMMON_ROWS: Final = f"""
    (
        SELECT {_COLUMNS} FROM hitline.pageviews_raw
        PREWHERE {_PERIOD} AND (in_hours) AND session_id IN (SELECT id FROM {UNCOMMON})
        ORDER BY {LAST_INSERTED_FIRST}
        LIMIT 1 BY site_id, timestamp, session_id, page_id
    )"""  # noqa: S608
#: In which hours these are (of Unix time): they lie near midnight, mostly, and other hours need not be read again.
HOURS: Final = f"""
    SELECT arraySort(groupUniqArray(intDiv(toUnixTimestamp64Milli(timestamp), 3600000)))
    FROM hitline.pageviews_raw PREWHERE {_PERIOD} AND session_id IN (SELECT id FROM {UNCOMMON})"""  # noqa: S608
_NO_HOUR: Final = "toDateTime(0, 'UTC')"


class Statements:
    """The statements for one period; `with_bots`: bots are counted like people."""

    def __init__(self, period: Period, *, with_bots: bool) -> None:
        self._zone = quoted(period.zone)
        self._hourly = period.hourly
        self._uncommon_rows = ""
        self._counted = "1" if with_bots else "NOT is_bot"
        # A bot's and a person's pageviews under one id are two sessions.
        self._session = "session_id, is_bot" if with_bots else "session_id"

    def from_rows(self, kinds: Collection[str], top: int) -> str:
        """Return the statement that counts exact rows; `kinds`: some `OF_SESSIONS`, or one other."""
        if set(kinds) <= OF_SESSIONS.keys():
            return _ranked([self._of_sessions(kinds, self._sessions())], top)
        [kind] = kinds
        return _ranked([self._of_all_pageviews(kind)], top)

    def from_rollups(self, kinds: Collection[str], top: int, *, hours: Sequence[int], changed: bool) -> str:
        """Return the statement that takes rollups.

        `hours`: what `HOURS` says; none: there are no uncommon sessions.  `changed`: whether some are changed.
        """
        self._uncommon_rows = _UNCOMMON_ROWS.replace("in_hours", within(hours))
        parts = [*self._sums(kinds)]
        if hours:
            of_sessions = [kind for kind in kinds if kind in OF_SESSIONS]
            others = [kind for kind in kinds if kind not in OF_SESSIONS]
            parts.append(self._of_sessions(of_sessions, self._uncommon_sessions()))
            if again := [kind for kind in others if kind != SERIES]:  # of which each value is of one day
                parts.append(
                    counted_again(again, f"{self._uncommon_rows} WHERE NOT ({_IS_CHANGED})", self._zone, self._counted)
                )
            if changed:
                parts.append(self._of_changed_pageviews(others))
        if changed:
            parts.append(self._recorded(kinds))
        return _ranked(parts, top)

    def _value(self, kind: str) -> str:
        """Return the SQL of a pageview's value."""
        if kind == SERIES:
            return self._bucket(f"toDate(timestamp, {self._zone})", f"toHour(timestamp, {self._zone})")
        return f"toString({DAILY[kind]})"

    def _bucket(self, day: str, hour: str) -> str:
        return (
            f"concat(toString({day}), ' ', leftPad(toString({hour}), 2, '0'))" if self._hourly else f"toString({day})"
        )

    def _of_all_pageviews(self, kind: str) -> str:
        return f"""
            SELECT {quoted(kind)} AS kind, {self._value(kind)} AS value, toInt64(count()) AS p,
                   toInt64(uniqExact({self._session})) AS s, 0 AS b, 0 AS t
            FROM hitline.pageviews WHERE {_PERIOD} AND {"is_bot" if kind == "bot_kind" else self._counted}
            GROUP BY value"""  # noqa: S608 - constants, and a time zone that is quoted

    def _of_changed_pageviews(self, kinds: Iterable[str]) -> str:
        pairs = ", ".join(f"({quoted(kind)}, {self._value(kind)})" for kind in kinds)
        return f"""
            SELECT pair.1 AS kind, pair.2 AS value, toInt64(count()) AS p, toInt64(uniqExact({self._session})) AS s,
                   0 AS b, 0 AS t
            FROM (SELECT session_id, is_bot, [{pairs}] AS pairs FROM {self._uncommon_rows} WHERE {_IS_CHANGED})
            ARRAY JOIN pairs AS pair
            WHERE if(kind = 'bot_kind', is_bot, {self._counted})
            GROUP BY kind, value"""  # noqa: S608

    def _of_sessions(self, kinds: Iterable[str], sessions: str) -> str:
        pairs = ", ".join(f"({quoted(kind)}, {OF_SESSIONS[kind]})" for kind in kinds)
        return f"""
            SELECT pair.1 AS kind, pair.2 AS value, sum(sign * n) AS p, sum(sign) AS s, sum(sign * (n = 1)) AS b,
                   sum(sign * ms) AS t
            FROM ({sessions})
            ARRAY JOIN [{pairs}] AS pair
            WHERE if(kind = '{BOTS}', is_bot, {self._counted})
            GROUP BY kind, value"""  # noqa: S608

    @staticmethod
    def _sessions() -> str:
        return f"""
            SELECT is_bot, toInt64(1) AS sign, toInt64(count()) AS n,
                   dateDiff('millisecond', min(timestamp), max(timestamp)) AS ms,
                   argMin(path, {_PLACE}) AS entry_page, argMax(path, {_PLACE}) AS exit_page
            FROM hitline.pageviews WHERE {_PERIOD} GROUP BY session_id, is_bot"""  # noqa: S608

    def _uncommon_sessions(self) -> str:
        """Select them as they are; those that are not changed also day by day as rollups have them, with sign -1."""
        length = "toInt64(bitShiftRight({}, 128)) - toInt64(bitShiftRight({}, 128))"
        return f"""
            SELECT is_bot, part.1 AS sign, part.2 AS n, part.3 AS ms, part.4 AS entry_page, part.5 AS exit_page
            FROM
            (
                SELECT is_bot,
                       arrayConcat([(toInt64(1), sum(n), {length.format("max(ended)", "min(began)")},
                                     argMin(entry, began), argMax(exit, ended))],
                                   groupArrayIf((toInt64(-1), n, {length.format("ended", "began")}, entry, exit),
                                                NOT is_changed)) AS parts
                FROM
                (
                    SELECT session_id, is_bot, {_IS_CHANGED} AS is_changed, toInt64(count()) AS n,
                           min({_PLACE}) AS began, max({_PLACE}) AS ended,
                           argMin(path, {_PLACE}) AS entry, argMax(path, {_PLACE}) AS exit
                    FROM {self._uncommon_rows}
                    GROUP BY session_id, is_bot, toDate(timestamp, {self._zone})
                )
                GROUP BY session_id, is_bot
            )
            ARRAY JOIN parts AS part"""  # noqa: S608

    def _recorded(self, kinds: Collection[str]) -> str:
        """Subtract what the rollups hold of changed sessions."""
        whole = [
            f"({quoted(kind)}, {OF_SESSIONS[kind]}, n, toInt64(n = 1), ms)" for kind in kinds if kind in OF_SESSIONS
        ]
        if SERIES in kinds and not self._hourly:
            whole.append(f"('{SERIES}', toString(day), n, toInt64(0), toInt64(0))")
        hours = f"e.3 != {_NO_HOUR} AND e.1 = ''" if SERIES in kinds and self._hourly else "0"
        names = ", ".join(quoted(kind) for kind in kinds if kind in DAILY)
        days = f"e.3 = {_NO_HOUR} AND e.1 IN ({names})" if names else "0"
        return f"""
            SELECT entry.1 AS kind, entry.2 AS value, -sum(entry.3) AS p, -toInt64(count()) AS s, -sum(entry.4) AS b,
                   -sum(entry.5) AS t
            FROM
            (
                SELECT is_bot, toInt64(pageviews) AS n, toInt64(milliseconds) AS ms, arrayConcat(
                    [{", ".join(whole)}],
                    arrayMap(e -> (if(e.1 = '', '{SERIES}', toString(e.1)),
                                   if(e.1 = '', {self._bucket_of_hour("e.3")}, e.2),
                                   toInt64(e.4), toInt64(0), toInt64(0)),
                             arrayFilter(e -> ({days}) OR ({hours}), arrayZip(dimensions, `values`, hours, counts)))
                ) AS entries
                FROM hitline.session_days_raw FINAL
                WHERE {_DAYS} AND pageviews > 0 AND {_IS_CHANGED}
            )
            ARRAY JOIN entries AS entry
            WHERE if(kind IN ('bot_kind', '{BOTS}'), is_bot, {self._counted})
            GROUP BY kind, value"""  # noqa: S608

    def _sums(self, kinds: Collection[str]) -> Iterable[str]:
        """Select the rollups' sums, which count a session on each of its days."""
        measures = "sum(pageviews) AS p, sum(sessions) AS s, sum(bounces) AS b, sum(milliseconds) AS t"
        daily = f"FROM hitline.daily_counts_raw FINAL WHERE {_DAYS}"
        if names := ", ".join(quoted(kind) for kind in kinds if kind not in (BOTS, SERIES)):
            counted = f"if(dimension = 'bot_kind', is_bot, {self._counted})"
            yield (
                f"SELECT toString(dimension) AS kind, value, {measures} {daily} AND dimension IN ({names})"
                f" AND {counted} GROUP BY kind, value"
            )
        if BOTS in kinds:
            yield f"SELECT '{BOTS}' AS kind, '' AS value, {measures} {daily} AND dimension = '' AND is_bot"
        if SERIES in kinds:
            bucket = self._bucket_of_hour("hour") if self._hourly else "toString(day)"
            if self._hourly:
                measures = "sum(pageviews) AS p, sum(sessions) AS s, 0 AS b, 0 AS t"
            table = "hourly_counts_raw" if self._hourly else "daily_counts_raw"
            yield (
                f"SELECT '{SERIES}' AS kind, {bucket} AS value, {measures} FROM hitline.{table} FINAL"  # noqa: S608
                f" WHERE {_DAYS} AND dimension = '' AND {self._counted} GROUP BY value"
            )

    def _bucket_of_hour(self, hour: str) -> str:
        """Return the SQL of the bucket of pageviews in an hour that began at this moment.

        Half an hour later it is the same hour on the site's clock, even where that was put forward by 30 minutes.
        """
        return self._bucket("day", f"toHour({hour} + 1800, {self._zone})")


def _ranked(parts: Iterable[str], top: int) -> str:
    """Add up; of each dimension return the first `top` values."""
    left_out = [
        f"(kind = {quoted(kind)} AND value IN ({', '.join(map(quoted, values))}))"
        for kind, values in LEFT_OUT.items()
        if values
    ]
    keep = ", ".join(map(quoted, (TOTALS, BOTS, *(kind for kind, values in LEFT_OUT.items() if not values))))
    return f"""
        SELECT kind, value, sum(p) AS pageviews, sum(s) AS sessions, sum(b) AS bounces, sum(t) AS milliseconds
        FROM ({" UNION ALL ".join(parts)})
        WHERE (value != '' OR kind IN ({keep})) AND NOT ({" OR ".join(left_out)})
        GROUP BY kind, value HAVING pageviews > 0
        ORDER BY kind, pageviews DESC, value
        LIMIT {top:d} BY kind, if(kind = '{SERIES}', value, '')"""  # noqa: S608
