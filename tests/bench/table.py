"""What the benchmarks print and record: figures for information, and ratios with what they should reach."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench import machine


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, once a round."""

    section: str
    what: str
    values: tuple[float, ...]
    #: How a value is printed, with its unit.
    form: str = "{:.2f}"
    #: What the median should reach (`at_most`: not exceed); None for a figure.
    reach: float | None = None
    at_most: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        if self.reach is None:
            return True
        return self.median <= self.reach if self.at_most else self.median >= self.reach

    @property
    def text(self) -> str:
        """The median, and the lowest and highest value of several."""
        text = self.form.format(self.median)
        if len(self.values) == 1:
            return text
        low, high = (self.form.format(value) for value in (min(self.values), max(self.values)))
        return f"{text} [{low} .. {high}]"

    @property
    def demand(self) -> str:
        """What should be reached; empty for a figure."""
        if self.reach is None:
            return ""
        return f"{'≤' if self.at_most else '≥'} {self.form.format(self.reach)}"


@dataclass
class Table:
    """Prints each row as soon as it is known, and keeps it."""

    rows: list[Row] = field(default_factory=list)
    _section: str = ""

    @property
    def short(self) -> list[str]:
        """The ratios that were not reached."""
        return [row.what for row in self.rows if not row.met]

    def machine(self) -> None:
        print(machine.line())

    def section(self, name: str) -> None:
        self._section = name
        print(f"\n{name}", flush=True)

    def progress(self, what: str) -> None:
        """Show what is measured right now, on a terminal."""
        if sys.stderr.isatty():
            print(f"\r\033[K  … {what}\r", end="", file=sys.stderr, flush=True)

    def note(self, what: str, figure: str) -> None:
        """Print something that is no number, or not worth keeping."""
        self._print(f"  {what:<72} {figure}")

    def figure(self, what: str, values: Sequence[float], form: str = "{:,.0f}/s") -> None:
        """Print and keep a figure, measured once a round."""
        self._keep(Row(self._section, what, tuple(values), form))

    def ratio(
        self, what: str, value: float | Sequence[float], reach: float, *, at_most: bool = False, form: str = "{:.2f}"
    ) -> None:
        """Print a ratio (or, by `form`, another figure) and whether it is at least, or `at_most`, `reach`.

        Of several, one a round, the median counts.
        """
        values = (value,) if isinstance(value, (int, float)) else tuple(value)
        self._keep(Row(self._section, what, values, form, reach, at_most))

    def _keep(self, row: Row) -> None:
        self.rows.append(row)
        demand = f" ({row.demand})" if row.demand else ""
        self._print(f"  {row.what:<72} {row.text}{demand}{'' if row.met else '   FALLS SHORT'}")

    def _print(self, line: str) -> None:
        self.progress("")
        print(line, flush=True)


def ratios(of: Sequence[float], by: Sequence[float]) -> list[float]:
    """Return the ratio of two measurements in each round; raises `ValueError` when one has measured nothing."""
    if not all(by):
        raise ValueError("a round measured nothing: measure for longer (SECONDS)")
    return [a / b for a, b in zip(of, by, strict=True)]
