"""Processor time of processes, from the operating system's accounting (proc_pid_stat(5))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def of_tree(pid: int) -> float:
    """Return the CPU seconds of a process and of all its descendants."""
    total = cpu_s(pid)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            total += sum(of_tree(int(child)) for child in (task / "children").read_text().split())
    return total


class Meter:
    """Measures what named processes use from now on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._began = self._read()

    def _read(self) -> dict[str, float]:
        return {name: of_tree(pid) for name, pid in self._pids.items()}

    def seconds(self) -> dict[str, float]:
        """Return the CPU seconds of each since the start."""
        now = self._read()
        return {name: now[name] - began for name, began in self._began.items()}
