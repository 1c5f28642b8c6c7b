"""Rate limits by API client, and by address for requests without a valid token, with the `limits` library.

The strategy is `limits`' sliding window counter: constant memory per client, and a batch is charged whole or not at
all.  A limit's window is extended until its burst is large enough: a rate of 600/second is counted as 50,400 in 84
seconds, so that the largest batch fits.
"""

from __future__ import annotations

import asyncio
import logging
import math
from functools import lru_cache
from typing import Final, NamedTuple

import limits

from gateway.failures import FailureCounter
from gateway.items import MAX_ITEMS
from gateway.rate_counters import Counter, LocalCounter, SharedCounter, Window
from gateway.replies import Reason, Rejected
from gateway.validate import MAX_BODY_BYTES
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
#: Redis has a resolution of milliseconds.
_LAST_MOMENT_S: Final = 0.002


@lru_cache(maxsize=4096)
def with_burst(rate: str, burst: int = 0) -> limits.RateLimitItem:
    """Return the rate with its window extended until the burst is large enough, and at least `burst`."""
    item = limits.parse(rate)
    fast = item.amount >= _FAST_PER_SECOND * item.get_expiry()
    times = math.ceil(max(burst, _FAST_BURST if fast else MIN_BURST) / item.amount)
    return type(item)(item.amount * times, item.multiples * times)


class Budget(NamedTuple):
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


class RateLimiter:
    """Charges API clients for pageviews, and addresses for failed tokens."""

    def __init__(self, default_rate: str, storage_url: str = "") -> None:
        self._default_rate = default_rate
        self._counter: Counter = SharedCounter(storage_url) if storage_url else LocalCounter()
        self._failures = FailureCounter(_FAILURES.amount, _FAILURES.get_expiry())

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
        taken, window = await self._charge(item, key, cost)
        budget = budget_of(item, window)
        if not taken and cost <= budget.remaining:  # it fits by now: see `SharedCounter.window`
            await asyncio.sleep(_LAST_MOMENT_S)
            taken, window = await self._charge(item, key, cost)
            budget = budget_of(item, window)
        return taken, window, budget

    async def _charge(self, item: limits.RateLimitItem, key: str, cost: int) -> tuple[bool, Window]:
        if not cost:
            return True, await self._counter.window(item, key)
        if type(self._counter) is LocalCounter:
            return self._counter.charge_at_once(item, key, cost)
        return await self._counter.charge(item, key, cost)

    @staticmethod
    def _refusal(item: limits.RateLimitItem, window: Window, cost: int, budget: Budget) -> Rejected:
        headers = {**budget.headers(), "Retry-After": str(wait_s(item, window, cost))}
        return Rejected(Reason.RATE_LIMITED, headers=headers)

    async def charge_failure(self, address: str) -> None:
        """Count a request with a wrong token against its address; raises `Rejected` (429) after too many."""
        if not self._failures.hit(address):
            window = self._failures.window(address)
            headers = {
                **budget_of(_FAILURES, window).headers(),
                "Retry-After": str(wait_s(_FAILURES, window, 1)),
            }
            raise Rejected(Reason.TOO_MANY_FAILURES, headers=headers)
