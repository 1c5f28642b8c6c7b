"""Much poison pauses: a wrong key, or a constraint that no row meets, must not empty the stream into the dead letters.

A bucket: every dead letter takes one out, every pageview that went well puts a little back, and so does time.  Poison
among good pageviews, up to one in twenty, never pauses anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from shared import metrics

log = logging.getLogger(__name__)

#: Dead letters that a worker may write at once.
BURST: Final = 1_000.0
#: And then a minute, so that it notices by itself when the trouble has ended.
PER_MINUTE: Final = 30.0
#: What each pageview that went well allows.
PER_GOOD: Final = 0.05
_POLL_S: Final = 0.5


class PoisonGuard:
    """Allows a worker to write dead letters, or keeps it waiting."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowed = BURST
        self._updated = clock()
        self._paused = False

    def saw_good(self, count: int) -> None:
        """Take note of pageviews that were stored or dropped."""
        self._allowed = min(BURST, self._allowed + count * PER_GOOD)

    async def admit(self) -> None:
        """Return when one more dead letter may be written."""
        while not self._take():
            self._set_paused(True)
            await asyncio.sleep(_POLL_S)
        self._set_paused(False)

    def _take(self) -> bool:
        now = self._clock()
        self._allowed = min(BURST, self._allowed + (now - self._updated) * PER_MINUTE / 60)
        self._updated = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _set_paused(self, paused: bool) -> None:
        if paused is self._paused:
            return
        metrics.PAUSED.labels("poison").set(int(paused))
        if paused:
            log.error(
                "paused: more than %d dead letters at once; is a key missing in HITLINE_QUEUE_KEYS, or a constraint"
                " new? see `hitline dead list`; going on with %d a minute",
                BURST,
                PER_MINUTE,
            )
        self._paused = paused
