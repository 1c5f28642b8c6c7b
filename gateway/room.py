"""A bound on the bytes that requests hold, however many there are at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.replies import Reason, Rejected


class Room:
    """So many bytes for all; what arrives beyond them is refused, by those who may repeat it later."""

    def __init__(self, size: int) -> None:
        self._left = size

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that takes so many bytes more, or raises `Rejected` (503); all are given back at the end."""
        held = 0

        def take(size: int) -> None:
            nonlocal held
            if size > self._left:
                raise Rejected(Reason.BUFFER_FULL)
            self._left -= size
            held += size

        try:
            yield take
        finally:
            self._left += held
