"""The part of docs/performance.md that is made of the last run: its table and its plots.

`make bench PUBLISH=1` measures and publishes; `python -m tests.bench.document` publishes what was measured last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.bench import plots, results
from tests.bench.cost import KINDS, PARTS
from tests.bench.profile import RESULTS
from tests.bench.results import Run

DOCS: Final = Path(__file__).parent.parent.parent / "docs"

#: Of the sizing table: pageviews a day, how much higher than a day's average its peak is, how much of a core is used.
A_DAY: Final = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
PEAK: Final = 4
USED: Final = 0.6

BEGIN: Final = "<!-- begin: written by `make bench PUBLISH=1` -->"
END: Final = "<!-- end -->"
_PLOTS: Final = {
    "throughput": "Single posts answered a second by bare aiohttp, the gateway publishing nothing, Hitline, and one "
    "publish a request",
    "cost": "CPU seconds a million pageviews of gateway, broker, worker and ClickHouse",
    "demands": "Each demand and how far it is exceeded or missed",
}


def publish(run: Run, docs: Path = DOCS) -> None:
    """Put a run into the documentation: its JSON, its plots, and the generated part of the document."""
    directory = docs / "performance"
    results.write(run, directory / "bench.json")
    plots.draw(run, directory)
    replace(run, docs / "performance.md", directory)
    print("docs/performance.md has its table and plots")


def replace(run: Run, document: Path, drawn: Path) -> None:
    """Replace the generated part of a document; `drawn` is where its plots are."""
    head, begin, rest = document.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{document.name} has no part between {BEGIN} and {END}")
    document.write_text(f"{head}{begin}\n{generated(run, drawn.relative_to(document.parent))}\n{end}{tail}")


def generated(run: Run, drawn: Path) -> str:
    """Return the table of a run as Markdown, with its plots."""
    machine, versions = run.machine, run.versions
    lines = [
        f"Measured {run.when}, at commit {versions['commit']}: {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory_gib']} GiB, with broker, ClickHouse and load generator on the same machine; "
        f"{run.sizes['rounds']} rounds of {run.sizes['seconds']:g} s.",
        "",
        ", ".join(f"{name} {version}" for name, version in versions.items() if name != "commit") + ".",
        "",
        f"[bench.json]({drawn / 'bench.json'}) has every value of every round.",
        "",
    ]
    for name, what in _PLOTS.items():
        lines += [f"![{what}]({drawn / name}.svg)", ""]
    lines += sizing({row.what: row.median for row in run.rows})
    section = ""
    for row in run.rows:
        if row.section != section:
            section = row.section
            lines += ["", f"**{section}**", "", "| what | median [lowest .. highest] | demand | |", "|---|---|---|---|"]
        verdict = "" if row.reach is None else "met" if row.met else "**missed**"
        lines.append(f"| {row.what} | {row.text} | {row.demand} | {verdict} |")
    return "\n".join(lines) + "\n"


def sizing(medians: Mapping[str, float]) -> list[str]:
    """Return a table of what so many pageviews a day need, of the run's CPU seconds and bytes; empty without them."""
    costs = {
        kind: {part: medians.get(f"CPU s a million pageviews, {kind}, {part}", 0.0) for part in PARTS} for kind in KINDS
    }
    on_disk = medians.get("ClickHouse, bytes on disk a pageview", 0.0)
    if not on_disk or not all(costs["single"].values()):
        return []
    lines = [
        "",
        f"**Sizing** by these figures: cores of this machine's kind at a peak of {PEAK} times the day's average, each "
        f"used to {USED:.0%}; single posts / batches of 500. Gateways and workers are processes of one core.",
        "",
        "| pageviews a day | peak a second | gateways | workers | broker, cores | ClickHouse, cores | disk a year |",
        "|---|---|---|---|---|---|---|",
    ]
    for a_day in A_DAY:
        peak = a_day / 86_400 * PEAK
        cores = [
            " / ".join(_cores(peak, costs[kind][part]) for kind in KINDS)
            for part in ("gateway", "worker", "broker", "ClickHouse")
        ]
        disk = a_day * 365 * on_disk / 1e9
        lines.append(f"| {a_day:,} | {peak:,.0f} | {' | '.join(cores)} | {disk:,.1f} GB |")
    return [*lines, ""]


def _cores(per_second: float, seconds_a_million: float) -> str:
    return str(math.ceil(per_second * seconds_a_million / 1e6 / USED))


if __name__ == "__main__":
    publish(results.read(RESULTS / "bench.json"))
