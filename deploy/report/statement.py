"""The statements that count a period, out of exact rows and out of rollups.

Each answers rows of (kind, value, pageviews, sessions, bounces, milliseconds); exact rows are counted for several sites
at once, whose ids then come first.  Kinds: `TOTALS`, `BOTS` (the totals of all bots), `SERIES` (a value a day or hour),
and the dimensions of `RANKINGS`.

Rollups count a session once a day.  What that is too often for sessions on several days is in the parts of these that
rollups keep (`several`); `uncommon` sessions are looked at in their exact rows; of the others the sums say all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from deploy.report import several
from deploy.report.corrections import PAGES, REPEATS, of_sessions, of_values, parts_of_pageviews
from deploy.report.figures import Period
from deploy.report.kinds import BOTS, SERIES, TOTALS
from deploy.report.quarters import WITHIN
from deploy.report.rankings import LEFT_OUT
from deploy.report.session_keys import DERIVED
from deploy.report.uncommon import CHANGED, DAYS, IN_PERIOD, UNCOMMON, Uncommon
from deploy.rollups import visitors
from deploy.rollups.changes import LAST_INSERTED_FIRST
from deploy.rollups.dimensions import COLUMNS, DAILY, quoted

#: Kinds that are about sessions as a whole, each the SQL of its value for one.
OF_SESSIONS: Final = {TOTALS: "''", BOTS: "''", "entry_page": "entry_page", "exit_page": "exit_page"}

#: The pageviews that have sessions of their own, as in the view `hitline.pageviews`.
_WITH_SESSIONS: Final = f"(SELECT * FROM hitline.pageviews_raw FINAL WHERE visitor_id = {visitors.NIL})"  # noqa: S608
#: The external table of the sites of which exact rows are counted.
SITES: Final = "sites"
_OF_SITES: Final = IN_PERIOD.replace("site_id = {site:UUID}", f"site_id IN (SELECT site_id FROM {SITES})")  # noqa: S608
_PLACE: Final = "(timestamp, toUInt128(page_id))"
_ONCE: Final = f"ORDER BY {LAST_INSERTED_FIRST} LIMIT 1 BY site_id, timestamp, session_id, page_id"
_NO_HOUR: Final = "toDateTime(0, 'UTC')"


class Statements:
    """The statements for one period; `with_bots`: bots are counted like people."""

    def __init__(self, period: Period, *, with_bots: bool) -> None:
        self._zone = quoted(period.zone)
        self._hourly = period.hourly
        self._counted = "1" if with_bots else "NOT is_bot"
        # A bot's and a person's pageviews under one id are two sessions.
        self._session = "session_id, is_bot" if with_bots else "session_id"

    def from_rows(self, kinds: Collection[str], top: int, *, derived: bool) -> str:
        """Return the statement that counts exact rows of `SITES`; `kinds`: some `OF_SESSIONS`, or one other.

        `derived`: also pageviews whose sessions are derived, as `exact_rows.count` says.
        """
        pageviews = "hitline.pageviews" if derived else _WITH_SESSIONS
        if set(kinds) <= OF_SESSIONS.keys():
            counted = self._of_sessions(kinds, pageviews)
        else:
            [kind] = kinds
            counted = self._of_all_pageviews(kind, pageviews)
        return f"""
            SELECT site_id, kind, value, p AS pageviews, s AS sessions, b AS bounces, t AS milliseconds
            FROM ({counted})
            WHERE {_shown()}
            {_first(top, "site_id, kind")}"""  # noqa: S608 - constants, and a time zone that is quoted

    def from_rollups(self, kinds: Collection[str], top: int, uncommon: Uncommon, *, once: bool) -> str:
        """Return the statement that takes rollups, and exact rows of uncommon sessions.

        `once`: of repeats one row counts; without it that is not asked, and `REPEATS` says how many there are.
        """
        parts = [*self._sums(kinds)]
        if uncommon.quarters:
            parts += self._of_uncommon(kinds, uncommon, _rows(uncommon, once=once))
        if uncommon.recorded:
            parts.append(self._recorded(kinds, uncommon))
        return _ranked(parts, top, self._of_several_days(kinds, uncommon))

    def _value(self, kind: str) -> str:
        """Return the SQL of a pageview's value."""
        if kind == SERIES:
            return self._bucket(f"toDate(timestamp, {self._zone})", f"toHour(timestamp, {self._zone})")
        return f"toString({DAILY[kind]})"

    def _bucket(self, day: str, hour: str) -> str:
        return (
            f"concat(toString({day}), ' ', leftPad(toString({hour}), 2, '0'))" if self._hourly else f"toString({day})"
        )

    def _of_all_pageviews(self, kind: str, pageviews: str) -> str:
        return f"""
            SELECT site_id, {quoted(kind)} AS kind, {self._value(kind)} AS value, toInt64(count()) AS p,
                   toInt64(uniqExact({self._session})) AS s, 0 AS b, 0 AS t
            FROM {pageviews} WHERE {_OF_SITES} AND {"is_bot" if kind == "bot_kind" else self._counted}
            GROUP BY site_id, value"""  # noqa: S608 - constants, and a time zone that is quoted

    def _of_sessions(self, kinds: Iterable[str], pageviews: str) -> str:
        pairs = ", ".join(f"({quoted(kind)}, {OF_SESSIONS[kind]})" for kind in kinds)
        return f"""
            SELECT site_id, pair.1 AS kind, pair.2 AS value, toInt64(sum(n)) AS p, toInt64(count()) AS s,
                   toInt64(countIf(n = 1)) AS b, sum(ms) AS t
            FROM ({self._sessions(pageviews)})
            ARRAY JOIN [{pairs}] AS pair
            WHERE if(kind = '{BOTS}', is_bot, {self._counted})
            GROUP BY site_id, kind, value"""  # noqa: S608

    @staticmethod
    def _sessions(pageviews: str) -> str:
        return f"""
            SELECT site_id, is_bot, count() AS n, dateDiff('millisecond', min(timestamp), max(timestamp)) AS ms,
                   argMin(path, {_PLACE}) AS entry_page, argMax(path, {_PLACE}) AS exit_page
            FROM {pageviews} WHERE {_OF_SITES} GROUP BY site_id, session_id, is_bot"""  # noqa: S608

    def _of_several_days(self, kinds: Collection[str], uncommon: Uncommon) -> Iterable[str]:
        """Take back what the sums count too often; values of the series are of one day each.

        The queries answer rows of (hash, p, s, b, t), with the hash of the kind and the value.
        """
        yield several.of_sessions(uncommon, kinds, self._counted)
        if any(kind in DAILY for kind in kinds):
            values = several.of_values(uncommon, self._counted)
            yield f"SELECT hash, toInt64(0) AS p, s, toInt64(0) AS b, toInt64(0) AS t FROM ({values})"  # noqa: S608

    def _of_uncommon(self, kinds: Collection[str], uncommon: Uncommon, rows: str) -> Iterable[str]:
        values = {kind: self._value(kind) for kind in kinds if kind not in OF_SESSIONS}
        if not uncommon.changed:
            values.pop(SERIES, None)  # each of its values is of one day, so that none counts too often
        pages = [kind for kind in kinds if kind in PAGES]
        yield self._correction(of_sessions(parts_of_pageviews(rows, self._zone), pages))
        if values:
            yield self._correction(of_values(rows, self._zone, values, with_empty="path"))

    def _correction(self, query: str) -> str:
        return f"""
            SELECT shown AS kind, value, p, s, b, t
            FROM ({query})
            ARRAY JOIN if(kind = '' AND is_bot, ['', '{BOTS}'], [kind]) AS shown
            WHERE multiIf(kind = '{REPEATS}', true, kind IN ('bot_kind', '{BOTS}'), is_bot, {self._counted})"""  # noqa: S608

    def _recorded(self, kinds: Collection[str], uncommon: Uncommon) -> str:
        """Subtract what the rollups hold of changed sessions."""
        recorded = ", ".join(f"toDate('{day}')" for day in uncommon.recorded)
        is_changed = f"{uncommon.keys.of_session} IN (SELECT key FROM {CHANGED})"  # noqa: S608
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
                FROM
                (
                    SELECT * FROM hitline.session_days_raw
                    PREWHERE {DAYS} AND day IN ({recorded}) AND {is_changed}
                    ORDER BY run DESC
                    LIMIT 1 BY site_id, day, session_id, is_bot
                )
                WHERE pageviews > 0
            )
            ARRAY JOIN entries AS entry
            WHERE if(kind IN ('bot_kind', '{BOTS}'), is_bot, {self._counted})
            GROUP BY kind, value"""  # noqa: S608

    def _sums(self, kinds: Collection[str]) -> Iterable[str]:
        """Select the rollups' sums, which count a session on each of its days."""
        measures = "sum(pageviews) AS p, sum(sessions) AS s, sum(bounces) AS b, sum(milliseconds) AS t"
        daily = f"FROM hitline.daily_counts_raw FINAL WHERE {DAYS}"
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
                f" WHERE {DAYS} AND dimension = '' AND {self._counted} GROUP BY value"
            )

    def _bucket_of_hour(self, hour: str) -> str:
        """Return the SQL of the bucket of pageviews in an hour that began at this moment.

        Half an hour later it is the same hour on the site's clock, even where that was put forward by 30 minutes.
        """
        return self._bucket("day", f"toHour({hour} + 1800, {self._zone})")


