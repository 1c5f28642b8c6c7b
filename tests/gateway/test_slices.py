"""Slices of long work: one in a turn of the event loop, in the order of asking."""

from __future__ import annotations

import asyncio

import pytest

from gateway.slices import Slices
from tests.turns import turns_during


async def work(slices: Slices, name: str, number: int, done: list[str]) -> None:
    for _ in range(number):
        await slices.next()
        done.append(name)


async def test_those_who_work_take_turns_and_one_of_them_works_in_a_turn_of_the_loop() -> None:
    slices, done = Slices(), list[str]()
    turns = await turns_during(asyncio.gather(*(work(slices, name, 4, done) for name in "abc")))

    assert "".join(done) == "abc" * 4
    assert turns >= 12


async def test_a_slice_that_nobody_takes_any_more_goes_to_the_next() -> None:
    slices, done = Slices(), list[str]()
    tasks = [asyncio.create_task(work(slices, name, 1, done)) for name in "abcd"]
    await asyncio.sleep(0)
    for task in tasks[:3]:
        task.cancel()
    await asyncio.wait_for(tasks[3], 5)
    await asyncio.wait_for(work(slices, "e", 1, done), 5)

    assert done == ["d", "e"]


async def test_a_slice_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("gateway.slices.time.perf_counter", lambda: now)
    slices = Slices(0.001)
    assert slices.over(), "none has begun"
    await slices.next()
    now += 0.0009
    assert not slices.over()
    now += 0.0002
    assert slices.over()


async def test_slices_grow_where_others_take_much_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches get a third of the time beside single posts at the limit; alone, a slice stays short."""
    now = 100.0
    monkeypatch.setattr("gateway.slices.time.perf_counter", lambda: now)
    slices = Slices(0.001)

    async def length_ms(others_s: float) -> int:
        nonlocal now

        def others() -> None:
            nonlocal now
            now += others_s

        asyncio.get_running_loop().call_soon(others)
        await slices.next()
        began = now
        while not slices.over():
            now += 0.0001
        return round(1000 * (now - began))

    assert [await length_ms(each) for each in (0, 0.004, 0.01, 0.1, 0.001)] == [1, 2, 5, 8, 1]


async def test_the_slices_of_other_batches_are_no_reason_for_longer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("gateway.slices.time.perf_counter", lambda: now)
    slices, lengths = Slices(0.001), list[int]()

    async def work() -> None:
        nonlocal now
        for _ in range(5):
            await slices.next()
            began = now
            while not slices.over():
                now += 0.0001
            lengths.append(round(1000 * (now - began)))

    async def others() -> None:
        nonlocal now
        while True:
            now += 0.004
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await asyncio.gather(*(work() for _ in range(4)))
    beside.cancel()

    assert max(lengths) == 2, "half of what others take"
