"""Repeating what ClickHouse failed to do, for as long as it takes: an outage of any length loses nothing."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from shared import metrics
from worker.store.errors import kind_of

log = logging.getLogger(__name__)
Result = TypeVar("Result")

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0


class Retry:
    """Backs off between attempts, and says so once for each kind of failure rather than at each attempt."""

    def __init__(self) -> None:
        self._complaint = ""

    async def forever(self, operation: Callable[[], Awaitable[Result]]) -> Result:
        """Return what `operation` returns, however often it has to be tried; cancelling is the way out."""
        attempt = 0
        while True:
            try:
                result = await operation()
            except Exception as error:  # noqa: BLE001 - nothing that goes through here can be a row's fault
                await self.pause(error, attempt)
                attempt += 1
            else:
                self.succeeded()
                return result

    async def pause(self, error: Exception, attempt: int) -> None:
        """Wait after failed attempt number `attempt` (from 0): 0.2 s at first, up to 10 s."""
        kind = kind_of(error)
        metrics.INSERT_RETRIES.labels(kind).inc()
        if kind != self._complaint:
            log.warning("ClickHouse: %s; trying again until it succeeds", kind)
            self._complaint = kind
        pause_s = min(_FIRST_PAUSE_S * 2 ** min(attempt, 10), _LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))

    def succeeded(self) -> None:
        """Note that ClickHouse did what it was asked."""
        if self._complaint:
            log.info("ClickHouse: working again")
            self._complaint = ""