def _rows(uncommon: Uncommon, *, once: bool) -> str:
    """Return the SQL of the uncommon sessions' rows; `once`: each once, as in the view, which would take longer."""
    columns = f"site_id, timestamp, session_id, page_id, is_bot, {COLUMNS}"
    derived = uncommon.keys is DERIVED
    rows = f"""
        SELECT {columns}, {uncommon.keys.of_pageview} AS key{", visitor_id" if derived else ""}
        FROM hitline.pageviews_raw
        PREWHERE {IN_PERIOD} AND {WITHIN} AND key IN (SELECT key FROM {UNCOMMON})
        {_ONCE if once else ""}"""  # noqa: S608
    if derived:
        shown = columns.replace(" session_id,", "")
        rows = visitors.with_sessions(rows, f"{shown}, key")
    return f"({rows})"


def _ranked(parts: Iterable[str], top: int, hashed: Iterable[str] = ()) -> str:
    """Add up; of each dimension return the first `top` values.

    `hashed`: queries in which the hash of kind and value stands for these; what `parts` do not have is not asked for.
    """
    named = f"""
        SELECT cityHash64(kind, value) AS hash, (kind, value) AS row, true AS is_named, p, s, b, t
        FROM ({" UNION ALL ".join(parts)})
        WHERE {_shown()}"""  # noqa: S608
    others = (f"SELECT hash, ('', ''), false, p, s, b, t FROM ({each})" for each in hashed)  # noqa: S608
    return f"""
        SELECT anyIf(row.1, is_named) AS kind, anyIf(row.2, is_named) AS value, sum(p) AS pageviews, sum(s) AS sessions,
               sum(b) AS bounces, sum(t) AS milliseconds
        FROM ({" UNION ALL ".join((named, *others))})
        GROUP BY hash HAVING max(is_named) AND pageviews > 0
        {_first(top, "kind")}"""  # noqa: S608


def _shown() -> str:
    """Return the condition that a value is one to rank."""
    left_out = " OR ".join(
        f"(kind = {quoted(kind)} AND value IN ({', '.join(map(quoted, values))}))"
        for kind, values in LEFT_OUT.items()
        if values
    )
    keep = ", ".join(map(quoted, (TOTALS, BOTS, REPEATS, *(kind for kind, values in LEFT_OUT.items() if not values))))
    return f"(value != '' OR kind IN ({keep})) AND NOT ({left_out})"


def _first(top: int, ranking: str) -> str:
    """Return the clauses for the first `top` values of each ranking, and all of a series; `ranking`: its columns."""
    return f"""ORDER BY {ranking}, pageviews DESC, value
        LIMIT {top:d} BY {ranking}, if(kind = '{SERIES}', value, '')"""
