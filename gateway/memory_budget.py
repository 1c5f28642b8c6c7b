"""A bound on the bytes that requests hold, however many there are at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.replies import Reason, Rejected


class MemoryBudget:
    """A byte budget shared by all requests; a request beyond it gets 503."""

    def __init__(self, size: int) -> None:
        self._left = size

    @contextmanager
    def reservation(self) -> Iterator[Callable[[int], None]]:
        """Yield `reserve(size)`, which raises `Rejected` (503) beyond the budget; all of it is released at the end."""
        held = 0

        def reserve(size: int) -> None:
            nonlocal held
            if size > self._left:
                raise Rejected(Reason.BUFFER_FULL)
            self._left -= size
            held += size

        try:
            yield reserve
        finally:
            self._left += held
