"""What one connection's client has sent and no handler has seen yet, in bytes."""

from __future__ import annotations

from typing import Final

from gateway.memory_budget import MemoryBudget

#: Bytes that every connection may have; more are taken from the budget of all connections.
_FREE_BYTES: Final = 8 * 1024


class Unhandled:
    """Counts a connection's bytes; `take` asks the budget of all connections for what is beyond the free ones."""

    __slots__ = ("_address", "_budget", "_taken", "bytes", "head")

    def __init__(self, budget: MemoryBudget, address: str) -> None:
        """`address` is whose share of the budget it is."""
        self._budget = budget
        self._address = address
        self._taken = 0
        #: Of requests that are not handled, and of an incomplete head; the latter alone.
        self.bytes = 0
        self.head = 0

    def take(self) -> bool:
        """Take from the budget what is beyond the free bytes; returns False if that is more than is left."""
        more = self.bytes - _FREE_BYTES - self._taken
        if more <= 0:
            return True
        if not self._budget.take(self._address, more):
            return False
        self._taken += more
        return True

    def give_back(self) -> None:
        """Release what is beyond the incomplete head: all requests before it are handled."""
        self.bytes = self.head
        left = max(0, self.head - _FREE_BYTES)
        if self._taken > left:
            self._budget.give_back(self._address, self._taken - left)
            self._taken = left

    def give_back_all(self) -> None:
        """Release everything: the connection has ended."""
        self._budget.give_back(self._address, self._taken)
        self._taken = 0
