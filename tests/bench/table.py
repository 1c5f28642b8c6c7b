"""What the benchmarks print: figures for information, and ratios with what they should reach."""

from __future__ import annotations

import os
import platform
from pathlib import Path


class Table:
    """Prints each row as soon as it is known, and remembers which ratios fell short."""

    def __init__(self) -> None:
        self.short: list[str] = []

    def machine(self) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        model = next(
            (
                line.partition(": ")[2]
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if "model name" in line
            ),
            platform.machine(),
        )
        print(f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Python {platform.python_version()}")

    def section(self, name: str) -> None:
        print(f"\n{name}")

    def note(self, what: str, figure: str) -> None:
        print(f"  {what:<72} {figure}", flush=True)

    def ratio(self, what: str, value: float, reach: float, *, at_most: bool = False, form: str = "{:.2f}") -> None:
        """Print a ratio (or, by `form`, another figure) and whether it is at least, or `at_most`, `reach`."""
        met = value <= reach if at_most else value >= reach
        sign = "≤" if at_most else "≥"
        mark = "" if met else "   FALLS SHORT"
        print(f"  {what:<72} {form.format(value)} ({sign} {form.format(reach)}){mark}", flush=True)
        if not met:
            self.short.append(what)
