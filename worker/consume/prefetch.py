"""How many messages a worker may hold unacknowledged: enough to fill batches, and few enough to bound its memory.

A message carries one pageview at quiet times and hundreds under load, so no fixed number suits both.  Among several
workers it is also no more than a worker processes in about a second: the broker gives the next worker what exceeds it.
"""

from __future__ import annotations

from typing import Final

#: Sealed bytes that a worker may hold, however many messages they are.
MAX_SEALED_BYTES: Final = 48 * 1024 * 1024
SMALLEST: Final = 64
LARGEST: Final = 30_000
#: The first prefetch, before the size of any message is known: this many messages of the largest size stay within the
#: bound.
FIRST: Final = MAX_SEALED_BYTES // (256 * 1024)
#: However long a message takes, a worker holds some while it inserts others.
SMALLEST_SHARE: Final = 8
#: Weight of a new message in the averages.
_WEIGHT: Final = 0.05


class Prefetch:
    """Follows the average size of messages and says when the prefetch should change."""

    def __init__(self, flush_rows: int) -> None:
        #: Rows of three batches: one being inserted, one gathered, one on its way.
        self._rows = 3 * flush_rows
        self._pageviews = 0.0
        self._bytes = 0.0
        self._work_s = 0.0
        self.count = FIRST

    def observe(self, pageviews: int, sealed_bytes: int, work_s: float = 0.0) -> None:
        """Add a message to the averages; one much larger than them sets the average size at once.

        `work_s`: how long it took to process.
        """
        self._work_s += (work_s - self._work_s) * _WEIGHT
        if self._bytes == 0:
            self._pageviews, self._bytes = float(max(pageviews, 1)), float(sealed_bytes)
        self._pageviews += (pageviews - self._pageviews) * _WEIGHT
        self._bytes += (sealed_bytes - self._bytes) * (1 if sealed_bytes > 4 * self._bytes else _WEIGHT)

    def adjust(self, work_s: float | None = None) -> int | None:
        """Return a new prefetch once the present one is off by more than a factor of two, else None.

        `work_s`: seconds of work that may be held; None for any.
        """
        if self._bytes == 0:
            return None
        wanted = min(self._rows / max(self._pageviews, 1), MAX_SEALED_BYTES / self._bytes)
        wanted = int(min(max(wanted, SMALLEST), LARGEST))
        if work_s is not None and self._work_s > 0:
            wanted = min(wanted, max(int(work_s / self._work_s), SMALLEST_SHARE))
        if self.count / 2 <= wanted <= self.count * 2:
            return None
        self.count = wanted
        return wanted
