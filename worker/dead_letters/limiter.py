"""Much poison pauses: a wrong key, or a constraint that no row meets, must not empty the stream into the dead letters.

A bucket: every dead-lettered pageview takes one out, of a message that can't be opened all that are in it; every
pageview that went well puts a little back, and so does time.  Poison
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

#: Pageviews that a worker may dead-letter at once.
BURST: Final = 1_000.0
#: And then a minute, so that it notices by itself when the trouble has ended.
PER_MINUTE: Final = 30.0
#: What each pageview that went well allows.
PER_GOOD: Final = 0.05
_POLL_S: Final = 0.5


class DeadLetterLimiter:
    """Allows a worker to write dead letters, or keeps it waiting."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowed = BURST
        self._updated = clock()
        self._paused = False

    def saw_good(self, count: int) -> None:
        """Take note of pageviews that were stored or dropped."""
        self._allowed = min(BURST, self._allowed + count * PER_GOOD)

    async def admit(self, pageviews: int = 1) -> None:
        """Return when one more dead letter, of so many pageviews, may be written.

        One larger than what is left goes through, and those behind it wait for longer: no message is too large.
        """
        try:
            while not self._take(pageviews):
                self._set_paused(True)
                await asyncio.sleep(_POLL_S)
        finally:  # cancelled, too: the batch is given up, and others may take its messages
            self._set_paused(False)

    def _take(self, pageviews: int) -> bool:
        now = self._clock()
        self._allowed = min(BURST, self._allowed + (now - self._updated) * PER_MINUTE / 60)
        self._updated = now
        if self._allowed < 1:
            return False
        self._allowed -= pageviews
        return True

    def _set_paused(self, paused: bool) -> None:
        if paused is self._paused:
            return
        metrics.PAUSED.labels("poison").set(int(paused))
        if paused:
            log.error(
                "paused: more than %d pageviews dead-lettered at once; is a key missing in HITLINE_QUEUE_KEYS, or a"
                " constraint new? see `hitline dead list`; going on with %d a minute",
                BURST,
                PER_MINUTE,
            )
        self._paused = paused
