"""When publishes in flight are given up: a silent broker, a blocked one, and a loop that was late itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.confirm_deadlines import ConfirmDeadlines


@contextmanager
def _watching(confirm_s: float) -> Iterator[ConfirmDeadlines]:
    deadlines = ConfirmDeadlines(confirm_s)
    deadlines.watch_lag()
    try:
        yield deadlines
    finally:
        deadlines.stop()


async def _moved_by_a_late_loop(deadlines: ConfirmDeadlines) -> float:
    with deadlines.one() as deadline:
        async with deadline:
            before = deadline.when() or 0.0
            time.sleep(0.5)  # noqa: ASYNC251 - the loop is late
            await asyncio.sleep(0.15)  # the timer has looked
            return (deadline.when() or 0.0) - before


async def test_what_the_loop_was_late_is_added() -> None:
    with _watching(300) as deadlines:
        assert await _moved_by_a_late_loop(deadlines) > 0.3


async def test_nothing_is_added_while_the_broker_is_blocked() -> None:
    with _watching(300) as deadlines:
        deadlines.set_blocked(True)
        assert await _moved_by_a_late_loop(deadlines) == 0
        deadlines.set_blocked(False)
        assert await _moved_by_a_late_loop(deadlines) > 0.3


@pytest.mark.parametrize(("confirm_s", "left_s"), [(300, 1.0), (0.5, 0.5)], ids=["later", "sooner"])
async def test_a_blocked_broker_is_given_a_second_at_most(confirm_s: float, left_s: float) -> None:
    deadlines = ConfirmDeadlines(confirm_s)
    began = asyncio.get_running_loop().time()
    with deadlines.one() as deadline:
        async with deadline:
            deadlines.set_blocked(True)
            shortened = asyncio.get_running_loop().time()
    assert began + left_s <= (deadline.when() or 0.0) <= shortened + left_s


async def test_it_is_true_while_a_publish_is_in_flight() -> None:
    deadlines = ConfirmDeadlines(30)
    assert not deadlines
    with deadlines.one():
        assert deadlines
    assert not deadlines
