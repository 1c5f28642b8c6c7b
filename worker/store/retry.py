"""Retrying operations on ClickHouse for as long as it takes: an outage of any length loses nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from shared import metrics
from shared.backoff import Backoff
from shared.clickhouse_address import ClickHouseAddress
from shared.clickhouse_errors import explain
from worker.store.errors import kind_of

log = logging.getLogger(__name__)
Result = TypeVar("Result")

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0


class Retry:
    """Pauses between attempts; logs each kind of failure once, not at each attempt.

    Between two attempts at an insert is a look-up, which may succeed while inserts are refused: so failures are noted
    by operation, and ClickHouse works again once none of them fails any more.
    """

    def __init__(self, address: ClickHouseAddress) -> None:
        self._address = address
        self._failing: set[str] = set()
        self._logged_kind = ""

    @staticmethod
    def backoff() -> Backoff:
        """Return the pauses for one operation: 0.2 s at first, up to 10 s."""
        return Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)

    async def until_done(self, operation: Callable[[], Awaitable[Result]], name: str) -> Result:
        """Return what `operation` returns, trying until it succeeds; only cancelling ends it."""
        backoff = self.backoff()
        while True:
            try:
                result = await operation()
            except Exception as error:  # noqa: BLE001 - no operation here can fail because of a row
                await self.pause(error, backoff, name)
            else:
                self.succeeded(name)
                return result

    async def pause(self, error: Exception, backoff: Backoff, name: str) -> None:
        """Count and log a failed attempt at the operation `name`, then wait as long as `backoff` says."""
        kind = kind_of(error)
        metrics.INSERT_RETRIES.labels(kind).inc()
        self._failing.add(name)
        if kind != self._logged_kind:
            log.warning("%s; %s is repeated until it succeeds", explain(error, self._address), name)
            self._logged_kind = kind
        await asyncio.sleep(backoff.next_s())

    def succeeded(self, name: str) -> None:
        """Note that an attempt at the operation `name` succeeded."""
        if not self._failing:
            return
        self._failing.discard(name)
        if not self._failing:
            log.info("ClickHouse: working again")
            self._logged_kind = ""
