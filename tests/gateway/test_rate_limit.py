"""The arithmetic of rate limits: bursts, what is left, and a Retry-After that is true."""

from __future__ import annotations

import time
import tracemalloc
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.storage import MemoryStorage

from gateway import rate_limit
from gateway.failures import FailureCounter
from gateway.rate_counters import LocalCounter
from gateway.rate_limit import MIN_BURST, RateLimiter, budget_of, wait_s, with_burst
from gateway.replies import Reason, Rejected
from gateway.window_storage import WindowStorage
from shared.registry import Client

BEGAN = 1_700_000_000.0


class Clock:
    """Stands in for `time.time`, by which the library counts."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(time, "time", fake)
    return fake


def client(rate: str) -> Client:
    return Client(b"\1" * 16, "client", rate)


@pytest.mark.parametrize(
    ("rate", "amount", "seconds"),
    [
        ("600/second", 50_400, 84),
        ("500/second", 50_000, 100),
        ("499/second", 1497, 3),
        ("5000/second", 50_000, 10),
        ("100000/second", 100_000, 1),
        ("1/second", 1000, 1000),
        ("300 per 2 second", 1200, 8),
        ("20000/minute", 20000, 60),
        ("30000/minute", 60_000, 120),
        ("1/day", 1000, 86_400_000),
    ],
)
def test_a_burst_is_at_least_a_batch_and_the_rate_stays(rate: str, amount: int, seconds: int) -> None:
    item = with_burst(rate)

    assert (item.amount, item.get_expiry()) == (amount, seconds)
    assert item.amount >= MIN_BURST


async def test_a_burst_of_its_own_lets_a_slow_client_send_larger_batches(clock: Clock) -> None:
    limiter = RateLimiter("1000/second")
    slow = Client(b"\3" * 16, "slow", "10/minute", burst=20_000)

    assert (await limiter.charge_rest(slow, 20_000, size=1)).limit == 20_000
    with pytest.raises(Rejected) as rejected:
        await limiter.charge_rest(slow, 20_001, size=1)
    assert (rejected.value.reason.status, "20000" in rejected.value.text) == (413, True)


async def test_a_request_over_the_limit_is_refused_whole_and_costs_nothing(clock: Clock) -> None:
    limiter = RateLimiter("1000/hour")

    assert (await limiter.charge(client(""), 700)).remaining == 300
    with pytest.raises(Rejected) as refused:
        await limiter.charge(client(""), 301)
    assert refused.value.headers["RateLimit-Remaining"] == "300"
    assert (await limiter.charge(client(""), 300)).remaining == 0
    with pytest.raises(Rejected):
        await limiter.charge_first(client(""))


async def test_clients_do_not_share_a_budget_and_their_own_rate_counts(clock: Clock) -> None:
    limiter = RateLimiter("1000/hour")
    other = Client(b"\2" * 16, "other", "2000/hour")

    await limiter.charge(client(""), 1000)
    assert (await limiter.charge(other, 1000)).remaining == 1000


hits = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 1000)), max_size=12)


@given(
    rate=st.sampled_from(["1000 per 2 second", "250/second", "300/second", "7000/minute"]),
    hits=hits,
    cost=st.integers(1, 1000),
)
async def test_a_client_that_waits_for_retry_after_succeeds(
    rate: str, hits: list[tuple[float, int]], cost: int
) -> None:
    clock, counter, item = Clock(), LocalCounter(), with_burst(rate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", clock)
        for pause, amount in hits:
            clock.now += pause
            await counter.hit(item, "key", amount)
        if await counter.hit(item, "key", cost):
            return
        window = await counter.window(item, "key")
        assert budget_of(item, window).remaining < cost
        clock.now += wait_s(item, window, cost)
        assert await counter.hit(item, "key", cost)


@given(hits=hits)
async def test_no_window_lets_more_than_the_burst_pass(hits: list[tuple[float, int]]) -> None:
    clock, counter, item = Clock(), LocalCounter(), with_burst("1000 per 3 second")
    taken: list[tuple[float, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", clock)
        for pause, amount in hits:
            clock.now += pause
            if await counter.hit(item, "key", amount):
                taken.append((clock.now, amount))
    for start, _ in taken:
        window = int(start) // item.get_expiry()
        assert sum(amount for moment, amount in taken if int(moment) // item.get_expiry() == window) <= item.amount


def test_failures_are_counted_by_address_in_a_sliding_window(clock: Clock) -> None:
    clock.now = 6_000_000.0  # the beginning of a window
    counter = FailureCounter(100, 60)

    assert [counter.hit("192.0.2.1") for _ in range(101)] == [True] * 100 + [False]
    assert counter.hit("192.0.2.2")
    clock.now += 60 + 30
    assert [counter.hit("192.0.2.1") for _ in range(51)] == [True] * 50 + [False]
    clock.now += 1000
    assert counter.hit("192.0.2.1")


async def test_after_too_many_wrong_tokens_retry_after_is_true_and_the_shortest_wait(clock: Clock) -> None:
    clock.now = 6_000_000.0  # the beginning of a window of a minute, which 100 wrong tokens fill
    limiter = RateLimiter("1000/hour")
    for _ in range(100):
        await limiter.charge_failure("192.0.2.1")
    with pytest.raises(Rejected) as refused:
        await limiter.charge_failure("192.0.2.1")

    assert refused.value.reason is Reason.TOO_MANY_FAILURES
    assert refused.value.headers["Retry-After"] == "61", "a hundredth of the window has to be over"
    clock.now += int(refused.value.headers["Retry-After"])
    await limiter.charge_failure("192.0.2.1")


def test_failures_of_many_addresses_take_no_more_memory(clock: Clock) -> None:
    counter = FailureCounter(100, 60)
    counter.hit("192.0.2.1")
    tracemalloc.start()
    try:
        for number in range(100_000):
            counter.hit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


@given(hits=hits, seconds=st.sampled_from([1, 3, 60]))
async def test_memory_of_our_own_counts_as_the_library_s(hits: list[tuple[float, int]], seconds: int) -> None:
    clock, mine, theirs = Clock(), WindowStorage(), MemoryStorage()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", clock)
        for pause, amount in hits:
            clock.now += pause
            taken = [each.acquire_sliding_window_entry("key", 1000, seconds, amount) for each in (mine, theirs)]
            assert taken[0] == taken[1]
            windows = [each.get_sliding_window("key", seconds) for each in (mine, theirs)]
            assert windows[0] == pytest.approx(windows[1], abs=1e-3)


def test_keys_that_are_idle_are_dropped_little_by_little(clock: Clock) -> None:
    storage = WindowStorage()
    for number in range(1_000):
        storage.acquire_sliding_window_entry(f"idle {number}", 10, 1)
    storage.acquire_sliding_window_entry("long", 10, 86_400)
    clock.now += 100
    for _ in range(1_000):
        storage.acquire_sliding_window_entry("busy", 10_000, 1)
    assert len(storage) == 2
    assert storage.get("long") == 1


def test_a_charge_costs_the_same_at_many_keys() -> None:
    """By the operations that it takes, not by a clock: no key is looked at but two."""
    storage = WindowStorage()
    for number in range(50_000):
        storage.acquire_sliding_window_entry(f"key {number}", 10, 3_600)
    looked_at: list[str] = []
    storage._counts = Listening(storage._counts, looked_at)
    storage.acquire_sliding_window_entry("key 7", 10, 3_600)
    assert len(looked_at) <= 8


class Listening(OrderedDict[str, Any]):
    """Notes each access."""

    def __init__(self, other: OrderedDict[str, Any], looked_at: list[str]) -> None:
        super().__init__(other)
        self._looked_at = looked_at

    def move_to_end(self, key: str, last: bool = True) -> None:
        self._looked_at.append(key)
        super().move_to_end(key, last)

    def __delitem__(self, key: str) -> None:
        self._looked_at.append(key)
        super().__delitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._looked_at.append(key)
        return super().get(key, default)


@given(
    rate=st.sampled_from(["1000/minute", "250/second", "600/second", "7000/minute"]),
    steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 3000), st.integers(0, 300_000)), min_size=1, max_size=8),
)
async def test_batches_at_any_budget_are_told_a_wait_after_which_they_fit(
    rate: str, steps: list[tuple[float, int, int]]
) -> None:
    """As the gateway charges one: its first pageview, then the rest, whole; also where nothing at all is left."""
    clock, limiter, sender = Clock(), RateLimiter(rate), client(rate)
    limit = with_burst(rate).amount
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", clock)

        async def send(pageviews: int, size: int) -> Rejected | None:
            try:
                await limiter.charge_first(sender)
                await limiter.charge_rest(sender, pageviews, size)
            except Rejected as rejected:
                return rejected
            return None

        for pause, pageviews, size in steps:
            clock.now += pause
            refused = await send(pageviews, size)
            if pageviews > limit:
                assert refused is not None
                assert refused.reason in (Reason.TOO_LARGE, Reason.RATE_LIMITED)
            elif refused is not None:
                assert refused.reason is Reason.RATE_LIMITED
                assert 0 <= int(refused.headers["RateLimit-Remaining"]) < max(pageviews, 1)
                waits = 0
                while (refused := await send(pageviews, size)) is not None:
                    clock.now += int(refused.headers["Retry-After"])
                    waits += 1
                    # One that was refused before it was read is told when a batch of usual size fits.
                    assert waits <= (1 if pageviews <= MIN_BURST else 2)


def test_bursts_and_what_a_refused_batch_costs_are_those_of_the_documents() -> None:
    assert (MIN_BURST, rate_limit._FAST_BURST, rate_limit._FAST_PER_SECOND) == (1_000, 50_000, 500)
    assert rate_limit._REFUSED_BYTES == 1024
    assert str(rate_limit._FAILURES) == "100 per 1 minute"


async def test_a_refused_batch_is_charged_by_its_bytes_and_never_more_than_is_left(clock: Clock) -> None:
    limiter = RateLimiter("1000/hour")
    assert (await limiter.charge_refused(client(""), 1023)).remaining == 1000
    assert (await limiter.charge_refused(client(""), 1024)).remaining == 999
    assert (await limiter.charge_refused(client(""), 10 * 1024)).remaining == 989
    assert (await limiter.charge_refused(client(""), 10**9)).remaining == 0
    assert (await limiter.charge_refused(client(""), 10**9)).remaining == 0


async def test_a_batch_costs_its_items_or_its_bytes_whichever_is_more(clock: Clock) -> None:
    limiter = RateLimiter("1000/hour")
    assert (await limiter.charge_rest(client(""), 10, size=1)).remaining == 991
    assert (await limiter.charge_rest(client(""), 1, size=11 * 64 * 1024)).remaining == 981
    assert (await limiter.charge_rest(client(""), 0, size=0)).remaining == 981
    with pytest.raises(Rejected) as refused:
        await limiter.charge_rest(client(""), 983, size=5 * 1024)
    assert refused.value.reason is Reason.RATE_LIMITED
    assert refused.value.headers["RateLimit-Remaining"] == "976", "what was refused is charged by its bytes"


async def test_headers_of_every_answer_say_limit_remaining_and_reset(clock: Clock) -> None:
    limiter = RateLimiter("1000/hour")
    clock.now = BEGAN - BEGAN % 3600 + 600  # ten minutes into a window
    budget = await limiter.charge(client(""), 400)
    assert budget.headers() == {"RateLimit-Limit": "1000", "RateLimit-Remaining": "600", "RateLimit-Reset": "6600"}
    clock.now += 3600
    assert (await limiter.charge(client(""), 1)).remaining == 1000 - 1 - int(400 * 3000 / 3600)
