"""A bound on how many lines of one kind a process logs: an error at every request must not fill a disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

#: Lines of one kind that are written in `_WINDOW_S`; further ones are counted.
LINES: Final = 20
_WINDOW_S: Final = 60.0
#: Set by `extra` in lines that their caller bounds.
BOUNDED: Final = "bounded"
#: Kinds come from the code, so they are few; where a text is put together before it is logged, they are not.
_KINDS: Final = 1_000

#: Where a line comes from, and the type of its exception.
_Kind = tuple[str, int, type[BaseException] | None]


class StormLimit(logging.Filter):
    """Lets `LINES` lines of a place in the code through a minute; the next one after it says how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: When the window of a kind began, and the lines in it.
        self._seen: dict[_Kind, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        if getattr(record, BOUNDED, False):
            return True
        kind = (record.pathname, record.lineno, record.exc_info[0] if record.exc_info else None)
        now = self._clock()
        began, lines = self._seen.get(kind, (now, 0))
        if now - began < _WINDOW_S:
            self._note(kind, began, lines + 1)
            return lines < LINES
        self._note(kind, now, 1)
        if lines > LINES:
            record.msg = f"{record.getMessage()} ({lines - LINES} more of these lines were left out)"
            record.args = ()
        return True

    def _note(self, kind: _Kind, began: float, lines: int) -> None:
        if kind not in self._seen and len(self._seen) >= _KINDS:
            self._seen.clear()
        self._seen[kind] = began, lines
