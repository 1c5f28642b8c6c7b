"""The part of docs/performance.md that is made of the last run: its table and its plots."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.bench.results import Run

BEGIN: Final = "<!-- begin: written by `make bench PUBLISH=1` -->"
END: Final = "<!-- end -->"
_PLOTS: Final = {
    "throughput": "Single posts answered a second by bare aiohttp, the gateway publishing nothing, Hitline, and one "
    "publish a request",
    "cost": "CPU seconds a million pageviews of gateway, broker, worker and ClickHouse",
    "demands": "Each demand and how far it is exceeded or missed",
}


def publish(run: Run, document: Path, plots: Path) -> None:
    """Replace the generated part of a document; `plots` is where its plots are."""
    head, begin, rest = document.read_text().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{document.name} has no part between {BEGIN} and {END}")
    document.write_text(f"{head}{begin}\n{generated(run, plots.relative_to(document.parent))}\n{end}{tail}")


def generated(run: Run, plots: Path) -> str:
    """Return the table of a run as Markdown, with its plots."""
    machine, versions = run.machine, run.versions
    lines = [
        f"Measured {run.when}, at commit {versions['commit']}: {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory_gib']} GiB, with broker, ClickHouse and load generator on the same machine; "
        f"{run.sizes['rounds']} rounds of {run.sizes['seconds']:g} s.",
        "",
        ", ".join(f"{name} {version}" for name, version in versions.items() if name != "commit") + ".",
        "",
    ]
    for name, what in _PLOTS.items():
        lines += [f"![{what}]({plots / name}.svg)", ""]
    section = ""
    for row in run.rows:
        if row.section != section:
            section = row.section
            lines += ["", f"**{section}**", "", "| what | median [lowest .. highest] | demand | |", "|---|---|---|---|"]
        verdict = "" if row.reach is None else "met" if row.met else "**missed**"
        lines.append(f"| {row.what} | {row.text} | {row.demand} | {verdict} |")
    return "\n".join(lines) + "\n"
