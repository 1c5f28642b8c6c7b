"""Which days a report is of: its site's calendar, whatever day it is in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli import report as command
from deploy.cli.support import CommandError
from deploy.report.figures import Period, points
from deploy.report.many import Site


def wanted(first: date | None = None, last: date | None = None, days: int = 30) -> Any:
    return command._Wanted((), first, last, days, 10, False)


@pytest.mark.parametrize(
    ("moment", "zone", "today"),
    [
        ("2026-03-11T09:59:59", "Pacific/Kiritimati", "2026-03-11"),
        ("2026-03-11T10:00:00", "Pacific/Kiritimati", "2026-03-12"),
        ("2026-03-11T10:59:59", "Pacific/Pago_Pago", "2026-03-10"),
        ("2026-03-11T11:00:00", "Pacific/Pago_Pago", "2026-03-11"),
        ("2026-03-11T18:29:59", "Asia/Kolkata", "2026-03-11"),
        ("2026-03-11T18:30:00", "Asia/Kolkata", "2026-03-12"),
        ("2026-03-11T23:59:59", "UTC", "2026-03-11"),
    ],
)
def test_today_is_the_day_on_the_sites_clock(
    monkeypatch: pytest.MonkeyPatch, moment: str, zone: str, today: str
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromisoformat(moment).replace(tzinfo=UTC).astimezone(tz)

    monkeypatch.setattr(command, "datetime", Clock)
    last = date.fromisoformat(today)
    assert wanted().period(zone) == Period(last - timedelta(29), last, zone)
    assert wanted(days=1).period(zone) == Period(last, last, zone)
    assert wanted(first=last).period(zone) == Period(last, last, zone)
    with pytest.raises(CommandError, match="--from must not be after --to"):
        wanted(first=last + timedelta(1)).period(zone)


@pytest.mark.parametrize("names", [(), ("Asia/Kolkata", "UTC", "Pacific/Pago_Pago")], ids=["all", "named"])
async def test_each_of_several_sites_has_the_days_of_its_own_clock(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    zones = ("Asia/Kolkata", "UTC", "Pacific/Pago_Pago")  # which are the sites' names here

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime(2026, 3, 11, 20, tzinfo=UTC).astimezone(tz)

    async def named(_: object, name: str) -> Any:
        return SimpleNamespace(name=name, site_id=name, zone=name)

    async def every(_: object, before: date, first: date, last: date) -> list[Any]:
        assert (before, first, last) == (date(2026, 3, 10), date(2026, 3, 11), date(2026, 3, 11))
        return [SimpleNamespace(site=await named(_, zone), pageviews=1, derives=False) for zone in zones]

    async def collect(_: object, name: str, site_id: str, period: Period, *, with_bots: bool, top: int) -> Any:
        assert (site_id, with_bots, top) == (name, False, 10)
        return name, period

    async def collect_many(_: object, sites: list[Site], *, with_bots: bool, top: int) -> Any:
        for site in sites:
            yield site, await collect(_, site.name, site.name, site.period, with_bots=with_bots, top=top)

    monkeypatch.setattr(command, "datetime", Clock)
    monkeypatch.setattr(command, "report_sites", SimpleNamespace(named=named, every=every))
    monkeypatch.setattr(command, "collect", collect)
    monkeypatch.setattr(command, "collect_many", collect_many)
    nothing: Any = None
    found: list[Any] = [
        each async for each, _ in command._collect(nothing, command._Wanted(names, None, None, 1, 10, False))
    ]
    today = {"Asia/Kolkata": date(2026, 3, 12), "UTC": date(2026, 3, 11), "Pacific/Pago_Pago": date(2026, 3, 11)}
    assert found == [(zone, Period(today[zone], today[zone], zone)) for zone in zones]


def test_given_days_are_taken_as_they_are() -> None:
    first, last = date(2026, 3, 1), date(2026, 3, 8)
    assert wanted(first, last).period("Asia/Tokyo") == Period(first, last, "Asia/Tokyo")
    assert wanted(last=last, days=8).period("Asia/Tokyo") == Period(first, last, "Asia/Tokyo")


@given(
    first=st.dates(date(1990, 1, 2), date(2037, 12, 1)),
    days=st.integers(1, 400),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "Pacific/Kiritimati", "America/St_Johns"]),
)
def test_periods_join_without_gap_or_overlap(first: date, days: int, zone: str) -> None:
    period = Period(first, first + timedelta(days - 1), zone)
    assert period.days == days
    assert period.before().end == period.start
    assert period.before().days == days
    for moment, day in ((period.start, first), (period.end - timedelta(microseconds=1), period.last)):
        assert moment.astimezone(ZoneInfo(zone)).date() == day, "both ends are in it"
    assert (period.start - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() < first


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
    ],
)
def test_days_on_which_the_clock_changes_have_other_lengths(zone: str, day: str, hours: float) -> None:
    period = Period(date.fromisoformat(day), date.fromisoformat(day), zone)
    assert period.end.astimezone(UTC) - period.start.astimezone(UTC) == timedelta(hours=hours)


def test_a_series_has_every_day_or_hour_both_ends_included() -> None:
    two = Period(date(2026, 3, 10), date(2026, 3, 11), "UTC")
    assert two.hourly
    found = points(two, {"2026-03-10 00": (1, 1), "2026-03-11 23": (2, 1)})
    assert (len(found), found[0].pageviews, found[-1].pageviews) == (48, 1, 2)
    three = Period(date(2026, 3, 10), date(2026, 3, 12), "UTC")
    assert not three.hourly
    assert [(point.start.day, point.pageviews) for point in points(three, {"2026-03-12": (5, 1)})] == [
        (10, 0),
        (11, 0),
        (12, 5),
    ]
