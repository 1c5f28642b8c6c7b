"""Rate limits by API client, and by address for requests without a valid token, with the `limits` library.

The strategy is `limits`' sliding window counter: constant memory per client, and a batch is charged whole or not at
all.  A limit's window is extended until its burst is large enough: a rate of 600/second is counted as 50,400 in 84
seconds, so that the largest batch fits.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

import limits
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter as SharedLimiter
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter as LocalLimiter
from redis.exceptions import ConnectionError as ConnectionLost

from gateway.items import MAX_ITEMS
from gateway.replies import Reason, Rejected
from gateway.validate import MAX_BODY_BYTES
from shared import metrics
from shared.registry import Client

log = logging.getLogger(__name__)

#: Pageviews that every client may send at once, and those of one whose rate is at least `_FAST_PER_SECOND`: any batch.
MIN_BURST: Final = 1_000
_FAST_BURST: Final = MAX_ITEMS
_FAST_PER_SECOND: Final = 500
#: Bytes of a refused batch that are charged like a pageview.
_REFUSED_BYTES: Final = 1024
#: Requests without a valid token that one address may send.
_FAILURES: Final = limits.parse("100/minute")
#: How long shared storage may take to reply (including pauses of our own event loop, which are long while thousands of
#: requests arrive at once), and how long to wait before trying it again after a failure.
_STORAGE_TIMEOUT_S: Final = 1.0
_STORAGE_PAUSE_S: Final = 5.0
#: Redis has a resolution of milliseconds.
_LAST_MOMENT_S: Final = 0.002
#: Connections to the shared storage; a request that needs one more waits.
_STORAGE_CONNECTIONS: Final = 64

#: A sliding window as `limits` reports it: previous count, its seconds left, current count, its seconds left.
Window = tuple[int, float, int, float]
Answer = TypeVar("Answer")


@lru_cache(maxsize=4096)
def with_burst(rate: str, burst: int = 0) -> limits.RateLimitItem:
    """Return the rate with its window extended until the burst is large enough, and at least `burst`."""
    item = limits.parse(rate)
    fast = item.amount >= _FAST_PER_SECOND * item.get_expiry()
    times = math.ceil(max(burst, _FAST_BURST if fast else MIN_BURST) / item.amount)
    return type(item)(item.amount * times, item.multiples * times)


@dataclass(frozen=True, slots=True)
class Budget:
    """A client's rate limit: pageviews per window, remaining now, seconds until the window is empty again."""

    limit: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """Return the `RateLimit-*` headers (draft-ietf-httpapi-ratelimit-headers-03)."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }


def budget_of(item: limits.RateLimitItem, window: Window) -> Budget:
    """Return what is left of `item` in `window`."""
    previous, previous_left_s, current, current_left_s = window
    used = math.floor(previous * previous_left_s / item.get_expiry()) + current
    # `limits` reports the time until the window no longer counts, which is the end of the next window.
    reset_s = current_left_s if current else previous_left_s if previous else 0.0
    return Budget(item.amount, max(0, item.amount - used), math.ceil(reset_s))


def wait_s(item: limits.RateLimitItem, window: Window, cost: int) -> int:
    """Return the seconds (rounded up, at least 1) after which `cost` fits if nothing else is charged meanwhile.

    The inverse of the sliding window's rule: the previous window's count decreases linearly during the current one.
    """
    previous, previous_left_s, current, current_left_s = window
    expiry_s = item.get_expiry()
    free = item.amount - cost
    if current <= free:  # it fits once the previous window counts for little enough
        wait = previous_left_s - (free - current) * expiry_s / previous if previous else 0.0
    else:  # not in this window; in the next one the current count decreases
        wait = (current_left_s - expiry_s) + expiry_s * (1 - free / current)
    return max(1, math.ceil(wait))


class Counter(Protocol):
    """Where the hits are counted."""

    async def hit(self, item: limits.RateLimitItem, key: str, cost: int) -> bool:
        """Charge `cost` to `key`, whole or not at all; returns whether it was charged."""

    async def window(self, item: limits.RateLimitItem, key: str) -> Window:
        """Return the state of `key`'s window."""


