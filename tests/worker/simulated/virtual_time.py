"""An event loop in which time passes only when it is told to."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Nothing(selectors.SelectSelector):
    """Selects nothing; a loop that would wait stops instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout > 0:
            self.loop.next_in_s = timeout
            self.loop.stop()
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what can run; `time` stands still meanwhile."""

    def __init__(self) -> None:
        self._now = 0.0
        #: Seconds until the next timer; None if there is none.
        self.next_in_s: float | None = None
        selector = _Nothing()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def settle(self) -> None:
        """Run until nothing can go on unless time passes, or a future is given its result."""
        self.run_forever()

    def pass_time(self) -> bool:
        """Let time pass until the next timer, and run what it sets off; False if there is no timer."""
        if self.next_in_s is None:
            return False
        self._now += self.next_in_s + 1e-6  # as real time, it is later than asked for, whatever is rounded
        self.settle()
        return True
