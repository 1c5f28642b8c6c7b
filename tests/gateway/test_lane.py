"""What strangers cause is done a little at a time, and in turns by address."""

from __future__ import annotations

import asyncio
from functools import partial

from gateway.lane import Lane


async def test_an_address_waits_behind_its_own_calls_and_few_of_anothers() -> None:
    lane, called = Lane(), list[str]()
    for number in range(100):
        lane.call("a", partial(called.append, f"a{number}"))
    lane.call("b", partial(called.append, "b0"))
    lane.call("b", partial(called.append, "b1"))
    for _ in range(102):
        await asyncio.sleep(0)

    assert called[:5] == ["a0", "b0", "a1", "b1", "a2"]
    assert [each for each in called if each.startswith("a")] == [f"a{number}" for number in range(100)]


async def test_a_turn_of_the_loop_makes_few_calls_and_an_empty_lane_begins_again() -> None:
    lane, called, most = Lane(), list[int](), 0
    for _ in range(2):
        called.clear()
        for number in range(50):
            lane.call(f"{number % 20}", partial(called.append, number))
        while len(called) < 50:
            before = len(called)
            await asyncio.sleep(0)
            most = max(most, len(called) - before)
        await asyncio.sleep(0)

    assert most <= 4