class LocalCounter:
    """Counts in this process's memory."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._limiter = LocalLimiter(self._storage)

    async def hit(self, item: limits.RateLimitItem, key: str, cost: int) -> bool:
        """See `Counter`."""
        return self._limiter.hit(item, key, cost=cost)

    async def window(self, item: limits.RateLimitItem, key: str) -> Window:
        """See `Counter`."""
        return self._storage.get_sliding_window(item.key_for(key), item.get_expiry())


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


class RateLimiter:
    """Charges API clients for pageviews, and addresses for failed tokens."""

    def __init__(self, default_rate: str, storage_url: str = "") -> None:
        self._default_rate = default_rate
        self._counter: Counter = SharedCounter(storage_url) if storage_url else LocalCounter()
        self._failures = LocalCounter()

    async def charge(self, client: Client, cost: int = 1) -> Budget:
        """Charge `cost` pageviews to the client and return what is left; raises `Rejected` (429)."""
        item = self._limit_of(client)
        taken, window, budget = await self._hit(item, client, cost)
        if not taken:
            raise self._refusal(item, window, cost, budget)
        return budget

    async def charge_first(self, client: Client) -> Budget:
        """Charge a batch's first pageview, before anything of the batch is read; raises `Rejected` (429).

        So whatever becomes of the batch, it has cost something.  How many more there are is not known yet: Retry-After
        is the time after which a batch of usual size fits.
        """
        item = self._limit_of(client)
        taken, window, budget = await self._hit(item, client, 1)
        if not taken:
            raise self._refusal(item, window, MIN_BURST, budget)
        return budget

    async def charge_rest(self, client: Client, pageviews: int, size: int) -> Budget:
        """Charge what a batch of so many pageviews and bytes costs beyond its first; return what is left.

        Raises `Rejected`: 429, or 413 for more than the client may ever send at once; then it is charged by its bytes.
        A batch costs as if none of its items were over the limit of one.
        """
        item = self._limit_of(client)
        if pageviews > item.amount:
            budget = await self.charge_refused(client, size)
            raise Rejected(
                Reason.TOO_LARGE,
                f"body: {pageviews} pageviews are more than the {item.amount} that this API client may send at once; "
                "send smaller batches (operators: hitline client limit --burst)",
                budget.headers(),
            )
        cost = min(max(pageviews, size // MAX_BODY_BYTES, 1), item.amount)
        taken, window, budget = await self._hit(item, client, cost - 1)
        if not taken:
            budget = await self.charge_refused(client, size)
            window = await self._counter.window(item, client.client_id.hex())
            raise self._refusal(item, window, cost, budget)
        return budget

    async def charge_refused(self, client: Client, size: int) -> Budget:
        """Charge a batch that was refused for the work it made: a pageview per KiB, or what is left of the budget."""
        item = self._limit_of(client)
        key = client.client_id.hex()
        budget = budget_of(item, await self._counter.window(item, key))
        cost = min(size // _REFUSED_BYTES, budget.remaining)
        if cost > 0 and await self._counter.hit(item, key, cost):
            budget = budget_of(item, await self._counter.window(item, key))
        return budget

    def _limit_of(self, client: Client) -> limits.RateLimitItem:
        return with_burst(client.rate or self._default_rate, client.burst)

    async def _hit(self, item: limits.RateLimitItem, client: Client, cost: int) -> tuple[bool, Window, Budget]:
        """Charge `cost`, whole or not at all; returns whether it was charged, and what is left."""
        key = client.client_id.hex()
        taken = not cost or await self._counter.hit(item, key, cost)
        window = await self._counter.window(item, key)
        budget = budget_of(item, window)
        if not taken and cost <= budget.remaining:  # it fits by now: see `SharedCounter.window`
            await asyncio.sleep(_LAST_MOMENT_S)
            taken = await self._counter.hit(item, key, cost)
            window = await self._counter.window(item, key)
            budget = budget_of(item, window)
        return taken, window, budget

    @staticmethod
    def _refusal(item: limits.RateLimitItem, window: Window, cost: int, budget: Budget) -> Rejected:
        headers = {**budget.headers(), "Retry-After": str(wait_s(item, window, cost))}
        return Rejected(Reason.RATE_LIMITED, headers=headers)

    async def charge_failure(self, address: str) -> None:
        """Count a request with a wrong token against its address; raises `Rejected` (429) after too many."""
        if not await self._failures.hit(_FAILURES, address, 1):
            window = await self._failures.window(_FAILURES, address)
            headers = {
                **budget_of(_FAILURES, window).headers(),
                "Retry-After": str(wait_s(_FAILURES, window, 1)),
            }
            raise Rejected(Reason.TOO_MANY_FAILURES, headers=headers)
