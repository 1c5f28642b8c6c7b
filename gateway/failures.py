"""Failed tokens by address, in memory of a fixed size: strangers choose how many addresses there are."""

from __future__ import annotations

import time
from array import array
from typing import Final

#: Addresses share a counter with a chance of one in so many.
_COUNTERS: Final = 2**18
_MOST: Final = 65_535


class FailureCounter:
    """Counts in a sliding window, half a megabyte for the present window and the same for the one before.

    Python's hash of a string is keyed by a secret of the process, so nobody can choose whose counter to share.
    """

    def __init__(self, most: int, window_s: int) -> None:
        self._most = most
        self._window_s = window_s
        self._number = 0  # of the present window since the epoch
        self._now = self._before = array("H", bytes(2 * _COUNTERS))

    def hit(self, address: str) -> bool:
        """Count a failure; returns False, and counts nothing, beyond the limit."""
        previous, previous_left_s, current, _ = self.window(address)
        if previous * previous_left_s / self._window_s + current + 1 > self._most:
            return False
        self._now[hash(address) % _COUNTERS] = min(current + 1, _MOST)
        return True

    def window(self, address: str) -> tuple[int, float, int, float]:
        """Return the count of the window before and its seconds left, and those of the present window."""
        now = time.time()
        self._turn(int(now // self._window_s))
        left_s = self._window_s - now % self._window_s
        index = hash(address) % _COUNTERS
        return self._before[index], left_s, self._now[index], left_s + self._window_s

    def _turn(self, number: int) -> None:
        if number == self._number:
            return
        empty = array("H", bytes(2 * _COUNTERS))
        self._before = self._now if number == self._number + 1 else empty
        self._now = array("H", bytes(2 * _COUNTERS))
        self._number = number
