"""How fast bytes of one holder (an API client, or an address) are read, so that nobody waits behind somebody else's.

Reading costs little, but whoever sends as fast as the kernel takes it, on many connections, gets a part of every turn
of the event loop.  Slow senders never wait, however many there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final

#: Holders that are remembered before those that owe nothing are forgotten.
_MANY: Final = 1_024


class Pace:
    """A leaky bucket for each holder (the generic cell rate algorithm, ITU-T I.371)."""

    def __init__(self, bytes_per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`burst`: bytes that may be read at once, without any wait."""
        self._bytes_per_s = bytes_per_s
        self._burst_s = burst / bytes_per_s
        self._clock = clock
        self._read_until: dict[Hashable, float] = {}

    def wait_s(self, holder: Hashable, size: int) -> float:
        """Note that `size` bytes were read; return how many seconds to wait before the next are, often 0."""
        now = self._clock()
        until = max(now, self._read_until.get(holder, now)) + size / self._bytes_per_s
        if len(self._read_until) >= _MANY and holder not in self._read_until:
            self._read_until = {each: owed for each, owed in self._read_until.items() if owed > now}
        self._read_until[holder] = until
        return max(0.0, until - now - self._burst_s)
