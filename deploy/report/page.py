"""A report as one HTML file that opens anywhere: no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from deploy.report import chart
from deploy.report.figures import Report, Top
from deploy.report.formatting import figures, shown, subtitle, title

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #e3e7ec; --back: #f6f7f9; --card: #fff;
        --views: #2563eb; --sessions: #d97706; --good: #15803d; --bad: #b91c1c; --bar: #dbe6fb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa5b4; --line: #2c3440; --back: #12161c; --card: #1a2029;
          --views: #6ea0ff; --sessions: #f0a94a; --good: #4ade80; --bad: #f87171; --bar: #223a63; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 20px; }
h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 0 0 10px; }
p.sub, footer { color: var(--soft); margin: 4px 0 24px; font-size: 13px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; }
.totals { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; margin-bottom: 14px; }
.totals dt { color: var(--soft); font-size: 13px; }
.totals dd { margin: 0; font-size: 26px; font-weight: 600; font-variant-numeric: tabular-nums; }
.totals small { font-size: 13px; font-weight: 500; color: var(--soft); }
.totals small.good { color: var(--good); } .totals small.bad { color: var(--bad); }
.legend { display: flex; flex-wrap: wrap; gap: 18px; font-size: 13px; color: var(--soft); margin: 0 0 8px; }
.legend i { display: inline-block; width: 18px; border-top: 3px solid; margin-right: 6px; vertical-align: middle; }
svg { width: 100%; height: auto; display: block; }
@media (max-width: 600px) { svg { overflow: visible; } svg .axis { font-size: 24px; } .second { display: none; } }
.grid { stroke: var(--line); } .axis { fill: var(--soft); font-size: 12px; }
path { fill: none; stroke-width: 2; stroke-linejoin: round; }
.area { fill: var(--views); opacity: .13; } .views { stroke: var(--views); } .sessions { stroke: var(--sessions); }
.before { stroke: var(--soft); stroke-width: 1.3; stroke-dasharray: 4 4; opacity: .8; }
.point rect { fill: transparent; } .point circle { fill: var(--views); opacity: 0; }
.point:hover circle { opacity: 1; }
.tops { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 14px;
  margin-top: 14px; }
table { width: 100%; border-collapse: collapse; font-size: 14px; table-layout: fixed; }
th { color: var(--soft); font-weight: 500; font-size: 12px; text-align: right; padding: 2px 0; }
th:first-child { text-align: left; } th:nth-child(n+2) { width: 82px; }
td { padding: 3px 0; text-align: right; font-variant-numeric: tabular-nums; }
td:first-child { text-align: left; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  background: linear-gradient(var(--bar), var(--bar)) no-repeat left / var(--share) 100%; border-radius: 4px;
  padding-left: 6px; }
"""


def render(report: Report) -> str:
    """Return the document."""
    rankings = "".join(_ranking(heading, tops) for heading, tops in report.tops.items() if tops)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title(report))}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title(report))}</h1>
<p class="sub">{escape(subtitle(report))}</p>
<dl class="totals">{_totals(report)}</dl>
<section class="card">
<p class="legend">{_legend()}</p>
{chart.draw(report.series, report.series_before, hourly=report.hourly)}
</section>
<div class="tops">{rankings}</div>
<footer><p>Exact as of {report.made_at:%Y-%m-%d %H:%M:%S} UTC. A session counts with the pageviews it has in the
period. Made by Hitline.</p></footer>
</main>
</body>
</html>
"""


def _totals(report: Report) -> str:
    cells = []
    for name, text, change, good in figures(report):
        kind = "" if good is None else "good" if good else "bad"
        small = f'<small class="{kind}">{escape(change or "nothing before")}</small>'
        cells.append(f'<div class="card"><dt>{escape(name)}</dt><dd>{escape(text)}</dd>{small}</div>')
    return "".join(cells)


def _legend() -> str:
    kinds = (("views", "solid", "pageviews"), ("sessions", "solid", "sessions"), ("soft", "dashed", "pageviews before"))
    return "".join(
        f'<span><i style="border-top-color: var(--{color}); border-top-style: {line}"></i>{text}</span>'
        for color, line, text in kinds
    )


def _ranking(heading: str, tops: Sequence[Top]) -> str:
    most = max(top.pageviews for top in tops)
    rows = "".join(
        f'<tr><td style="--share: {100 * top.pageviews / most:.1f}%" title="{escape(shown(top.value))}">'
        f"{escape(shown(top.value))}</td><td>{top.pageviews:,}</td><td>{top.sessions:,}</td></tr>"
        for top in tops
    )
    return (
        f'<section class="card"><h2>{escape(heading)}</h2><table><tr><th></th><th>pageviews</th><th>sessions</th></tr>'
        f"{rows}</table></section>"
    )
