"""Signals to commands that leave something behind when they are stopped in the middle."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def clean_up_on_sigterm() -> None:
    """Have SIGTERM end this process as an exception, so that half a download is removed; the exit code is 143."""

    def end(_number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
