"""The time series as SVG, drawn by hand: a file that opens anywhere needs no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from deploy.report.figures import Point

WIDTH: Final = 960
HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 14, 30
#: Most labels on the horizontal axis.
_LABELS: Final = 10


def draw(series: Sequence[Point], before: Sequence[Point], *, hourly: bool) -> str:
    """Return an SVG element: pageviews as an area, sessions as a line, the period before as a dashed one."""
    highest = nice(max([point.pageviews for point in (*series, *before)] + [1]))
    views = [point.pageviews for point in series]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Pageviews and sessions over time">',
        *_grid(highest),
        *_dates(series, hourly),
        f'<path class="area" d="{_line(views, highest)} L{_x(len(views) - 1, len(views)):.1f} {_y(0, highest):.1f}'
        f' L{_x(0, len(views)):.1f} {_y(0, highest):.1f} Z"/>',
        f'<path class="before" d="{_line([point.pageviews for point in before], highest)}"/>',
        f'<path class="views" d="{_line(views, highest)}"/>',
        f'<path class="sessions" d="{_line([point.sessions for point in series], highest)}"/>',
        *_dots(series, highest, hourly),
        "</svg>",
    ]
    return "\n".join(parts)


def nice(highest: int) -> int:
    """Return the next number up that divides into four round steps."""
    step = 1
    while True:
        for factor in (4, 8, 12, 20, 24, 32):
            if factor * step >= highest:
                return factor * step
        step *= 10


def _x(number: int, count: int) -> float:
    inner = WIDTH - _LEFT - _RIGHT
    return _LEFT + (inner / 2 if count < 2 else inner * number / (count - 1))


def _y(value: float, highest: int) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - value / highest)


def _line(values: Sequence[int], highest: int) -> str:
    points = [f"{_x(number, len(values)):.1f} {_y(value, highest):.1f}" for number, value in enumerate(values)]
    if len(points) == 1:  # a dot would not be seen
        points = [f"{_LEFT} {points[0].split()[1]}", f"{WIDTH - _RIGHT} {points[0].split()[1]}"]
    return "M" + " L".join(points)


def _grid(highest: int) -> list[str]:
    lines = []
    for quarter in range(5):
        value = highest * quarter // 4
        y = _y(value, highest)
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="axis" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>')
    return lines


def _dates(series: Sequence[Point], hourly: bool) -> list[str]:
    step = -(-len(series) // _LABELS)
    texts = []
    for number in range(0, len(series), step):
        kind = "axis" if number // step % 2 == 0 else "axis second"  # left out where the page is narrow
        label = series[number].start.strftime("%H:00" if hourly else "%d %b" if len(series) < 400 else "%b %Y")
        anchor = "end" if number == len(series) - 1 and number else "middle"
        x = _x(number, len(series))
        texts.append(f'<text class="{kind}" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{label}</text>')
    return texts


def _dots(series: Sequence[Point], highest: int, hourly: bool) -> list[str]:
    """Return what a pointer can rest on: an invisible stripe a point, with its numbers."""
    wide = (WIDTH - _LEFT - _RIGHT) / max(1, len(series) - 1)
    return [
        f'<g class="point"><rect x="{_x(number, len(series)) - wide / 2:.1f}" y="{_TOP}" width="{wide:.1f}"'
        f' height="{HEIGHT - _TOP - _BOTTOM}"/><circle cx="{_x(number, len(series)):.1f}"'
        f' cy="{_y(point.pageviews, highest):.1f}" r="3.5"/><title>{escape(_when(point, hourly))}:'
        f" {point.pageviews:,} pageviews, {point.sessions:,} sessions</title></g>"
        for number, point in enumerate(series)
    ]


def _when(point: Point, hourly: bool) -> str:
    return point.start.strftime("%d %b %H:00" if hourly else "%d %b %Y")
