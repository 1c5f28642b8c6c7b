"""A report as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import re
from typing import Any, Final

from deploy.report.figures import Point, Report
from deploy.report.formatting import as_dict, shown

#: A formula's first character behind what some spreadsheet takes for a separator.
_FORMULA: Final = re.compile(r"([;,|\t]\s*)([=+\-@])")


def to_json(report: Report) -> dict[str, Any]:
    """Return everything, for `json.dumps`."""
    return {
        "site": report.site,
        "from": str(report.period.first),
        "to": str(report.period.last),
        "timezone": report.period.zone,
        "bots": report.bots,
        "made_at": report.made_at.isoformat(timespec="seconds"),
        "totals": as_dict(report.totals),
        "before": as_dict(report.before),
        "series": [
            {"start": _start(report, point), "pageviews": point.pageviews, "sessions": point.sessions}
            for point in report.series
        ],
        "top": {
            heading.lower().replace(" ", "_"): [
                {"value": top.value, "pageviews": top.pageviews, "sessions": top.sessions} for top in tops
            ]
            for heading, tops in report.tops.items()
        },
    }


def to_csv(report: Report) -> str:
    """Return one table: section, value, pageviews, sessions."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["section", "value", "pageviews", "sessions"])
    writer.writerow(["total", "period", report.totals.pageviews, report.totals.sessions])
    writer.writerow(["total", "before", report.before.pageviews, report.before.sessions])
    for point in report.series:
        writer.writerow(["series", _start(report, point), point.pageviews, point.sessions])
    for heading, tops in report.tops.items():
        for top in tops:
            writer.writerow([heading.lower().replace(" ", "_"), _cell(top.value), top.pageviews, top.sessions])
    return out.getvalue()


def _start(report: Report, point: Point) -> str:
    return point.start.strftime("%Y-%m-%d %H:00" if report.hourly else "%Y-%m-%d")


def _cell(value: str) -> str:
    """Return a value that no spreadsheet takes for a formula (OWASP, "CSV Injection"): visitors choose it.

    Where the decimal point is a comma, spreadsheets split at `;` instead, and a formula may begin behind one.
    """
    value = _FORMULA.sub(r"\1'\2", shown(value))
    return f"'{value}" if value[:1] in ("=", "+", "-", "@") else value
