"""Where rate limits are counted: in this process, or in Redis or Valkey for all gateways."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import limits
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter as SharedLimiter
from redis.exceptions import ConnectionError as ConnectionLost

from gateway.window_storage import WindowStorage
from shared import metrics

log = logging.getLogger(__name__)

#: How long shared storage may take to reply (including pauses of our own event loop, which are long while thousands of
#: requests arrive at once), and how long to wait before trying it again after a failure.
_STORAGE_TIMEOUT_S: Final = 1.0
_STORAGE_PAUSE_S: Final = 5.0
#: Connections to the shared storage; a request that needs one more waits.
_STORAGE_CONNECTIONS: Final = 64

#: A sliding window as `limits` reports it: previous count, its seconds left, current count, its seconds left.
Window = tuple[int, float, int, float]
Answer = TypeVar("Answer")


class Counter(Protocol):
    """Where the hits are counted."""

    async def hit(self, item: limits.RateLimitItem, key: str, cost: int) -> bool:
        """Charge `cost` to `key`, whole or not at all; returns whether it was charged."""

    async def window(self, item: limits.RateLimitItem, key: str) -> Window:
        """Return the state of `key`'s window."""

    async def charge(self, item: limits.RateLimitItem, key: str, cost: int) -> tuple[bool, Window]:
        """Do both: `hit`, and return the window after it."""


class LocalCounter:
    """Counts in this process's memory."""

    def __init__(self) -> None:
        self._storage = WindowStorage()

    async def hit(self, item: limits.RateLimitItem, key: str, cost: int) -> bool:
        """See `Counter`."""
        return (await self.charge(item, key, cost))[0]

    async def window(self, item: limits.RateLimitItem, key: str) -> Window:
        """See `Counter`."""
        return self.charge_at_once(item, key, 0)[1]

    async def charge(self, item: limits.RateLimitItem, key: str, cost: int) -> tuple[bool, Window]:
        """See `Counter`."""
        return self.charge_at_once(item, key, cost)

    def charge_at_once(self, item: limits.RateLimitItem, key: str, cost: int) -> tuple[bool, Window]:
        """Do the same; nothing has to be waited for here, and every single post asks."""
        amount, expiry_s = item.amount, item.get_expiry()
        return self._storage.charge(
            f"{key}/{amount}/{expiry_s}", amount, expiry_s, cost
        )  # `key_for` takes six times as long


class SharedCounter:
    """Counts in Redis or Valkey for all gateways; while that is unreachable, each process counts for itself.

    So an outage neither stops ingest nor removes the limit: N gateways then allow up to N times the limit.
    """

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {
            "socket_timeout": _STORAGE_TIMEOUT_S,
            "socket_connect_timeout": _STORAGE_TIMEOUT_S,
            "max_connections": _STORAGE_CONNECTIONS,
        }
        self._storage = RedisStorage(f"async+{url}", implementation="redispy", key_prefix="hitline", **options)
        bridge: Any = self._storage.bridge
        self._pool = bridge.get_connection().connection_pool
        self._limiter = SharedLimiter(self._storage)
        self._local = LocalCounter()
        self._slots = asyncio.Semaphore(_STORAGE_CONNECTIONS)  # the library's pool fails instead of waiting
        self._away = False
        self._retry_at = 0.0

    async def hit(self, item: limits.RateLimitItem, key: str, cost: int) -> bool:
        """See `Counter`."""
        taken = await self._ask(lambda: self._limiter.hit(item, key, cost=cost))
        return await self._local.hit(item, key, cost) if taken is None else taken

    async def window(self, item: limits.RateLimitItem, key: str) -> Window:
        """See `Counter`.

        In the last millisecond of a window Redis neither shifts nor expires it, and `hit` counts it whole.  It is
        treated as over, or a client that waited for exactly `Retry-After` seconds would be told to wait again.
        """
        window = await self._ask(lambda: self._storage.get_sliding_window(item.key_for(key), item.get_expiry()))
        if window is None:
            return await self._local.window(item, key)
        previous, previous_left_s, current, current_left_s = window
        return previous, previous_left_s, current if current_left_s else 0, current_left_s

    async def charge(self, item: limits.RateLimitItem, key: str, cost: int) -> tuple[bool, Window]:
        """See `Counter`."""
        return await self.hit(item, key, cost), await self.window(item, key)

    async def _ask(self, question: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """Return the storage's reply, or None while it is unreachable; then one request at a time tries it again."""
        trial = self._away
        if trial:
            if time.monotonic() < self._retry_at:
                return None
            self._retry_at = time.monotonic() + _STORAGE_PAUSE_S
        async with self._slots:
            if self._away and not trial:  # another request found out while this one waited
                return None
            try:
                async with asyncio.timeout(_STORAGE_TIMEOUT_S):
                    answer = await self._repeated(question)
            except Exception as error:  # noqa: BLE001 - whatever ails the storage, ingest goes on
                self._fall_back(error)
                return None
        if trial:
            self._reached()
        return answer

    async def _repeated(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask again when a pooled connection was dead: a restart or an idle timeout leaves many of them."""
        try:
            return await question()
        except ConnectionLost:
            await self._pool.disconnect(inuse_connections=False)
            return await question()

    def _fall_back(self, error: Exception) -> None:
        if not self._away:
            log.warning("rate limits: storage out of reach (%s), counting per process", type(error).__name__)
        self._away = True
        self._retry_at = time.monotonic() + _STORAGE_PAUSE_S
        metrics.RATE_LIMIT_FALLBACK.set(1)

    def _reached(self) -> None:
        log.info("rate limits: storage is back, counting for all gateways")
        self._away = False
        metrics.RATE_LIMIT_FALLBACK.set(0)
