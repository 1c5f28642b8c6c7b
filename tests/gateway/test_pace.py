"""How fast bytes are read: a holder waits behind its own, slow ones never."""

from __future__ import annotations

import pytest

from gateway import pace
from gateway.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_holder_waits_behind_its_own_bytes_and_nobody_else_does() -> None:
    clock = Clock()
    paced = Pace(1000, 500, clock)

    assert [paced.wait_s("a", 250) for _ in range(4)] == pytest.approx([0, 0, 0.25, 0.5])
    assert paced.wait_s("b", 500) == 0
    clock.now += 0.5
    assert paced.wait_s("a", 100) == pytest.approx(0.1)
    clock.now += 10
    assert paced.wait_s("a", 500) == 0  # what was not read in time is not saved up
    assert paced.wait_s("a", 100) == pytest.approx(0.1)


def test_those_who_owe_nothing_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_MANY", 10)
    clock = Clock()
    paced = Pace(1000, 0, clock)
    paced.wait_s("busy", 1_000_000)
    for number in range(100):
        paced.wait_s(number, 1)
        clock.now += 1

    assert len(paced._read_until) <= 10
    assert paced.wait_s("busy", 0) > 0
