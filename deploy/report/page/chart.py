"""The time series as SVG, drawn by hand: a file that opens anywhere needs no library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Final

from deploy.report.figures import Period, Point
from deploy.report.formatting import compact

_TOP: Final = 16
_BOTTOM: Final = 28
_TIP_WIDTH: Final = 168
_TIP_HEIGHT: Final = 58
#: Above this many points the months are labelled, not days.
_DAYS_LABELLED: Final = 92
#: Above this many days lines are means of a week: days would be a band of ups and downs.
SMOOTHED: Final = 120


@dataclass(frozen=True, slots=True)
class Size:
    """In pixels at the width at which it is shown, so that text is as large as on the rest of the page."""

    name: str
    width: int
    height: int
    left: int
    right: int
    most_labels: int


WIDE: Final = Size("wide", 980, 300, 48, 16, 11)
NARROW: Final = Size("narrow", 340, 230, 40, 10, 4)


def draw(series: Sequence[Point], before: Sequence[Point], period: Period, label: str) -> str:
    """Return the chart for wide and for narrow pages: pageviews, those of the period before (dashed), and sessions.

    The page's style shows one of both.  `label` is what it says to who can't see it.
    """
    return "\n".join(_Chart(size, series, before, period).draw(label) for size in (WIDE, NARROW))


def nice(highest: int) -> int:
    """Return the next number up that divides into four round steps."""
    step = 1
    while True:
        for factor in (4, 8, 12, 20, 24, 32):
            if factor * step >= highest:
                return factor * step
        step *= 10


class _Chart:
    def __init__(self, size: Size, series: Sequence[Point], before: Sequence[Point], period: Period) -> None:
        self._size = size
        self._series, self._before, self._period = series, before, period
        self._views = _drawn([point.pageviews for point in series])
        self._views_before = _drawn([point.pageviews for point in before])
        self._sessions = _drawn([point.sessions for point in series])
        self._highest = nice(ceil(max(*self._views, *self._views_before, 0)))

    def draw(self, label: str) -> str:
        size, bottom = self._size, self._y(0)
        views = self._line(self._views)
        last = self._x(len(self._series) - 1)
        parts = [
            f'<svg class="{size.name}" viewBox="0 0 {size.width} {size.height}" role="img" aria-label="{label}">',
            *self._grid(),
            *self._dates(),
            f'<path class="area" d="{views} L{last:.1f} {bottom:.1f} L{self._x(0):.1f} {bottom:.1f} Z"/>',
            *self._line_before(),
            f'<path class="line views" d="{views}"/>',
            f'<path class="line sessions" d="{self._line(self._sessions)}"/>',
            *(self._point(number) for number in range(len(self._series))),
            "</svg>",
        ]
        return "\n".join(parts)

    def _line_before(self) -> Iterator[str]:
        if any(self._views_before):
            yield f'<path class="line before" d="{self._line(self._views_before)}"/>'

    def _x(self, number: int) -> float:
        inner = self._size.width - self._size.left - self._size.right
        return self._size.left + inner * number / max(1, len(self._series) - 1)

    def _y(self, value: float) -> float:
        return _TOP + (self._size.height - _TOP - _BOTTOM) * (1 - value / self._highest)

    def _line(self, values: Sequence[float]) -> str:
        return "M" + " L".join(f"{self._x(number):.1f} {self._y(value):.1f}" for number, value in enumerate(values))

    def _grid(self) -> Iterator[str]:
        left, right = self._size.left, self._size.width - self._size.right
        for quarter in range(5):
            value = self._highest * quarter // 4
            y = self._y(value)
            yield f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text class="axis end" x="{left - 8}" y="{y + 4:.1f}">{compact(value)}</text>'

    def _dates(self) -> Iterator[str]:
        y = self._size.height - 8
        for number, text in _labels(self._series, self._period, self._size.most_labels):
            x = self._x(number)
            if x > self._size.width - self._size.right - 18:
                yield f'<text class="axis end" x="{self._size.width - 2}" y="{y}">{text}</text>'
            else:
                yield f'<text class="axis middle" x="{x:.1f}" y="{y}">{text}</text>'

    def _point(self, number: int) -> str:
        """Return a stripe that a pointer can rest on, with what is shown then."""
        point, size = self._series[number], self._size
        x, step = self._x(number), self._x(1) - self._x(0)
        tip = min(max(x - _TIP_WIDTH / 2, 2), size.width - _TIP_WIDTH - 2)
        lines = (
            ("when", f"{when(point, self._period)}"),
            ("of-views", f"{point.pageviews:,} pageviews"),
            ("of-sessions", f"{point.sessions:,} sessions"),
        )
        text = "".join(
            f'<text class="{kind}" x="{tip + 10:.1f}" y="{_TOP + 17 + 16 * row}">{line}</text>'
            for row, (kind, line) in enumerate(lines)
        )
        return (
            f'<g class="point"><rect x="{x - step / 2:.1f}" y="{_TOP}" width="{step:.1f}"'
            f' height="{size.height - _TOP - _BOTTOM}"/><g class="tip">'
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{self._y(0):.1f}"/>'
            f'<circle class="dot-views" cx="{x:.1f}" cy="{self._y(self._views[number]):.1f}" r="4"/>'
            f'<circle class="dot-sessions" cx="{x:.1f}" cy="{self._y(self._sessions[number]):.1f}" r="4"/>'
            f'<rect class="box" x="{tip:.1f}" y="{_TOP}" width="{_TIP_WIDTH}" height="{_TIP_HEIGHT}" rx="6"/>'
            f"{text}</g></g>"
        )


def _drawn(values: Sequence[int]) -> list[float]:
    """Return the heights of a line: the values, or of many the means of the days up to three before and after."""
    if len(values) <= SMOOTHED:
        return [float(value) for value in values]
    weeks = (values[max(0, number - 3) : number + 4] for number in range(len(values)))
    return [sum(week) / len(week) for week in weeks]


def when(point: Point, period: Period) -> str:
    """Return the day or hour of a point as people write it."""
    return point.start.strftime("%a %d %b %Y, %H:00" if period.hourly else "%a %d %b %Y")


def _labels(series: Sequence[Point], period: Period, most: int) -> list[tuple[int, str]]:
    """Return which points are labelled, and how: hours, days, or the beginnings of months; at most `most`."""
    if period.hourly:
        form = "%H:00" if period.days == 1 else "%a %H:00"
        return [(number, series[number].start.strftime(form)) for number in _spread(range(len(series)), most)]
    if len(series) <= _DAYS_LABELLED:
        return [(number, series[number].start.strftime("%-d %b")) for number in _spread(range(len(series)), most)]
    firsts = [number for number, point in enumerate(series) if point.start.day == 1]
    if len(firsts) > 12 * most:  # many years
        firsts = [number for number in firsts if series[number].start.month == 1]
    chosen = _spread(firsts, most)
    years = [None, *(series[number].start.year for number in chosen)]
    return [
        (number, series[number].start.strftime("%b %Y" if earlier != year else "%b"))
        for number, (earlier, year) in zip(chosen, pairwise(years), strict=True)
    ]


def _spread(numbers: Sequence[int], most: int) -> list[int]:
    """Return every n-th."""
    step = -(-len(numbers) // most)
    for round_step in (1, 2, 3, 4, 6, 7, 12, 14):
        if step <= round_step:
            step = round_step
            break
    return list(numbers[::step])
