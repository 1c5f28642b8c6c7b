"""A bound on the bytes that requests hold, however many there are at once, and fair shares of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from gateway.replies import Reason, Rejected


class MemoryBudget:
    """A byte budget shared by all requests; a request beyond it, or beyond its holder's share, gets 503.

    A holder (an API client, or an address) may have no more than what is still free, the rule of dynamic thresholds
    (Choudhury and Hahne, 1998): one alone gets half of the budget, two a third each, and somebody new always gets some.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._held: dict[Hashable, int] = {}

    def take(self, holder: Hashable, size: int) -> bool:
        """Reserve `size` bytes; returns whether they were there."""
        held = self._held.get(holder, 0) + size
        if held > self._left - size:
            return False
        self._left -= size
        self._held[holder] = held
        return True

    def give_back(self, holder: Hashable, size: int) -> None:
        """Release what was reserved."""
        self._left += size
        held = self._held.get(holder, 0) - size
        if held > 0:
            self._held[holder] = held
        else:
            self._held.pop(holder, None)

    @contextmanager
    def reservation(self, holder: Hashable) -> Iterator[Callable[[int], None]]:
        """Yield `reserve(size)`, which raises `Rejected` (503) beyond the budget; all of it is released at the end."""
        held = 0

        def reserve(size: int) -> None:
            nonlocal held
            if not self.take(holder, size):
                raise Rejected(Reason.BUFFER_FULL)
            held += size

        try:
            yield reserve
        finally:
            self.give_back(holder, held)
