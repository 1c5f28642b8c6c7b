"""Numbers and values as people read them."""

from __future__ import annotations

import unicodedata

from deploy.report.figures import Report, Totals

#: Of a total: name, how it is written, and whether more is better (None: neither).
Figure = tuple[str, str, str, bool | None]


def figures(report: Report) -> list[Figure]:
    """Return the totals: name, value, change to the period before, and whether that change is for the better."""
    now, before = report.totals, report.before
    rows = (
        ("Pageviews", f"{now.pageviews:,}", now.pageviews, before.pageviews, True),
        ("Sessions", f"{now.sessions:,}", now.sessions, before.sessions, True),
        ("Pages a session", f"{now.pages_per_session:.2f}", now.pages_per_session, before.pages_per_session, True),
        ("Bounce rate", f"{now.bounce_rate:.1%}", now.bounce_rate, before.bounce_rate, False),
        ("Session length", length(now.seconds), now.seconds, before.seconds, True),
    )
    return [
        (name, text, change(value, earlier), None if value == earlier or not earlier else (value > earlier) == more)
        for name, text, value, earlier, more in rows
    ]


def change(value: float, before: float) -> str:
    """Return the change in percent, such as `+12.5 %`; empty where there was nothing before."""
    if not before:
        return ""
    percent = (value / before - 1) * 100
    return f"{percent:+.1f} %".replace("-", "\u2212")


def length(seconds: float) -> str:
    """Return a duration such as `2 m 05 s` or `3 h 20 m`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} m"
    return f"{whole // 60} m {whole % 60:02} s" if whole >= 60 else f"{whole} s"


def title(report: Report) -> str:
    """Return the site and the period."""
    period = report.period
    days = str(period.first) if period.days == 1 else f"{period.first} to {period.last}"
    return f"{report.site}, {days}"


def subtitle(report: Report) -> str:
    """Return what the figures are of."""
    before = report.period.before()
    who = "people and bots" if report.bots else "without bots"
    return f"days in {report.period.zone}, {who}; compared with {before.first} to {before.last}"


def shown(value: str) -> str:
    """Return a value without what would steer a terminal: visitors choose paths and referrers."""
    return "".join("\ufffd" if _steers(char) else char for char in value)


def _steers(char: str) -> bool:
    # The two joiners steer nothing: Persian words and joined emoji are written with them.
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\u200c\u200d"


def as_dict(totals: Totals) -> dict[str, float]:
    """Return totals for JSON and CSV."""
    return {
        "pageviews": totals.pageviews,
        "sessions": totals.sessions,
        "pages_per_session": totals.pages_per_session,
        "bounce_rate": totals.bounce_rate,
        "seconds": totals.seconds,
    }
