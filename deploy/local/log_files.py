"""Keeps the local stack's log files small: each has one predecessor."""

from __future__ import annotations

import shutil
from pathlib import Path

#: Above this size a log is rotated; so a stack's logs take at most twice as much each.
MAX_BYTES = 10 << 20


def rotate(log: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Move a log's lines to `NAME.1` once it is larger than the limit; return whether that happened.

    The process that writes it keeps its file, which it must have opened for appending: so the lines are copied, and
    the file is cut. Lines that are written in between are lost.
    """
    try:
        if log.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    with log.open("r+b") as file:
        file.truncate()
    return True
