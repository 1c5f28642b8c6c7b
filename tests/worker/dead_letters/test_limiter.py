"""How many dead letters a worker may write before it pauses."""

from __future__ import annotations

import asyncio

import pytest

from shared import metrics
from worker.dead_letters.allowances import NONE, Allowance
from worker.dead_letters.limiter import BURST, PER_GOOD, PER_MINUTE, DeadLetterLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def admitted(limiter: DeadLetterLimiter, most: int) -> int:
    for count in range(most):
        try:
            async with asyncio.timeout(0.01):
                await limiter.admit()
        except TimeoutError:
            return count
    return most


async def test_a_burst_is_admitted_and_then_some_a_minute() -> None:
    clock = Clock()
    limiter = DeadLetterLimiter(clock)
    assert await admitted(limiter, 2_000) == BURST
    clock.now += 60
    assert await admitted(limiter, 2_000) == PER_MINUTE


@pytest.mark.parametrize(("good_for_each", "pauses"), [(1 / PER_GOOD, False), (0.5 / PER_GOOD, True)])
async def test_poison_among_enough_good_pageviews_never_pauses(good_for_each: float, pauses: bool) -> None:
    limiter = DeadLetterLimiter(Clock())
    count = 0
    for _ in range(5_000):
        limiter.record_good(round(good_for_each))
        if not await admitted(limiter, 1):
            break
        count += 1
    assert (count < 5_000) is pauses


async def test_messages_count_for_their_pageviews_and_none_is_too_large() -> None:
    clock = Clock()
    limiter = DeadLetterLimiter(clock)
    for _ in range(3):
        async with asyncio.timeout(0.01):
            await limiter.admit(400)
    assert await admitted(limiter, 1) == 0
    clock.now += (200 + 1) / PER_MINUTE * 60
    assert await admitted(limiter, 2) == 1


async def test_a_pause_ends_when_its_batch_is_given_up() -> None:
    limiter = DeadLetterLimiter(Clock())
    await limiter.admit(round(BURST))
    assert await admitted(limiter, 1) == 0
    assert metrics.PAUSED.labels("poison")._value.get() == 0


async def test_an_operator_lets_a_paused_worker_go_on() -> None:
    clock = Clock()
    allowed = [Allowance(7, 0), NONE, Allowance(0, 60)]

    async def ask() -> Allowance:
        return allowed.pop(0) if allowed else NONE

    limiter = DeadLetterLimiter(clock, ask)
    await limiter.admit(round(BURST))
    assert await admitted(limiter, 2_000) == 7
    limiter._ask_at = 0
    assert await admitted(limiter, 2_000) == 0
    limiter._ask_at = 0
    assert await admitted(limiter, 2_000) == 2_000, "any number, for a minute"
    clock.now += 61
    assert await admitted(limiter, 2_000) <= PER_MINUTE


async def test_a_paused_worker_says_so_once_and_until_it_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.dead_letters.limiter._POLL_S", 0.001)

    def paused() -> float:
        return float(metrics.PAUSED.labels("poison")._value.get())

    clock = Clock()
    limiter = DeadLetterLimiter(clock)
    await limiter.admit(round(BURST))
    assert (paused(), caplog.text) == (0, "")
    waiting = asyncio.create_task(limiter.admit())
    await asyncio.sleep(0.05)  # for some dozen attempts
    assert paused() == 1
    clock.now += 60
    async with asyncio.timeout(30):
        await waiting
    assert paused() == 0
    assert caplog.text.count("paused: more than 1000 pageviews dead-lettered at once") == 1
    await limiter.admit(round(PER_MINUTE) - 1)
    assert await admitted(limiter, 1) == 0
    assert caplog.text.count("paused: ") == 2, "again, for another pause"


async def test_an_operator_is_asked_every_two_seconds_and_may_allow_less_than_a_second() -> None:
    clock = Clock()
    asked = 0

    async def ask() -> Allowance:
        nonlocal asked
        asked += 1
        return Allowance(0, 0.5) if asked == 2 else NONE

    limiter = DeadLetterLimiter(clock, ask)
    await limiter.admit(round(BURST))
    assert await admitted(limiter, 1) == 0
    assert await admitted(limiter, 1) == 0
    assert asked == 1, "not at each attempt"
    limiter._ask_at = 0
    assert await admitted(limiter, 5) == 5
    clock.now += 0.5
    assert await admitted(limiter, 5) == 0, "and no longer than that"
