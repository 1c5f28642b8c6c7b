"""Long work in slices: one in each turn of the event loop, whichever batch it is for."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

#: A request needs some five turns of the loop (its head, its token, the confirm, …), and waits for a slice in each.
SLICE_S: Final = 0.001
#: Where a turn is long, since many requests are in it, slices are half as long as what they have taken, up to so many
#: times the usual: otherwise single posts at the limit would leave batches next to nothing.
_SHARE: Final = 0.5
_LONGEST: Final = 8


class Slices:
    """Hands out slices, one in a turn of the loop, in the order of asking.

    Work asks `over()` between steps that can't be interrupted, which are shorter than a slice or not much longer.
    """

    def __init__(self, slice_s: float = SLICE_S) -> None:
        self._shortest_s = self._slice_s = slice_s
        self._ends = 0.0
        #: When the last slice should have ended: what has passed since is what others have taken.
        self._others_since = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def over(self) -> bool:
        """Return whether the slice is over; also where work goes on that has waited for something else."""
        return time.perf_counter() >= self._ends

    async def next(self) -> None:
        """Wait for the next slice."""
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if len(self._waiting) == 1:
            self._others_since = time.perf_counter()
            loop.call_soon(self._begin_one)
        await mine
        self._ends = time.perf_counter() + self._slice_s

    def _begin_one(self) -> None:
        now = time.perf_counter()
        self._slice_s = min(max(self._shortest_s, _SHARE * (now - self._others_since)), _LONGEST * self._shortest_s)
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():  # its request has not been cancelled
                first.set_result(None)
                break
        if self._waiting:
            self._others_since = now + self._slice_s
            asyncio.get_running_loop().call_soon(self._begin_one)
