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
