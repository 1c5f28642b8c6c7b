"""Which messages may be judged by the registry at hand: a worker that knows too little pauses, and never drops."""

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

#: How often look-up files and rules are looked at.
_REFRESH_S: Final = 1.0
#: How often a worker that may not go on looks again.
_PAUSE_S: Final = 1.0
#: Shorter pauses are everyday: the first message behind a change of the registry.
_QUIET_S: Final = 3.0


class RegistryGate:
    """Compares messages' registry version with what this worker knows, and fetches what is missing.

    A change is known once it is in the replica and the rules in it are compiled.
    """

    def __init__(self, registry: Replica, poller: Poller, lookups: Lookups) -> None:
        self._registry = registry
        self._poller = poller
        self._lookups = lookups
        self._known = 0
        self._compiling = asyncio.Lock()
        self._asking: asyncio.Task[None] | None = None
        self._waiting: set[Callable[[], None]] = set()
        self._paused_at: float | None = None
        self._told = False

    def passes(self, wanted: int) -> bool:
        """Tell whether a message with this registry version may be judged now."""
        return self._known > 0 and self._known >= wanted

    def ask(self, then: Callable[[], None]) -> None:
        """Fetch what is missing, off the caller's way, and call `then` when it is worth trying again."""
        self._waiting.add(then)
        if self._asking is None:
            self._pause()
            self._asking = asyncio.create_task(self._ask())

    def passed(self) -> None:
        """Note that a message was judged: whatever was in the way is gone."""
        if self._paused_at is not None:
            self._paused_at = None
            metrics.PAUSED.labels("registry").set(0)
            if self._told:
                log.info("going on: the registry is fit to judge by again")
            self._told = False

    def _pause(self) -> None:
        now = asyncio.get_running_loop().time()
        self._paused_at = self._paused_at or now
        if now - self._paused_at < _QUIET_S:
            return
        metrics.PAUSED.labels("registry").set(1)
        if not self._told:
            self._told = True
            log.warning(
                "paused: the registry is empty, can't be read, or is older than the next message's; if ClickHouse was"
                " restored from a backup, any change (`hitline site add`) makes its registry the newest again"
            )

    async def _ask(self) -> None:
        try:
            known = self._known
            if await self._poller.refresh():
                await self._compile()
            if self._known == known:
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._asking = None
        waiting, self._waiting = self._waiting, set()
        for then in waiting:
            then()

    async def _compile(self) -> None:
        async with self._compiling:
            version = self._registry.version
            await asyncio.to_thread(self._lookups.refresh)
            self._known = version

    async def run(self) -> None:
        """Take up changes about once a second, until cancelled."""
        try:
            while True:
                await self._compile()
                await asyncio.sleep(_REFRESH_S)
        finally:
            if self._asking is not None:
                self._asking.cancel()
