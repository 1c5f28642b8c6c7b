"""Whether to erase by these clocks, and which months to merge, as ClickHouse answers: without an engine."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.erasure import retention
from deploy.erasure.clocks import MAX_DIFFERENCE_S, MAX_SILENCE_S, ClocksDifferError, check_clocks
from deploy.erasure.months import BUDGET, Month, merge, plan

NOW_S = 1_780_000_000.0
DAY_S = 86_400


class Answering:
    """A ClickHouse whose clock, and the newest of whose pageviews, are as given; None: there are none."""

    def __init__(self, server_s: float, received_s: float | None, *, silent: bool = False, any_stored: bool = True):
        self.server_s = server_s
        self.received_s = received_s
        self.silent = silent
        self.any_stored = any_stored
        self.looked: list[int] = []

    async def query(self, sql: str, parameters: Any = None) -> Any:
        if sql == "SELECT toUnixTimestamp64Milli(now64(3))":
            return SimpleNamespace(result_rows=[(int(self.server_s * 1000),)])
        if "received_at" in sql:
            self.looked.append(parameters["seconds"])
            is_found = self.received_s is not None and not (self.silent and parameters["seconds"] == 600)
            return SimpleNamespace(result_rows=[(1, int((self.received_s or 0) * 1000)) if is_found else (0, 0)])
        return SimpleNamespace(result_rows=[(int(self.any_stored),)])


async def erases(clickhouse: Answering, *, idle: bool = False, clock_s: float = NOW_S) -> str:
    """Return why nothing is erased, or nothing."""
    some: Any = clickhouse
    try:
        await check_clocks(some, lambda: clock_s, idle=idle)
    except ClocksDifferError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("difference_s", [0, 299, 300, 301, -299, -300, -301])
async def test_two_clocks_may_differ_by_five_minutes(difference_s: int) -> None:
    server_s = NOW_S + difference_s
    told = await erases(Answering(server_s, server_s))
    if abs(difference_s) <= MAX_DIFFERENCE_S == 300:
        assert told == ""
    else:
        assert told == (
            "nothing was erased: ClickHouse's clock and this machine's differ by 301 s; set both right (NTP), and run"
            " it again"
        )


async def test_the_time_that_an_answer_takes_is_no_difference() -> None:
    times = iter([NOW_S, NOW_S + 900])
    some: Any = Answering(NOW_S + 600, NOW_S + 600)
    await check_clocks(some, lambda: next(times))


@pytest.mark.parametrize("ahead_s", [-DAY_S, 0, 300, 301])
async def test_a_gateway_s_clock_may_be_ahead_by_five_minutes(ahead_s: int) -> None:
    told = await erases(Answering(NOW_S, NOW_S + ahead_s))
    assert told == (
        ""
        if ahead_s <= 300
        else "nothing was erased: the newest pageviews were received in the future, by the clock of a gateway; set the"
        " clocks of gateways, ClickHouse and this machine right (NTP), and run it again"
    )


SILENCE = (
    "nothing was erased: no pageview of the last 48 hours is stored. Either none arrived, or the clocks of ClickHouse"
    " and this machine are ahead; if they are right, run `hitline retain --idle`"
)


@pytest.mark.parametrize(
    ("received_s", "any_stored", "idle", "told"),
    [
        (NOW_S - MAX_SILENCE_S, True, False, ""),
        (NOW_S - MAX_SILENCE_S - 1, True, False, SILENCE),
        (NOW_S - MAX_SILENCE_S - 1, True, True, ""),
        (None, True, False, SILENCE),
        (None, True, True, ""),
        (None, False, False, ""),
    ],
)
async def test_without_pageviews_nothing_speaks_for_the_clocks(
    received_s: float | None, any_stored: bool, idle: bool, told: str
) -> None:
    assert await erases(Answering(NOW_S, received_s, any_stored=any_stored), idle=idle) == told


async def test_nothing_is_taken_for_idle_unless_someone_says_so() -> None:
    some: Any = Answering(NOW_S, None)
    with pytest.raises(ClocksDifferError):
        await check_clocks(some, lambda: NOW_S)


async def test_ten_minutes_are_looked_at_before_two_days() -> None:
    busy, silent = Answering(NOW_S, NOW_S), Answering(NOW_S, NOW_S, silent=True)
    assert [await erases(each) for each in (busy, silent)] == ["", ""]
    assert (busy.looked, silent.looked) == ([600], [600, 2 * DAY_S])


class Merging:
    """A ClickHouse with these months of several parts, and rows stored since the last time."""

    def __init__(self, sizes: list[int], rows: int, bytes_a_row: float) -> None:
        self.months = [(f"2026{number:02}", 2, size, 1) for number, size in enumerate(sizes)]
        self.rows = rows
        self.bytes_a_row = bytes_a_row
        self.asked: list[Any] = []

    async def query(self, sql: str, parameters: Any = None) -> Any:
        self.asked.append(parameters)
        if "GROUP BY partition_id" in sql:
            return SimpleNamespace(result_rows=self.months)
        if "max(finished_at)" in sql:
            return SimpleNamespace(result_rows=[(datetime(2026, 5, 1, tzinfo=UTC),)])
        return SimpleNamespace(result_rows=[(self.rows if "stored_at" in sql else self.bytes_a_row,)])


@given(st.lists(st.integers(1, 100), max_size=8), st.integers(0, 50))
async def test_months_are_merged_in_order_as_far_as_five_times_what_was_stored(sizes: list[int], rows: int) -> None:
    some: Any = Merging(sizes, rows, 1.5)
    made = await plan(some)
    left = BUDGET * rows * 1.5
    expected = []
    for number, size in enumerate(sizes):
        if size <= left:
            expected.append(Month(f"2026{number:02}", 2, size))
            left -= size
    assert (made.months, made.waiting) == (expected, len(sizes) - len(expected))
    assert sum(month.bytes_on_disk for month in made.months) <= 5 * rows * 1.5
    if sizes:
        assert {"since": datetime(2026, 5, 1, tzinfo=UTC)} in some.asked
    else:
        assert some.asked == [None], "without candidates nothing more is asked"


async def test_a_month_of_exactly_the_budget_is_merged() -> None:
    some: Any = Merging([45, 1], 6, 1.5)
    assert (await plan(some)).months == [Month("202600", 2, 45)]


async def test_a_month_becomes_one_part_or_the_command_fails() -> None:
    told: list[Any] = []

    async def command(sql: str, settings: Any) -> None:
        told.append((sql, settings))

    some: Any = SimpleNamespace(command=command)
    await merge(some, Month("202605", 3, 9))
    assert told == [
        (
            "OPTIMIZE TABLE hitline.pageviews_raw PARTITION ID '202605' FINAL",
            {"optimize_throw_if_noop": 1, "alter_sync": 2},
        )
    ]


@pytest.mark.parametrize(
    ("partition", "start", "end"),
    [
        ("202601", (2026, 1, 1), (2026, 2, 1)),
        ("202611", (2026, 11, 1), (2026, 12, 1)),
        ("202612", (2026, 12, 1), (2027, 1, 1)),
        ("2026", (2026, 1, 1), (2027, 1, 1)),
    ],
)
def test_a_partition_is_a_month_or_a_year(
    partition: str, start: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    assert retention._span(partition) == (datetime(*start, tzinfo=UTC), datetime(*end, tzinfo=UTC))
