"""A bound on the bytes that requests hold, and fair shares of it."""

from __future__ import annotations

import contextlib

import pytest

from gateway.memory_budget import MemoryBudget
from gateway.replies import Reason, Rejected


def test_a_reservation_beyond_the_share_is_rejected_and_reserves_nothing() -> None:
    budget = MemoryBudget(10)
    with budget.reservation("a") as reserve, budget.reservation("a") as reserve_more:
        reserve(2)
        reserve_more(3)
        with pytest.raises(Rejected) as rejected:
            reserve(1)
        assert rejected.value.reason is Reason.BUFFER_FULL
        with budget.reservation("b") as reserve_other:
            reserve_other(2)


def test_reserved_bytes_are_released_after_an_error() -> None:
    budget = MemoryBudget(10)
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), budget.reservation("a") as reserve:
            reserve(2)
            reserve(3)
            raise ZeroDivisionError
    with budget.reservation("a") as reserve:
        reserve(5)


def test_however_many_take_all_they_can_somebody_new_still_gets_as_much() -> None:
    budget = MemoryBudget(1000)
    for _ in range(200):  # each takes what it can, in turn
        for holder in range(5):
            budget.take(holder, 1)

    assert budget.take("new", 1000 // 12)
    assert not budget.take("new", 1000)
