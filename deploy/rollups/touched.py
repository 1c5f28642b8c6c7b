"""Which sessions are due on which days: the statements that fill `hitline_control.rollup_touched`.

ClickHouse takes a time zone only as a constant, so it is done zone by zone; and in shares, so that no statement
computes more than memory holds.  No statement names a site or a session: sets stay on the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from deploy.rollups import shares, visitors

_INTO: Final = "INSERT INTO hitline_control.rollup_touched (run, zone, site_id, day, session_id)"
_LOCAL_DAY: Final = "toDate(timestamp, {zone:String})"
_ZONES: Final = "(SELECT site_id, timezone FROM hitline_control.rollup_zones FINAL WHERE timezone != 'UTC')"
_SHARE_OF_PAGEVIEWS: Final = shares.condition(_LOCAL_DAY, visitors.SHARED_BY_PAGEVIEWS)
_SHARE_OF_SESSIONS: Final = shares.condition("day", visitors.SHARED_BY_SESSIONS)


@dataclass(frozen=True, slots=True)
class Scope:
    """Sessions that are due: SQL conditions on `pageviews_raw` and on `session_days_raw`, with their parameters.

    "" as a condition: that table holds nothing that is due.  `local` is a further condition on the day of a pageview in
    its site's time zone, `local_day`.  `estimate`: the query for the site, day and session of about as many rows, if
    the conditions are not to be asked for it.
    """

    on_pageviews: str
    on_days: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    local: str = "1"
    estimate: str = ""

    def zones(self) -> str:
        """Return the query for the time zones that these sites are in, each with about the number of rows to read."""
        selects = []
        if self.estimate:
            selects.append(f"SELECT site_id, count() AS number FROM ({self.estimate}) GROUP BY site_id")  # noqa: S608
        if self.on_pageviews and not self.estimate:
            near = self.local.replace("local_day", "toDate(timestamp)")
            selects.append(
                f"SELECT site_id, countIf({near}) AS number FROM hitline.pageviews_raw"  # noqa: S608
                f" WHERE {self.on_pageviews} GROUP BY site_id"
            )
        if self.on_days and not self.estimate:
            selects.append(
                f"SELECT site_id, count() AS number FROM hitline.session_days_raw WHERE {self.on_days} GROUP BY site_id"  # noqa: S608
            )
        return (
            f"SELECT if(zones.timezone = '', 'UTC', zones.timezone) AS zone, sum(number) FROM"  # noqa: S608
            f" ({' UNION ALL '.join(selects)}) AS found LEFT JOIN {_ZONES} AS zones USING (site_id)"
            " GROUP BY zone ORDER BY zone"
        )

    def shares(self, zone: str) -> str:
        """Return the query for the `shares.shares` of one time zone."""
        if self.estimate:
            rows = f"SELECT day, {visitors.SHARED_BY_SESSIONS} AS id FROM ({self.estimate}) WHERE {in_zone(zone)}"  # noqa: S608
            return shares.plan([rows])
        return shares.plan(
            self._selects(zone, f"{visitors.SHARED_BY_PAGEVIEWS} AS id", f"{visitors.SHARED_BY_SESSIONS} AS id")
        )

    def touch(self, zone: str) -> str:
        """Return the statement for one share of one time zone.

        Parameters, besides the scope's and the share's: `run` and `zone`.
        """
        selects = self._selects(
            zone, "site_id, session_id", "site_id, session_id", _SHARE_OF_PAGEVIEWS, _SHARE_OF_SESSIONS
        )
        return (
            f"{_INTO} SELECT DISTINCT {{run:UInt64}}, {{zone:String}}, site_id, day, session_id"  # noqa: S608
            f" FROM ({' UNION ALL '.join(selects)})"
        )

    def _selects(
        self, zone: str, of_pageviews: str, of_sessions: str, where_pageviews: str = "1", where_sessions: str = "1"
    ) -> list[str]:
        """Return the queries for what is due in both tables: the day, and some columns."""
        selects = []
        if self.on_pageviews:
            local = self.local.replace("local_day", _LOCAL_DAY)
            selects.append(
                f"SELECT {_LOCAL_DAY} AS day, {of_pageviews} FROM hitline.pageviews_raw"  # noqa: S608
                f" WHERE {self.on_pageviews} AND {local} AND {where_pageviews} AND {in_zone(zone)}"
            )
        if self.on_days:
            selects.append(
                f"SELECT day, {of_sessions} FROM hitline.session_days_raw"  # noqa: S608
                f" WHERE {self.on_days} AND {where_sessions} AND {in_zone(zone)}"
            )
        return selects


def in_zone(zone: str) -> str:
    """Return the condition that a site's rollups are in the time zone `zone`; a site that has no row is in UTC."""
    if zone == "UTC":
        return f"site_id NOT IN (SELECT site_id FROM {_ZONES})"  # noqa: S608
    return f"site_id IN (SELECT site_id FROM {_ZONES} WHERE timezone = {{zone:String}})"  # noqa: S608


def new(since: datetime, before: datetime) -> Scope:
    """Return the sessions with a pageview stored in `[since, before)`."""
    where = "stored_at >= {since:DateTime64(3, 'UTC')} AND stored_at < {before:DateTime64(3, 'UTC')}"
    return Scope(where, "", {"since": since, "before": before})


def moving() -> Scope:
    """Return all sessions of sites whose time zone is another one than their rollups were computed in."""
    where = "site_id IN (SELECT site_id FROM hitline_control.rollup_zones FINAL WHERE moving)"
    return Scope(where, where)


def days(first: date, last: date) -> Scope:
    """Return all sessions on these days of their sites' calendars, both included."""
    return Scope(
        # A day begins at most 14 hours before and ends at most 12 hours after the day of the same date in UTC.
        "timestamp >= toDateTime64({first:Date} - 1, 3, 'UTC') AND timestamp < toDateTime64({last:Date} + 2, 3, 'UTC')",
        "day BETWEEN {first:Date} AND {last:Date}",
        {"first": first, "last": last},
        "local_day BETWEEN {first:Date} AND {last:Date}",
    )


def erased(erasure_id: UUID) -> Scope:
    """Return the sessions that an erasure takes pageviews from, as far as they are counted."""
    # Three of a session, since a day here is one of three there.
    listed = (
        "SELECT site_id, day + shift AS day, session_id FROM"
        " (SELECT * FROM hitline_control.erased_sessions WHERE erasure_id = {erasure:UUID} AND near)"
        " ARRAY JOIN [-1, 0, 1] AS shift"
    )
    in_share = listed.replace("near", shares.near("day", "reinterpretAsUInt128(session_id)"))
    return Scope(
        "",
        f"(site_id, day, session_id) IN (SELECT * FROM ({in_share}) WHERE {_SHARE_OF_SESSIONS})",  # noqa: S608
        {"erasure": str(erasure_id)},
        estimate=listed.replace("near", "1"),
    )
