"""A report in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rich.cells import cell_len, chop_cells
from rich.columns import Columns
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.report.figures import Report, Top
from deploy.report.formatting import bots_line, figures, is_right_to_left, notes, shown, subtitle, title
from deploy.report.names import name_of
from deploy.report.rankings import RANKINGS

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
#: Where the locale has no such characters.
_EIGHTHS_IN_ASCII: Final = " ..::||##"
_CHART_ROWS: Final = 8
#: Columns left of the chart, and its frame.
_AXIS: Final = 14
_VALUE_WIDTH: Final = 32


def show(report: Report, console: Console) -> None:
    """Print it, as wide as the console is."""
    ascii_only = console.options.ascii_only
    console.print(Text(shown(title(report)), style="bold"))
    console.print(Text(subtitle(report), style="dim"))
    console.print()
    console.print(_totals(report, ascii_only))
    if not report.now.totals.pageviews:
        console.print(Text("no pageviews in this period"))
    for note in notes(report):
        console.print(Text(note, style="yellow"))
    if report.now.totals.pageviews:
        unit = "hour" if report.period.hourly else "day"
        chart = _chart(report, console.width - _AXIS, _EIGHTHS_IN_ASCII if ascii_only else _EIGHTHS)
        console.print(Panel(chart, title=f"pageviews by {unit}", title_align="left"))
    rankings = [
        _ranking(dimension, ranking.heading, tops, "..." if ascii_only else "…")
        for dimension, ranking in RANKINGS.items()
        if (tops := report.now.tops[dimension]) and (dimension != "hostname" or len(tops) > 1)
    ]
    if rankings:
        console.print(Columns(rankings, padding=(0, 3)))
    if report.now.bots.pageviews:
        console.print(Text(bots_line(report), style="dim"))


def _totals(report: Report, ascii_only: bool) -> Columns:
    cells = []
    for name, text, change, good in figures(report):
        style = "dim" if good is None else "green" if good else "red"
        below = (change.replace("\u2212", "-") if ascii_only else change) or "nothing before"
        cells.append(Panel(Group(Text(text, style="bold"), Text(below, style=style)), title=name))
    return Columns(cells, equal=True)


def _chart(report: Report, width: int, eighths: str) -> Group:
    """Draw the pageviews as columns of `eighths` of a character."""
    series = report.now.series
    points = _narrowed([point.pageviews for point in series], max(10, width))
    highest = max([*points, 1])
    wide = max(1, min(3, width // len(points)))
    lines = []
    for row in range(_CHART_ROWS, 0, -1):
        filled = (min(8, max(0, round(value / highest * _CHART_ROWS * 8) - (row - 1) * 8)) for value in points)
        label = f"{highest:>9,.0f} " if row == _CHART_ROWS else " " * 8 + "0 " if row == 1 else " " * 10
        lines.append(Text(label, style="dim") + Text("".join(eighths[n] * wide for n in filled), style="cyan"))
    form = "%Y-%m-%d %H:00" if report.period.hourly else "%Y-%m-%d"
    first, last = series[0].start.strftime(form), series[-1].start.strftime(form)
    gap = " " * max(1, len(points) * wide - len(first) - len(last))
    return Group(*lines, Text(" " * 10 + f"{first}{gap}{last}", style="dim"))


def _narrowed(values: list[int], width: int) -> list[float]:
    """Return means of neighbours where there are more values than columns."""
    if len(values) <= width:
        return [float(value) for value in values]
    edges = [round(n * len(values) / width) for n in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]


def _ranking(dimension: str, heading: str, tops: Sequence[Top], dots: str) -> Table:
    table = Table(title=Text(heading, style="bold"), title_justify="left", box=None, padding=(0, 1))
    table.add_column("", max_width=_VALUE_WIDTH, no_wrap=True, overflow="crop")
    table.add_column("views", justify="right", style="cyan")
    table.add_column("sessions", justify="right")
    for top in tops:
        value = cut(shown(name_of(dimension, top.value)), _VALUE_WIDTH, dots)
        table.add_row(Text(value), f"{top.pageviews:,}", f"{top.sessions:,}")
    return table


def cut(value: str, width: int, dots: str) -> str:
    """Return a value of at most `width` columns, cut in the middle; at its end where it is written right to left."""
    if cell_len(value) <= width:
        return value
    if is_right_to_left(value):
        return chop_cells(value, width - len(dots))[0] + dots
    end = (width - len(dots)) // 3
    tail = chop_cells(value[::-1][: 4 * end], end)[0][::-1]
    return chop_cells(value, width - len(dots) - end)[0] + dots + tail
