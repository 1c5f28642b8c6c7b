"""What a report holds: a site's figures in a period, and in the period before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

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
    def hourly(self) -> bool:
        """Whether its series has a point an hour, not a day."""
        return self.days <= _HOURLY_UP_TO_DAYS

    @property
    def start(self) -> datetime:
        """When its first day begins."""
        return midnight(self.first, self.zone)

    @property
    def end(self) -> datetime:
        """When its last day has ended."""
        return midnight(self.last + timedelta(1), self.zone)

    def before(self) -> Period:
        """Return the period of as many days that ends where this one begins."""
        return Period(self.first - timedelta(self.days), self.first - timedelta(1), self.zone)


@dataclass(frozen=True, slots=True)
class Totals:
    """`bounce_rate` is a share of the sessions; `seconds` is a session's mean length."""

    pageviews: int = 0
    sessions: int = 0
    pages_per_session: float = 0.0
    bounce_rate: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """A day, or an hour of it, of the site's clock."""

    start: datetime
    pageviews: int = 0
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class Top:
    """One line of a ranking."""

    value: str
    pageviews: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Counted:
    """One period's numbers; `tops` by the dimension of rollups that they rank."""

    totals: Totals
    bots: Totals
    series: tuple[Point, ...]
    tops: Mapping[str, tuple[Top, ...]]


@dataclass(frozen=True, slots=True)
class Report:
    """All that is shown of a site in a period; `with_bots`: bots are counted like people."""

    site: str
    period: Period
    with_bots: bool
    made_at: datetime
    now: Counted
    before: Counted


def points(period: Period, found: Mapping[str, tuple[int, int]]) -> tuple[Point, ...]:
    """Return a point for each day or hour, also for those without a pageview.

    `found`: pageviews and sessions by `2026-03-11`, or by `2026-03-11 23` for hours.
    """
    hours = range(24) if period.hourly else (0,)
    form = "%Y-%m-%d %H" if period.hourly else "%Y-%m-%d"
    starts = (
        datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
        for day in (period.first + timedelta(number) for number in range(period.days))
        for hour in hours
    )
    return tuple(Point(start, *found.get(start.strftime(form), (0, 0))) for start in starts)


def midnight(day: date, zone: str) -> datetime:
    """Return the first moment of a day, also where summer time begins at midnight."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
