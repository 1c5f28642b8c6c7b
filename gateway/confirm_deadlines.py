"""Until when publishes in flight wait for their confirm.

The time limit is for a broker that is silent.  Where our own loop was late, a confirm may have arrived and not been
read, so all limits move by as much; where the broker is blocked, it does not even read, and they are cut short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: How long publishes in flight may still be confirmed once the broker has blocked the connection.
_BLOCKED_GRACE_S: Final = 1.0
#: The loop's own delays beyond this are not counted as time in which the broker was silent.
_PUNCTUAL_S: Final = 0.05
_LAG_POLL_S: Final = 0.1


class ConfirmDeadlines:
    """The deadlines of the publishes in flight; true while there are any."""

    def __init__(self, confirm_s: float) -> None:
        """`confirm_s`: how long a publish may wait for its confirm."""
        self._confirm_s = confirm_s
        self._open: set[asyncio.Timeout] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._blocked = False

    def __bool__(self) -> bool:
        """Return whether any publish is in flight."""
        return bool(self._open)

    @contextmanager
    def one(self) -> Iterator[asyncio.Timeout]:
        """Give the deadline of one publish, to be entered by it; forgotten at the end."""
        deadline = asyncio.timeout(self._confirm_s)
        self._open.add(deadline)
        try:
            yield deadline
        finally:
            self._open.discard(deadline)

    def watch_lag(self) -> None:
        """Extend deadlines from now on by what our own loop is late, until `stop`."""
        self._look_again_at(asyncio.get_running_loop().time() + _LAG_POLL_S)

    def stop(self) -> None:
        """Look after the loop no more."""
        if self._timer is not None:
            self._timer.cancel()

    def set_blocked(self, blocked: bool) -> None:
        """Note whether the broker has blocked the connection: then it stops reading, and no deadline is extended.

        The publishes that are in flight at that moment are answered soon instead of after the full time.
        """
        self._blocked = blocked
        if blocked:
            self._shorten()

    def _shorten(self) -> None:
        soon = asyncio.get_running_loop().time() + _BLOCKED_GRACE_S
        for deadline in self._open:
            when = deadline.when()
            if when is not None and when > soon:
                deadline.reschedule(soon)

    def _look_again_at(self, due: float) -> None:
        # A timer rather than a task, since that runs before the deadlines that are due in the same turn of the loop.
        self._timer = asyncio.get_running_loop().call_at(due, self._extend, due)

    def _extend(self, due: float) -> None:
        now = asyncio.get_running_loop().time()
        late_s = now - due
        if late_s > _PUNCTUAL_S and not self._blocked:
            for deadline in self._open:
                when = deadline.when()
                if when is not None and not deadline.expired():
                    deadline.reschedule(when + late_s)
        self._look_again_at(now + _LAG_POLL_S)
