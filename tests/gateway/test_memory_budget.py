"""A bound on the bytes that requests hold."""

from __future__ import annotations

import contextlib

import pytest

from gateway.memory_budget import MemoryBudget
from gateway.replies import Reason, Rejected


def test_a_reservation_beyond_the_budget_is_rejected_and_reserves_nothing() -> None:
    budget = MemoryBudget(10)
    with budget.reservation() as reserve, budget.reservation() as reserve_more:
        reserve(4)
        reserve_more(6)
        with pytest.raises(Rejected) as rejected:
            reserve(1)
        assert rejected.value.reason is Reason.BUFFER_FULL


def test_reserved_bytes_are_released_after_an_error() -> None:
    budget = MemoryBudget(10)
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), budget.reservation() as reserve:
            reserve(4)
            reserve(6)
            raise ZeroDivisionError
    with budget.reservation() as reserve:
        reserve(10)
