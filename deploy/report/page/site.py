"""What is shown of one site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from deploy.report.figures import Report, Top
from deploy.report.formatting import bots_line, days, figures, notes, subtitle
from deploy.report.formatting import shown as visible
from deploy.report.names import name_of
from deploy.report.page import cells, chart
from deploy.report.rankings import RANKINGS, SECOND_COLUMN


def render(report: Report, anchor: str, level: int) -> str:
    """Return the section of a site; `level`: that of its heading, `anchor`: its id."""
    site = escape(visible(report.site))
    body = _filled(report, anchor, level + 1) if report.now.totals.pageviews or report.now.bots.pageviews else _empty()
    return f"""<section class="site" id="{anchor}" aria-labelledby="{anchor}-name">
<header>
<h{level} id="{anchor}-name">{site}</h{level}>
<p class="days">{escape(days(report))}</p>
<p class="sub">{escape(subtitle(report))}</p>
</header>
{body}
</section>
"""


def _empty() -> str:
    return '<p class="card empty">There were no pageviews in this period.</p>'


def _filled(report: Report, anchor: str, level: int) -> str:
    lines = "".join(f"<p>{escape(note)}</p>" for note in notes(report))
    shown = [dimension for dimension in RANKINGS if _is_telling(dimension, report.now.tops[dimension])]
    second = next((dimension for dimension in shown if dimension in SECOND_COLUMN), "device")
    cards = "".join(
        _ranking(
            f"{anchor}-{RANKINGS[dimension].key}",
            dimension,
            report,
            level,
            kind="second" if dimension == second else "",
        )
        for dimension in shown
    )
    bots = f'<p class="bots">{escape(bots_line(report))}.</p>' if report.now.bots.pageviews else ""
    return f"""<dl class="totals">{_totals(report)}</dl>
{f'<div class="notes" role="note">{lines}</div>' if lines else ""}
{_series(report)}
<div class="tops">{cards}</div>
{bots}"""


def _is_telling(dimension: str, tops: Sequence[Top]) -> bool:
    """Return whether a ranking is shown: hostnames only where there is more than one."""
    return len(tops) > 1 if dimension == "hostname" else bool(tops)


def _totals(report: Report) -> str:
    cells = []
    for name, text, change, good in figures(report):
        kind = "" if good is None else "good" if good else "bad"
        said = f"{escape(change)} <span>to the period before</span>" if change else "nothing before"
        cells.append(f'<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd><dd class="change {kind}">{said}</dd></div>')
    return "".join(cells)


def _series(report: Report) -> str:
    """Return the chart, and its figures as a table that opens."""
    unit = "hour" if report.period.hourly else "day"
    totals = report.now.totals
    label = (
        f"Pageviews and sessions by {unit}, {days(report)}: {totals.pageviews:,} pageviews, {totals.sessions:,}"
        " sessions. The figures are in the table that follows."
    )
    before = '<span class="key before">Pageviews before</span>' if report.before.totals.pageviews else ""
    smoothed = "<span>lines are means of seven days</span>" if len(report.now.series) > chart.SMOOTHED else ""
    drawn = chart.draw(report.now.series, report.before.series, report.period, escape(label))
    return f"""<figure class="card series">
<figcaption><span class="key views">Pageviews</span><span
 class="key sessions">Sessions</span>{before}{smoothed}</figcaption>
{drawn}
<details><summary>Figures by {unit}</summary>
<table class="figures"><caption>Pageviews and sessions by {unit}, and pageviews of the period before</caption>
<thead><tr><th scope="col">{unit.capitalize()}</th><th scope="col">Pageviews</th><th scope="col">Sessions</th><th
 scope="col">Before</th></tr></thead>
<tbody>{"".join(_points(report))}</tbody></table></details>
</figure>"""


def _points(report: Report) -> Iterable[str]:
    for point, before in zip(report.now.series, report.before.series, strict=True):
        yield (
            f'<tr><th scope="row">{chart.when(point, report.period)}</th><td>{point.pageviews:,}</td>'
            f"<td>{point.sessions:,}</td><td>{before.pageviews:,}</td></tr>\n"
        )


def _ranking(anchor: str, dimension: str, report: Report, level: int, *, kind: str) -> str:
    ranking, tops = RANKINGS[dimension], report.now.tops[dimension]
    most = max(top.pageviews for top in tops)
    rows = "".join(
        f'<tr><th scope="row" class="w{round(100 * top.pageviews / most)}">'
        f"{cells.value(name_of(dimension, top.value))}</th><td>{top.pageviews:,}</td><td>{top.sessions:,}</td></tr>\n"
        for top in tops
    )
    heading = escape(ranking.heading)
    caption = f'<p class="caption">{escape(ranking.caption)}</p>' if ranking.caption else ""
    return f"""<section class="card top {kind}" aria-labelledby="{anchor}">
<h{level} id="{anchor}">{heading}</h{level}>{caption}
<table><caption class="unseen">{heading}, those with the most pageviews first</caption>
<thead><tr><th scope="col"><span class="unseen">{heading}</span></th><th scope="col">Pageviews</th><th
 scope="col">Sessions</th></tr></thead>
<tbody>{rows}</tbody></table>
</section>
"""
