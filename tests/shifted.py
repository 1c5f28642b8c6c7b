"""Processes whose clock is wrong, and nothing else."""

from __future__ import annotations

import sys

_SHIFTED = """
import time
def shifted(clock, by):
    return lambda: clock() + by
time.time, time.time_ns = shifted(time.time, {seconds}), shifted(time.time_ns, {seconds} * 10**9)
from {name}.__main__ import main
main()
"""


def command(name: str, seconds: int) -> list[str]:
    """Return what starts `gateway` or `worker` with a clock that is so many seconds ahead."""
    return [sys.executable, "-c", _SHIFTED.format(name=name, seconds=seconds)]
