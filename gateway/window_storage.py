"""Sliding windows in this process's memory, for the `limits` library.

The library's own `MemoryStorage` walks all of its keys on a timer, a hundred times a second.  Here a charge costs the
same at one key and at a million: each one looks at two other keys, the longest unseen, and drops those that are over.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from math import floor
from typing import Any, Final, NamedTuple

from limits.storage import SlidingWindowCounterSupport, Storage

#: Keys that each charge looks at; more than one, so that the dropped ones outrun the new ones.
_LOOKED_AT: Final = 2


#: What was charged in the previous window, the seconds until it counts no longer, and the same of the current one.
SlidingWindow = tuple[int, float, int, float]


class _Count(NamedTuple):
    """What was charged to a key in one window and in the one before; windows are numbered from the epoch."""

    window: int
    previous: int
    current: int
    expiry_s: int

    def at(self, window: int) -> _Count:
        """Return the count as it is in a later (or, after the clock was set back, an earlier) window."""
        if window == self.window:
            return self
        previous = self.current if window == self.window + 1 else 0
        return _Count(window, previous, 0, self.expiry_s)


class WindowStorage(Storage, SlidingWindowCounterSupport):
    """Counts by key; to be used from one thread."""

    STORAGE_SCHEME = ["hitline-memory"]  # noqa: RUF012 - as the library declares it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **_: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the library may wrap."""
        return ValueError

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Charge `amount` to `key`, whole or not at all; the previous window counts by what is left of it."""
        return self.charge(key, limit, expiry, amount)[0]

    def get_sliding_window(self, key: str, expiry: int) -> SlidingWindow:
        """Return the previous window's count and the seconds until it counts no longer, and the current one's."""
        return self.charge(key, 0, expiry, 0)[1]

    def charge(self, key: str, limit: int, expiry: int, amount: int) -> tuple[bool, SlidingWindow]:
        """Do both of the above at once: half of the work, and the answer fits the charge."""
        now = time.time()
        count = self._count(key, expiry, now)
        left_s = expiry - now % expiry
        previous, current = count.previous, count.current
        taken = floor(previous * left_s / expiry + current) + amount <= limit
        if taken and amount:
            current += amount
            self._counts[key] = _Count(count.window, previous, current, expiry)
            self._counts.move_to_end(key)
            self._drop_idle(now)
        return taken, (previous, left_s if previous else 0.0, current, left_s + expiry)

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002 - the library's signature
        """Forget a key."""
        self._counts.pop(key, None)

    def _count(self, key: str, expiry: int, now: float) -> _Count:
        window = int(now // expiry)
        count = self._counts.get(key)
        return count.at(window) if count else _Count(window, 0, 0, expiry)

    def _drop_idle(self, now: float) -> None:
        """Look at the keys that were not looked at for longest; those in use go to the end of the queue."""
        for _ in range(min(_LOOKED_AT, len(self._counts))):
            key, count = next(iter(self._counts.items()))
            if now // count.expiry_s > count.window + 1:
                del self._counts[key]
            else:
                self._counts.move_to_end(key)

    def get(self, key: str) -> int:
        """Return what was charged to `key` in the window that was charged last."""
        count = self._counts.get(key)
        return count.current if count else 0

    def get_expiry(self, key: str) -> float:
        """Return when the window that was charged last is over."""
        count = self._counts.get(key)
        return (count.window + 1) * count.expiry_s if count else time.time()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Not supported: only sliding windows are counted here."""
        raise NotImplementedError

    def check(self) -> bool:
        """Return that memory is at hand."""
        return True

    def reset(self) -> int | None:
        """Forget all keys."""
        number = len(self._counts)
        self._counts.clear()
        return number

    def clear(self, key: str) -> None:
        """Forget a key."""
        self._counts.pop(key, None)
