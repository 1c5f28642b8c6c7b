"""Retention erases nothing while the clocks that decide about it disagree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy.erasure.clocks import MAX_DIFFERENCE_S, MAX_SILENCE_S, ClocksDifferError, check_clocks
from shared.clickhouse import ClickHouse

NOW_S = 1_780_000_000.0
DAY_S = 86_400


class FakeServer:
    """A ClickHouse whose clock says this, and whose newest pageview was received then."""

    def __init__(self, now_s: float, received_s: float | None = None) -> None:
        self.now_s = now_s
        self.received_s = received_s

    async def query(self, sql: str, *_: Any) -> Any:
        if sql.startswith("SELECT toUnixTimestamp64Milli(now64(3))"):
            return SimpleNamespace(result_rows=[(int(self.now_s * 1000),)])
        if "max(received_at)" in sql:
            found = (0, 0) if self.received_s is None else (5, int(self.received_s * 1000))
            return SimpleNamespace(result_rows=[found])
        if sql.startswith("SELECT count() FROM (SELECT 1 FROM hitline.pageviews_raw LIMIT 1)"):
            return SimpleNamespace(result_rows=[(1,)])
        raise AssertionError(sql)


def client(now_s: float, received_s: float | None) -> ClickHouse:
    return cast("ClickHouse", FakeServer(now_s, received_s))


@pytest.mark.parametrize("ahead_s", [25 * DAY_S, MAX_DIFFERENCE_S + 1, -MAX_DIFFERENCE_S - 1, -25 * DAY_S])
async def test_clickhouse_s_clock_is_compared_with_this_one(ahead_s: float) -> None:
    with pytest.raises(ClocksDifferError, match="nothing was erased"):
        await check_clocks(client(NOW_S + ahead_s, NOW_S), clock=lambda: NOW_S)


@pytest.mark.parametrize("received_s", [NOW_S + MAX_DIFFERENCE_S + 1, NOW_S - MAX_SILENCE_S - 1, None])
async def test_two_clocks_that_are_wrong_together_are_told_by_the_newest_pageview(received_s: float | None) -> None:
    with pytest.raises(ClocksDifferError, match="nothing was erased"):
        await check_clocks(client(NOW_S, received_s), clock=lambda: NOW_S)


async def test_silence_is_for_someone_to_judge() -> None:
    await check_clocks(client(NOW_S, NOW_S - 25 * DAY_S), clock=lambda: NOW_S, idle=True)
    await check_clocks(client(NOW_S, None), clock=lambda: NOW_S, idle=True)
    with pytest.raises(ClocksDifferError):
        await check_clocks(client(NOW_S, NOW_S + DAY_S), clock=lambda: NOW_S, idle=True)


async def test_small_differences_are_none() -> None:
    await check_clocks(client(NOW_S + 5, NOW_S - 3600), clock=lambda: NOW_S)
    await check_clocks(client(NOW_S - 5, NOW_S + 5), clock=lambda: NOW_S)
