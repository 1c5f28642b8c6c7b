"""What statements answer, as figures of a period."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from deploy.report.figures import Counted, Period, Top, Totals, points
from deploy.report.kinds import BOTS, SERIES, TOTALS
from deploy.report.rankings import RANKINGS

#: (kind, value, pageviews, sessions, bounces, milliseconds).
Row = Sequence[Any]
#: Kinds that are asked of the period before, and of the period itself.
OF_BEFORE: Final = (TOTALS, BOTS, SERIES)
ALL: Final = (*OF_BEFORE, *RANKINGS)


def counted(period: Period, rows: Iterable[Row]) -> Counted:
    """Return the figures of a period; what `rows` do not have is 0 or empty."""
    by_kind: dict[str, list[Row]] = {}
    for kind, *row in rows:
        by_kind.setdefault(kind, []).append(row)
    return Counted(
        _totals(by_kind.get(TOTALS, ())),
        _totals(by_kind.get(BOTS, ())),
        points(period, {value: (pageviews, sessions) for value, pageviews, sessions, *_ in by_kind.get(SERIES, ())}),
        {kind: tuple(Top(*row[:3]) for row in by_kind.get(kind, ())) for kind in RANKINGS},
    )


def _totals(rows: Iterable[Row]) -> Totals:
    for _, pageviews, sessions, bounces, milliseconds in rows:
        return Totals(pageviews, sessions, pageviews / sessions, bounces / sessions, milliseconds / 1000 / sessions)
    return Totals()
