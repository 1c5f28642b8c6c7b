"""This machine's clock beside others': which of them decides, and what is said while they differ."""

from __future__ import annotations

import logging

import pytest

from shared import metrics
from shared.clocks import Clocks

NOW_S = 1_780_000_000.0
DAY_S = 86_400.0


class Time:
    def __init__(self) -> None:
        self.wall_s = NOW_S
        self.monotonic_s = 5.0

    def clocks(self) -> Clocks:
        return Clocks("nothing is dropped", lambda: self.wall_s, lambda: self.monotonic_s)


def test_alone_it_is_its_own_word() -> None:
    clocks = Time().clocks()
    assert (clocks.earliest_ms(), clocks.latest_ms(), clocks.behind_ms) == (NOW_S * 1000, NOW_S * 1000, 0)


@pytest.mark.parametrize("ahead_s", [2 * DAY_S, -2 * DAY_S])
def test_the_earlier_and_the_later_of_both(ahead_s: float) -> None:
    clocks = Time().clocks()
    clocks.saw("clickhouse", NOW_S - ahead_s)
    assert clocks.earliest_ms() == min(NOW_S, NOW_S - ahead_s) * 1000
    assert clocks.latest_ms() == max(NOW_S, NOW_S - ahead_s) * 1000
    assert clocks.behind_ms == max(0, -ahead_s * 1000)
    assert metrics.CLOCK_AHEAD.labels("clickhouse")._value.get() == ahead_s


def test_a_step_of_this_machines_clock_does_not_move_the_others() -> None:
    time = Time()
    clocks = time.clocks()
    clocks.saw("clickhouse", NOW_S)
    time.wall_s += 2 * DAY_S
    time.monotonic_s += 7
    assert clocks.earliest_ms() == (NOW_S + 7) * 1000


def test_a_difference_is_logged_once_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clocks = Time().clocks()
    for _ in range(2):
        clocks.saw("clickhouse", NOW_S - 2 * DAY_S)
    clocks.saw("clickhouse", NOW_S - 299)
    assert caplog.messages == [
        "this machine's clock is 172800 s ahead of ClickHouse's: set all clocks right (NTP); until then nothing is"
        " dropped",
        "this machine's clock and ClickHouse's agree again",
    ]


def test_one_of_many_gateways_that_is_ahead_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    time = Time()
    clocks = time.clocks()
    for _ in range(3):
        clocks.received(2 * DAY_S)
        clocks.received(-0.5)
    assert len(caplog.messages) == 1
    assert "behind a gateway's" in caplog.messages[0]
    time.monotonic_s += 301
    clocks.received(-0.5)
    assert caplog.messages[1:] == ["this machine's clock and a gateway's agree again"]
