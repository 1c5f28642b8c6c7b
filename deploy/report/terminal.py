"""A report in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rich.columns import Columns
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.report.figures import Point, Report, Top
from deploy.report.formatting import figures, shown, subtitle, title

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
#: Where the locale has no such characters.
_EIGHTHS_IN_ASCII: Final = " ..::||##"
_CHART_ROWS: Final = 8
_VALUE_WIDTH: Final = 34


def show(report: Report, console: Console) -> None:
    """Print it, as wide as the console is."""
    console.print(Text(title(report), style="bold"))
    console.print(Text(subtitle(report), style="dim"))
    console.print()
    console.print(_totals(report, console.options.ascii_only))
    if not report.totals.pageviews:
        console.print(Text("no pageviews in this period"))
        return
    unit = "hour" if report.hourly else "day"
    eighths = _EIGHTHS_IN_ASCII if console.options.ascii_only else _EIGHTHS
    chart = _chart(report.series, console.width - 14, eighths)
    console.print(Panel(chart, title=f"pageviews a {unit}", title_align="left"))
    console.print(Columns([_ranking(heading, tops) for heading, tops in report.tops.items() if tops], padding=(0, 3)))


def _totals(report: Report, ascii_only: bool) -> Columns:
    cells = []
    for name, text, change, good in figures(report):
        style = "dim" if good is None else "green" if good else "red"
        below = (change.replace("\u2212", "-") if ascii_only else change) or "nothing before"
        cells.append(Panel(Group(Text(text, style="bold"), Text(below, style=style)), title=name))
    return Columns(cells, equal=True)


def _chart(series: Sequence[Point], width: int, eighths: str) -> Group:
    """Draw the pageviews as columns of `eighths` of a character."""
    points = _narrowed([point.pageviews for point in series], max(10, width))
    highest = max([*points, 1])
    wide = max(1, min(3, width // len(points)))
    lines = []
    for row in range(_CHART_ROWS, 0, -1):
        filled = (min(8, max(0, round(value / highest * _CHART_ROWS * 8) - (row - 1) * 8)) for value in points)
        label = f"{highest:>9,.0f} " if row == _CHART_ROWS else " " * 8 + "0 " if row == 1 else " " * 10
        lines.append(Text(label, style="dim") + Text("".join(eighths[n] * wide for n in filled), style="cyan"))
    first, last = series[0].start, series[-1].start
    gap = " " * max(1, len(points) * wide - 20)
    return Group(*lines, Text(" " * 10 + f"{first:%Y-%m-%d}{gap}{last:%Y-%m-%d}", style="dim"))


def _narrowed(values: list[int], width: int) -> list[float]:
    """Return means of neighbours where there are more values than columns."""
    if len(values) <= width:
        return [float(value) for value in values]
    edges = [round(n * len(values) / width) for n in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]


def _ranking(heading: str, tops: Sequence[Top]) -> Table:
    table = Table(title=Text(heading, style="bold"), title_justify="left", box=None, padding=(0, 1))
    table.add_column("", max_width=_VALUE_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("views", justify="right", style="cyan")
    table.add_column("sessions", justify="right")
    for top in tops:
        table.add_row(Text(shown(top.value)), f"{top.pageviews:,}", f"{top.sessions:,}")
    return table
