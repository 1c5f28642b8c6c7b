"""How long to wait between attempts at something that keeps failing."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that begin at `first_s` seconds and double up to `longest_s`.

    Each is shortened by up to half at random, so that processes that lost the same server do not all reconnect at once.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = min(first_s, longest_s)
        self._longest_s = longest_s
        self._pause_s = self._first_s
        #: Number of pauses since the last success.
        self.attempts = 0

    def next_s(self) -> float:
        """Return the seconds to wait after another failure."""
        pause_s = self._pause_s
        self._pause_s = min(pause_s * 2, self._longest_s)
        self.attempts += 1
        return pause_s * random.uniform(0.5, 1)

    def reset(self) -> None:
        """Start over after a success."""
        self._pause_s = self._first_s
        self.attempts = 0
