"""The figures of a report, from exact pageviews: they are what the same SQL says at this moment.

A session belongs to a period with the pageviews that it has in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from deploy.rollups.dimensions import quoted
from shared.clickhouse import ClickHouse

#: What is ranked: heading, SQL of the value, and the condition for it to count.
TOPS: Final[Mapping[str, tuple[str, str]]] = {
    "Pages": ("path", "1"),
    "Entry pages": ("entry_page", "1"),
    "Referrers": ("referrer_host", "referrer_host NOT IN ('', hostname)"),
    "Campaigns": ("if(utm_campaign = '', utm_source, utm_campaign)", "utm_campaign != '' OR utm_source != ''"),
    "Countries": ("country", "country != ''"),
    "Devices": ("device", "device != ''"),
    "Browsers": ("browser", "browser != ''"),
    "Systems": ("os", "os != ''"),
}
_HOURLY_UP_TO_DAYS: Final = 2


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days of the site's calendar, both included."""

    first: date
    last: date
    zone: str

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1

    @property
    def start(self) -> datetime:
        """When its first day begins."""
        return _midnight(self.first, self.zone)

    @property
    def end(self) -> datetime:
        """When its last day has ended."""
        return _midnight(self.last + timedelta(1), self.zone)

    def before(self) -> Period:
        """Return the period of as many days that ends where this one begins."""
        return Period(self.first - timedelta(self.days), self.first - timedelta(1), self.zone)


@dataclass(frozen=True, slots=True)
class Totals:
    """`bounce_rate` is a share of the sessions; `seconds` is a session's mean length."""

    pageviews: int
    sessions: int
    pages_per_session: float
    bounce_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Point:
    """A day, or an hour of it, of the site's clock."""

    start: datetime
    pageviews: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Top:
    """One line of a ranking."""

    value: str
    pageviews: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that is shown of a site in a period."""

    site: str
    period: Period
    bots: bool
    made_at: datetime
    totals: Totals
    before: Totals
    series: tuple[Point, ...]
    series_before: tuple[Point, ...]
    tops: Mapping[str, tuple[Top, ...]]

    @property
    def hourly(self) -> bool:
        """Whether the series has a point an hour, not a day."""
        return self.period.days <= _HOURLY_UP_TO_DAYS


async def collect(clickhouse: ClickHouse, site: str, site_id: UUID, period: Period, *, bots: bool, top: int) -> Report:
    """Ask ClickHouse for everything; `top` is the length of the rankings."""
    asked = _Asked(clickhouse, site_id, bots)
    before = period.before()
    return Report(
        site,
        period,
        bots,
        datetime.now(UTC),
        await asked.totals(period),
        await asked.totals(before),
        await asked.series(period),
        await asked.series(before),
        {heading: await asked.top(period, *what, top) for heading, what in TOPS.items()},
    )


class _Asked:
    """Asks about one site."""

    def __init__(self, clickhouse: ClickHouse, site_id: UUID, bots: bool) -> None:
        self._clickhouse = clickhouse
        self._site_id = site_id
        # A bot's and a person's pageviews under one id are two sessions, as in `totals`.
        self._sessions = "uniqExact(session_id, is_bot)" if bots else "uniqExact(session_id)"
        self._where = (
            "site_id = {site:UUID} AND timestamp >= {start:DateTime64(3, 'UTC')}"
            " AND timestamp < {end:DateTime64(3, 'UTC')}" + ("" if bots else " AND NOT is_bot")
        )

    async def totals(self, period: Period) -> Totals:
        rows = await self._rows(
            "SELECT sum(pages), count(), countIf(pages = 1), avg(length_s) FROM (SELECT count() AS pages,"  # noqa: S608
            " dateDiff('millisecond', min(timestamp), max(timestamp)) / 1000 AS length_s"
            f" FROM hitline.pageviews WHERE {self._where} GROUP BY session_id, is_bot)",
            period,
        )
        pageviews, sessions, bounces, seconds = rows[0]
        if not sessions:
            return Totals(0, 0, 0.0, 0.0, 0.0)
        return Totals(pageviews, sessions, pageviews / sessions, bounces / sessions, seconds)

    async def series(self, period: Period) -> tuple[Point, ...]:
        """Return a point for each day or hour, also for those without a pageview."""
        hourly = period.days <= _HOURLY_UP_TO_DAYS
        zone = quoted(period.zone)
        hour = f"toHour(timestamp, {zone})" if hourly else "0"
        rows = await self._rows(
            f"SELECT toString(toDate(timestamp, {zone})) AS day, {hour} AS h,"  # noqa: S608 - quoted
            f" count(), {self._sessions} FROM hitline.pageviews WHERE {self._where} GROUP BY day, h",
            period,
        )
        found = {(day, hour): numbers for day, hour, *numbers in rows}
        days = [period.first + timedelta(number) for number in range(period.days)]
        return tuple(
            Point(datetime(day.year, day.month, day.day, hour, tzinfo=UTC), *found.get((str(day), hour), (0, 0)))
            for day in days
            for hour in (range(24) if hourly else (0,))
        )

    async def top(self, period: Period, value: str, condition: str, length: int) -> tuple[Top, ...]:
        source = f"hitline.pageviews WHERE {self._where}"
        if value == "entry_page":
            source = (
                "(SELECT session_id, is_bot, path, argMin(path, (timestamp, toUInt128(page_id))) OVER"  # noqa: S608
                f" (PARTITION BY session_id, is_bot) AS entry_page FROM {source}) WHERE 1"
            )
        rows = await self._rows(
            f"SELECT {value} AS value, count() AS pageviews, {self._sessions} AS sessions FROM {source}"  # noqa: S608
            f" AND ({condition}) GROUP BY value ORDER BY pageviews DESC, value LIMIT {length:d}",
            period,
        )
        return tuple(Top(*row) for row in rows)

    async def _rows(self, sql: str, period: Period) -> list[Any]:
        parameters = {"site": str(self._site_id), "start": period.start, "end": period.end}
        return list((await self._clickhouse.query(sql, parameters)).result_rows)


def _midnight(day: date, zone: str) -> datetime:
    """Return the first moment of a day, also where summer time begins at midnight."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
