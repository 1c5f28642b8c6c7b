"""Whether the registry is new enough to process a message.

A worker whose registry is missing, or older than a message's, fetches it and pauses meanwhile; it never drops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from shared import metrics
from shared.registry import Replica
from shared.registry.poll import Poller
from worker.lookups.lookups import Lookups

log = logging.getLogger(__name__)

#: Time between checks for changed look-up files and exclusion rules.
_REFRESH_S: Final = 1.0
#: Time between attempts to fetch a registry version that this worker lacks.
_RETRY_S: Final = 1.0
#: Shorter pauses are normal, for the first message after each change of the registry, and are not logged.
_QUIET_S: Final = 3.0


class RegistryGate:
    """Compares messages' registry version with the worker's own, and fetches what is missing.

    The worker's version is the newest that is in the replica and whose exclusion rules are compiled.
    """

    def __init__(self, registry: Replica, poller: Poller, lookups: Lookups) -> None:
        self._registry = registry
        self._poller = poller
        self._lookups = lookups
        self._version = 0
        self._compiling = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._waiting: set[Callable[[], None]] = set()
        self._paused_at: float | None = None
        self._logged = False

    def allows(self, version: int) -> bool:
        """Return whether a message with this registry version may be processed now."""
        self._poller.used()
        return self._version > 0 and self._version >= version

    def refresh(self, when_ready: Callable[[], None]) -> None:
        """Fetch what is missing in the background, and call `when_ready` when it is worth trying again."""
        self._waiting.add(when_ready)
        if self._refreshing is None:
            self._pause()
            self._refreshing = asyncio.create_task(self._refresh())

    def resume(self) -> None:
        """End the pause, if there is one: a message was processed."""
        if self._paused_at is not None:
            self._paused_at = None
            metrics.PAUSED.labels("registry").set(0)
            if self._logged:
                log.info("resumed: the registry is readable and new enough again")
            self._logged = False

    def _pause(self) -> None:
        now = asyncio.get_running_loop().time()
        self._paused_at = self._paused_at or now
        if now - self._paused_at < _QUIET_S:
            return
        metrics.PAUSED.labels("registry").set(1)
        if not self._logged:
            self._logged = True
            log.warning(
                "paused: the registry is empty, can't be read, or is older than the next message's (or a salt of"
                " derived sessions is not there); if ClickHouse was"
                " restored from a backup, any change (`hitline site add`) makes its registry the newest again"
            )

    async def _refresh(self) -> None:
        try:
            version = self._version
            if await self._poller.refresh():
                await self._compile()
            if self._version == version:
                await asyncio.sleep(_RETRY_S)
        finally:
            self._refreshing = None
        waiting, self._waiting = self._waiting, set()
        for when_ready in waiting:
            when_ready()

    async def _compile(self) -> None:
        async with self._compiling:
            version = self._registry.version
            await asyncio.to_thread(self._lookups.refresh)
            self._version = version

    async def run(self) -> None:
        """Load changed files and rules about once a second, until cancelled."""
        try:
            while True:
                await self._compile()
                await asyncio.sleep(_REFRESH_S)
        finally:
            if self._refreshing is not None:
                self._refreshing.cancel()
