"""Plots of a run, as PNG and SVG, drawn with matplotlib."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.cost import KINDS, PARTS
from tests.bench.results import Run
from tests.bench.table import Row

#: Colours that are told apart by people who see fewer of them (Okabe and Ito).
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_MET, _MISSED = COLOURS[2], COLOURS[5]
_HANDLERS: Final = ("bare aiohttp", "publishing nothing", "Hitline", "a publish a request")


def draw(run: Run, directory: Path) -> list[Path]:
    """Draw every plot that the run has rows for; returns the SVG files, each of which has a PNG beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = {row.what: row for row in run.rows}
    drawn = []
    for name, plot in (("throughput", _throughput), ("cost", _cost), ("demands", _demands)):
        if (figure := plot(rows)) is not None:
            drawn.append(save(figure, directory / name))
    return drawn


def new(width: float, height: float, **more: Any) -> tuple[Any, Any]:
    """Return a figure and its axes; nothing is shown."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    matplotlib.rcParams |= {"svg.hashsalt": "hitline", "svg.fonttype": "none", "font.family": "sans-serif"}
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained", **more)


def save(figure: Any, path: Path) -> Path:
    """Save a figure beside `path` as .png and .svg; returns the latter."""
    from matplotlib import pyplot

    file = path.with_suffix(".svg")
    figure.savefig(file, metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=110)
    pyplot.close(figure)
    return file


def _throughput(rows: dict[str, Row]) -> Any:
    """Single posts a second of each handler, with the range of the rounds."""
    names = [f"single endpoint, {connections} connections, {what}" for connections in (64, 256) for what in _HANDLERS]
    if not set(names) <= rows.keys():
        return None
    figure, axes = new(7.5, 3.4)
    for at, name in enumerate(reversed(names)):
        row = rows[name]
        colour = COLOURS[_HANDLERS.index(name.rpartition(", ")[2])]
        axes.barh(at, row.median, color=colour, xerr=_range([row]), capsize=3)
        axes.annotate(f"{row.median:,.0f}", (row.median, at), (6, 3), textcoords="offset points", fontsize=8)
    axes.set_yticks(range(len(names)), [name.removeprefix("single endpoint, ") for name in reversed(names)])
    axes.set_xlabel("single posts answered a second: median, and the range of the rounds")
    return figure


def _cost(rows: dict[str, Row]) -> Any:
    """CPU seconds a million pageviews by process."""
    found = {kind: [rows.get(f"CPU s a million pageviews, {kind}, {part}") for part in PARTS] for kind in KINDS}
    if any(row is None for each in found.values() for row in each):
        return None
    figure, axes = new(7.5, 2.2)
    kinds = list(found)
    left = [0.0] * len(kinds)
    for part, colour in zip(PARTS, COLOURS, strict=False):
        values = [found[kind][PARTS.index(part)].median for kind in kinds]
        bars = axes.barh(kinds, values, left=left, label=part, color=colour)
        widest = max(map(sum, ([row.median for row in each] for each in found.values())))
        labels = [f"{value:.0f}" if value > widest / 25 else "" for value in values]
        axes.bar_label(bars, labels, label_type="center", fontsize=8, color="white")
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds a million pageviews")
    axes.legend(ncols=len(PARTS), loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return figure


#: How many times better than demanded the plot goes.
_FARTHEST: Final = 64


def _demands(rows: dict[str, Row]) -> Any:
    """Each demand, as what was measured of what should be reached; right of the line it is met."""
    demands = [row for row in rows.values() if row.reach is not None]
    if not demands:
        return None
    figure, axes = new(8.5, 0.6 + 0.27 * len(demands))
    axes.set_xscale("log", base=2)
    for at, row in enumerate(reversed(demands)):
        reach = row.reach or 1.0
        # Nothing at all, of a demand that is a most, is infinitely better: it is drawn at the edge.
        values = [max(value, reach / _FARTHEST) if row.at_most else value for value in row.values]
        spare = [reach / value if row.at_most else value / reach for value in values if value] or [1 / _FARTHEST]
        colour = _MET if row.met else _MISSED
        axes.plot([min(spare), max(spare)], [at, at], color=colour, linewidth=2, alpha=0.5)
        axes.plot(statistics.median(spare), at, "o", color=colour)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_ylim(-0.6, len(demands) - 0.4)
    axes.set_yticks(range(len(demands)), [f"{row.what} ({row.demand})" for row in reversed(demands)], fontsize=7.5)
    ticks = (0.5, 1, 2, 4, 8)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("times what is demanded: 1 is just met, 2 is twice as good")
    return figure


def _range(rows: Sequence[Row]) -> list[list[float]]:
    return [
        [row.median - min(row.values) for row in rows],
        [max(row.values) - row.median for row in rows],
    ]
