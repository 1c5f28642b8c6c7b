"""Numbers and values as people read them."""

from __future__ import annotations

import unicodedata
from typing import Final

from deploy.report.figures import Report, Totals

#: Of a total: name, how it is written, its change to the period before, and whether that is for the better.
Figure = tuple[str, str, str, bool | None]

#: Sessions in the period before from which on a change says something: of fewer, chance moves a tenth.
FEW_SESSIONS: Final = 100


def figures(report: Report) -> list[Figure]:
    """Return the totals; a change is neither good nor bad where there is little to compare with."""
    now, before = report.now.totals, report.before.totals
    rows = (
        ("Sessions", f"{now.sessions:,}", now.sessions, before.sessions, True),
        ("Pageviews", f"{now.pageviews:,}", now.pageviews, before.pageviews, True),
        ("Pages a session", f"{now.pages_per_session:.2f}", now.pages_per_session, before.pages_per_session, True),
        ("Bounce rate", f"{now.bounce_rate:.1%}", now.bounce_rate, before.bounce_rate, False),
        ("Session length", length(now.seconds), now.seconds, before.seconds, True),
    )
    neutral = bool(comparison_note(report)) or not now.pageviews
    return [
        (name, text, change(value, earlier), None if neutral or value == earlier else (value > earlier) == more)
        for name, text, value, earlier, more in rows
    ]


def change(value: float, before: float) -> str:
    """Return the change in percent, such as `+12.5 %`; empty where there was nothing before."""
    if not before:
        return ""
    percent = (value / before - 1) * 100
    text = f"{percent:+,.0f} %" if abs(percent) >= 1000 else f"{percent:+.1f} %"
    return text.replace("-", "\u2212")


def comparison_note(report: Report) -> str:
    """Return why the changes say nothing or little; empty where the period before is full of data."""
    before = report.before
    if not before.totals.pageviews:
        return "Nothing is stored for the period before, so there is nothing to compare with."
    empty = next(number for number, point in enumerate(before.series) if point.pageviews)
    if empty and empty * 10 >= len(before.series):
        first = before.series[empty].start
        return (
            f"The period before has no data until {first:%Y-%m-%d}{f' {first:%H}:00' if report.period.hourly else ''}:"
            " the changes compare with less than a whole period."
        )
    if before.totals.sessions < FEW_SESSIONS:
        sessions = f"{before.totals.sessions} session{'' if before.totals.sessions == 1 else 's'}"
        return f"The period before has only {sessions}: the changes say little."
    return ""


def notes(report: Report) -> list[str]:
    """Return what a reader has to know about the figures; nothing is said of changes where there is nothing now."""
    found = [comparison_note(report)] if report.now.totals.pageviews else []
    if report.period.end > report.made_at > report.period.start:
        found.append("The last day is not over yet: its figures, and the changes, will grow.")
    return [note for note in found if note]


def bots_line(report: Report) -> str:
    """Return how many bots there were, and whether they are in the figures."""
    bots = report.now.bots
    where = "counted above like people" if report.with_bots else "not counted above"
    return f"{bots.pageviews:,} pageviews of bots in {bots.sessions:,} sessions, {where}"


def length(seconds: float) -> str:
    """Return a duration such as `2 m 05 s` or `3 h 20 m`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600:,} h {whole % 3600 // 60:02} m"
    return f"{whole // 60} m {whole % 60:02} s" if whole >= 60 else f"{whole} s"


def compact(number: int) -> str:
    """Return a round number in few characters, for an axis: `1.5k`, `20M`."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:,.10g}{letter}"
    return str(number)


def days(report: Report) -> str:
    """Return the days of the period."""
    period = report.period
    return str(period.first) if period.days == 1 else f"{period.first} to {period.last}"


def title(report: Report) -> str:
    """Return the site and the period."""
    return f"{report.site}, {days(report)}"


def subtitle(report: Report) -> str:
    """Return what the figures are of."""
    before = report.period.before()
    earlier = str(before.first) if before.days == 1 else f"{before.first} to {before.last}"
    who = "people and bots" if report.with_bots else "without bots"
    return f"days in {report.period.zone}, {who}; compared with {earlier}"


def shown(value: str) -> str:
    """Return a value, as visitors choose them, without what would steer a terminal or the order of a line."""
    return "".join("\ufffd" if _steers(char) else char for char in value)


def _steers(char: str) -> bool:
    # The two joiners steer nothing: Persian words and joined emoji are written with them.
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\u200c\u200d"


def is_right_to_left(value: str) -> bool:
    """Return whether some of it is written from right to left."""
    return any(unicodedata.bidirectional(char) in ("R", "AL") for char in value)


def split_point(value: str, position: int) -> int:
    """Return the place at or before `position` where no character is torn from its marks."""
    while position > 0 and (
        unicodedata.combining(value[position])
        or unicodedata.category(value[position]) in ("Mn", "Me", "Mc")
        or value[position] in "\u200d\ufe0f"
        or value[position - 1] == "\u200d"
    ):
        position -= 1
    return position


def as_dict(totals: Totals) -> dict[str, float]:
    """Return totals for JSON and CSV."""
    return {
        "pageviews": totals.pageviews,
        "sessions": totals.sessions,
        "pages_per_session": totals.pages_per_session,
        "bounce_rate": totals.bounce_rate,
        "seconds": totals.seconds,
    }
