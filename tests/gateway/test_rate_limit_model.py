"""Rate limits beside a model that counts all charges each time: what is let through, what is left, how long to wait."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItem

from gateway.rate_limit import RateLimiter, budget_of, wait_s, with_burst
from gateway.replies import Rejected
from shared.registry import Client
from tests.gateway.test_rate_limit import BEGAN, Clock


class Model:
    """A sliding window counter: of the window before, what is left of it by time counts as well."""

    def __init__(self, item: RateLimitItem) -> None:
        self.limit, self.seconds = item.amount, item.get_expiry()
        self._charges: list[tuple[float, int]] = []

    def used(self, at: float) -> float:
        window = at // self.seconds
        current = sum(cost for when, cost in self._charges if when // self.seconds == window)
        previous = sum(cost for when, cost in self._charges if when // self.seconds == window - 1)
        return current + previous * (self.seconds - at % self.seconds) / self.seconds

    def remaining(self, at: float) -> int:
        return max(0, self.limit - math.floor(self.used(at)))

    def charge(self, at: float, cost: int) -> bool:
        fits = math.floor(self.used(at)) + cost <= self.limit
        if fits:
            self._charges.append((at, cost))
        return fits

    def waits(self, at: float, cost: int) -> tuple[int, int]:
        """Return the first whole second after which it fits, and after which it does also without rounding."""
        seconds = range(1, 2 * self.seconds + 2)
        rounded = next(wait for wait in seconds if math.floor(self.used(at + wait)) + cost <= self.limit)
        exact = next(wait for wait in seconds if self.used(at + wait) + cost <= self.limit + 1e-6)
        return rounded, exact


RATES = ("1000/minute", "250/second", "7000/minute", "1000 per 7 second")


@pytest.fixture
def clock() -> Iterator[Clock]:
    fake = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", fake)
        yield fake


charges = st.lists(st.tuples(st.floats(0, 90), st.integers(0, 1), st.integers(1, 1000)), min_size=1, max_size=25)


@given(rates=st.tuples(*[st.sampled_from(RATES)] * 2), charges=charges)
async def test_two_clients_are_let_through_as_by_the_model_each_by_its_own_budget(
    rates: tuple[str, str], charges: list[tuple[float, int, int]]
) -> None:
    clients = [Client(bytes([number]) * 16, "client", rate) for number, rate in enumerate(rates)]
    models = [Model(with_burst(rate)) for rate in rates]
    clock, limiter = Clock(), RateLimiter("1/day")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", clock)
        for pause, which, cost in charges:
            clock.now += pause
            model = models[which]
            fits = model.charge(clock.now, cost)
            refused = None
            try:
                budget = await limiter.charge(clients[which], cost)
            except Rejected as error:
                refused = error
            assert fits is (refused is None)
            if refused is None:
                assert (budget.limit, budget.remaining) == (model.limit, model.remaining(clock.now))
                continue
            assert refused.headers["RateLimit-Remaining"] == str(model.remaining(clock.now))
            rounded, exact = model.waits(clock.now, cost)
            assert rounded <= int(refused.headers["Retry-After"]) <= exact, "true, and no longer"


@pytest.mark.parametrize(("charged", "later_s", "reset"), [(0, 0, 0), (5, 0, 90), (5, 30, 60), (5, 60, 30), (5, 90, 0)])
async def test_a_window_is_empty_again_once_the_next_is_over(
    clock: Clock, charged: int, later_s: int, reset: int
) -> None:
    """`RateLimit-Reset`, from 30 s into a window of a minute on."""
    clock.now = BEGAN - BEGAN % 60 + 30
    limiter, client = RateLimiter("1000/minute"), Client(b"\1" * 16, "client")
    if charged:
        await limiter.charge(client, charged)
    clock.now += later_s
    assert (await limiter.charge_rest(client, 1, size=1)).reset_s == reset, "the first is charged already"


async def test_each_charge_is_what_it_is_said_to_be(clock: Clock) -> None:
    limiter, client = RateLimiter("1000/hour"), Client(b"\1" * 16, "client")
    assert (await limiter.charge(client)).remaining == 999
    assert (await limiter.charge_first(client)).remaining == 998
    with pytest.raises(Rejected) as refused:
        await limiter.charge_rest(client, 1001, size=2048)
    assert refused.value.headers == {
        "RateLimit-Limit": "1000", "RateLimit-Remaining": "996",
        "RateLimit-Reset": str(7200 - int(BEGAN) % 3600),
    }  # fmt: skip
    assert refused.value.text == (
        "body: 1001 pageviews are more than the 1000 that this API client may send at once; "
        "send smaller batches (operators: hitline client limit --burst)"
    )


class NearlyOver:
    """A counter that refuses a charge at the end of a window, which is over when it is looked at."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int]] = []

    async def charge(self, item: RateLimitItem, key: str, cost: int) -> tuple[bool, Any]:
        self.asked.append((str(item), key, cost))
        return len(self.asked) > 1, (0, 0.0, 10 * len(self.asked), 60.0)


async def test_what_fits_by_now_is_charged_again_before_it_is_refused() -> None:
    limiter, client = RateLimiter("1000/minute"), Client(b"\1" * 16, "client")
    counter: Any = NearlyOver()
    limiter._counter = counter
    budget = await limiter.charge(client, 7)
    assert counter.asked == [("1000 per 1 minute", "01" * 16, 7)] * 2
    assert (budget.limit, budget.remaining, budget.reset_s) == (1000, 980, 60)


async def test_what_does_not_fit_is_not_charged_again() -> None:
    limiter, client = RateLimiter("1000/minute"), Client(b"\1" * 16, "client")
    counter: Any = NearlyOver()
    limiter._counter = counter
    with pytest.raises(Rejected):
        await limiter.charge(client, 991)
    assert len(counter.asked) == 1


def test_nothing_is_waited_for_beyond_the_window_in_which_it_fits() -> None:
    item = with_burst("1000/minute")
    assert wait_s(item, (0, 0.0, 1000, 90.0), 1000) == 90, "all of it"
    assert wait_s(item, (1000, 30.0, 0, 90.0), 1000) == 30
    assert wait_s(item, (1000, 30.0, 600, 90.0), 100) == 12, "300 of the window before count no longer than 18 s"
    assert budget_of(item, (1000, 30.0, 600, 90.0)).remaining == 0
