"""Noticing that a file was replaced."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Signature(NamedTuple):
    """A value that changes whenever a file does."""

    device: int
    inode: int
    size: int
    changed_ns: int


def signature(path: Path) -> Signature | None:
    """Return the file's state, None if it does not exist or can't be read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Signature(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
