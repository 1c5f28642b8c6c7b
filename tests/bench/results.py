"""A run's figures as a JSON file, and the comparison of two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.table import Row


@dataclass(frozen=True)
class Run:
    """When a run was, on what, and what it measured."""

    when: str
    machine: dict[str, Any]
    versions: dict[str, str]
    sizes: dict[str, Any]
    rows: tuple[Row, ...]


def make(rows: Sequence[Row], sizes: Any, broker: str = "", commit: str = "unknown") -> Run:
    """Return the run that ends now; `sizes` is a dataclass."""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Run(
        when, machine.describe(), machine.versions(broker, commit), json.loads(json.dumps(asdict(sizes))), tuple(rows)
    )


def write(run: Run, file: Path) -> None:
    """Write a run as JSON, with the medians and verdicts for other readers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = asdict(run)
    for row, each in zip(run.rows, text["rows"], strict=True):
        each |= {"values": [_rounded(value) for value in row.values], "median": _rounded(row.median)}
        if row.reach is not None:
            each["met"] = row.met
    file.write_text(json.dumps(text, indent=1, ensure_ascii=False) + "\n")


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def read(file: Path) -> Run:
    """Read what `write` wrote."""
    text = json.loads(file.read_text())
    names = ("section", "what", "form", "reach", "at_most")
    rows = [Row(values=tuple(each["values"]), **{name: each[name] for name in names}) for each in text.pop("rows")]
    return Run(**text, rows=tuple(rows))


def compare(base: Run, now: Run) -> list[str]:
    """Return lines that say how each row has changed, with a mark where the values of two runs do not overlap."""
    lines = [f"compared with {base.when}, {base.versions.get('commit', '?')}"]
    if (base.machine, base.sizes) != (now.machine, now.sizes):
        lines.append("  on another machine or with other sizes: only ratios can be compared")
    before = {(row.section, row.what): row for row in base.rows}
    for row in now.rows:
        old = before.get((row.section, row.what))
        if old is None or not old.median:
            continue
        apart = max(old.values) < min(row.values) or min(old.values) > max(row.values)
        change = f"{(row.median / old.median - 1) * 100:+.0f} %"
        medians = f"{row.form.format(old.median)} → {row.form.format(row.median)}"
        lines.append(f"  {row.what:<72} {medians:>24} {change:>7}{'  *' if apart else ''}")
    return lines
