"""Too much poison pauses a worker.

A wrong key, or a constraint that no row meets, must not send a whole stream to the dead letters.  This is a token
bucket: each dead-lettered pageview takes a token (a message that can't be opened takes one per pageview in it), each
pageview that succeeds puts back a fraction of one, and tokens also come back with time.  One poison pageview in twenty
never pauses.  An operator may allow a paused worker more (`allowances.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from shared import metrics
from worker.dead_letters.allowances import NONE, Allowance

log = logging.getLogger(__name__)

#: Pageviews that a worker may dead-letter at once: the size of the bucket.
BURST: Final = 1_000.0
#: Tokens put back per minute, so that a paused worker keeps trying and resumes once the cause is gone.
PER_MINUTE: Final = 30.0
#: Tokens put back per pageview that succeeds.
PER_GOOD: Final = 0.05
_POLL_S: Final = 0.5
#: How often a paused worker asks whether an operator allows more.
_ASK_S: Final = 2.0

Ask = Callable[[], Awaitable[Allowance]]


async def allow_nothing() -> Allowance:
    """Stand for an operator who allows nothing."""
    return NONE


class DeadLetterLimiter:
    """Admits dead letters, or makes the worker wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, ask: Ask = allow_nothing) -> None:
        self._clock = clock
        self._ask = ask
        self._ask_at = 0.0
        self._allowed = 0
        self._all_until = 0.0
        self._tokens = BURST
        self._updated = clock()
        self._paused = False

    def record_good(self, count: int) -> None:
        """Put tokens back for `count` pageviews that were stored or dropped."""
        self._tokens = min(BURST, self._tokens + count * PER_GOOD)

    async def admit(self, pageviews: int = 1) -> None:
        """Wait until one more dead letter, which counts as `pageviews`, may be published.

        One that needs more tokens than are left is admitted, and the next ones wait longer: no message is too large.
        """
        try:
            while not self._take(pageviews):
                if await self._allow_more():
                    continue
                self._set_paused(True)
                await asyncio.sleep(_POLL_S)
        finally:  # also when cancelled: the batch is abandoned, and others may take its messages
            self._set_paused(False)

    async def _allow_more(self) -> bool:
        """Ask now and then whether an operator allows more, and return whether one does."""
        if time.monotonic() < self._ask_at:
            return False
        more = await self._ask()
        self._ask_at = time.monotonic() + _ASK_S
        self._allowed = max(0, self._allowed) + more.pageviews
        if more.all_for_s > 0:
            self._all_until = self._clock() + more.all_for_s
        return more != NONE

    def _take(self, pageviews: int) -> bool:
        now = self._clock()
        if now < self._all_until:
            return True
        if self._allowed > 0:
            self._allowed -= pageviews
            return True
        self._tokens = min(BURST, self._tokens + (now - self._updated) * PER_MINUTE / 60)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= pageviews
        return True

    def _set_paused(self, paused: bool) -> None:
        if paused is self._paused:
            return
        metrics.PAUSED.labels("poison").set(int(paused))
        if paused:
            log.error(
                "paused: more than %d pageviews dead-lettered at once; is a key missing in HITLINE_QUEUE_KEYS, or a"
                " constraint new? see `hitline dead list`; continuing at %d a minute; `hitline dead allow` allows more",
                BURST,
                PER_MINUTE,
            )
        self._paused = paused
