"""Reports as JSON and as CSV: everything that there is, with values as they are stored and their names beside them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from deploy.report.figures import Counted, Period, Point, Report
from deploy.report.formatting import as_dict, comparison_note, shown
from deploy.report.names import name_of
from deploy.report.rankings import RANKINGS

#: A formula's first character behind what some spreadsheet takes for a separator.
_FORMULA: Final = re.compile(r"([;,|\t]\s*)([=+\-@])")
_COLUMNS: Final = (
    "site", "section", "value", "name", "pageviews", "sessions", "pages_per_session", "bounce_rate", "seconds",
)  # fmt: skip


def to_json(report: Report) -> dict[str, Any]:
    """Return everything, for `json.dumps`; `name` only where a value is called something else."""
    period, before = report.period, report.period.before()
    return {
        "site": report.site,
        "from": str(period.first),
        "to": str(period.last),
        "timezone": period.zone,
        "with_bots": report.with_bots,
        "made_at": report.made_at.isoformat(timespec="seconds"),
        "totals": as_dict(report.now.totals),
        "bots": as_dict(report.now.bots),
        "series": _series(period, report.now),
        "before": {
            "from": str(before.first),
            "to": str(before.last),
            "note": comparison_note(report),
            "totals": as_dict(report.before.totals),
            "bots": as_dict(report.before.bots),
            "series": _series(before, report.before),
        },
        "top": {ranking.key: _top(report, dimension) for dimension, ranking in RANKINGS.items()},
    }


def _series(period: Period, counted: Counted) -> list[dict[str, Any]]:
    return [
        {"start": start(period, point), "pageviews": point.pageviews, "sessions": point.sessions}
        for point in counted.series
    ]


def _top(report: Report, dimension: str) -> list[dict[str, Any]]:
    found = []
    for top in report.now.tops[dimension]:
        line: dict[str, Any] = {"value": top.value}
        if (name := name_of(dimension, top.value)) != top.value:
            line["name"] = name
        found.append({**line, "pageviews": top.pageviews, "sessions": top.sessions})
    return found


def csv_head() -> str:
    """Return the first line of a CSV table of sites."""
    return _lines([_COLUMNS])


def to_csv(report: Report) -> str:
    """Return the lines of a site."""
    return _lines([cell(report.site), *row] for row in _rows(report))


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _rows(report: Report) -> Iterator[list[Any]]:
    periods = (("", report.period, report.now), ("_before", report.period.before(), report.before))
    for suffix, period, counted in periods:
        for name, totals in (("total", counted.totals), ("bots_total", counted.bots)):
            yield [f"{name}{suffix}", f"{period.first} to {period.last}", "", *as_dict(totals).values()]
    for suffix, period, counted in periods:
        for point in counted.series:
            yield [f"series{suffix}", start(period, point), "", point.pageviews, point.sessions, "", "", ""]
    for dimension, ranking in RANKINGS.items():
        for top in report.now.tops[dimension]:
            name = name_of(dimension, top.value)
            names = [cell(top.value), cell(name) if name != top.value else ""]
            yield [ranking.key, *names, top.pageviews, top.sessions, "", "", ""]


def start(period: Period, point: Point) -> str:
    """Return when a point begins, on the site's clock."""
    return point.start.strftime("%Y-%m-%d %H:00" if period.hourly else "%Y-%m-%d")


def cell(value: str) -> str:
    """Return a value that no spreadsheet takes for a formula (OWASP, "CSV Injection"): visitors choose it.

    Where the decimal point is a comma, spreadsheets split at `;` instead, and a formula may begin behind one.
    """
    value = _FORMULA.sub(r"\1'\2", shown(value))
    return f"'{value}" if value[:1] in ("=", "+", "-", "@") else value
