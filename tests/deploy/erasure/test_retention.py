"""Retention erases nothing while the clocks that decide about it disagree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy.erasure import retention
from deploy.erasure.retention import MAX_DIFFERENCE_S, ClocksDifferError
from shared.clickhouse import ClickHouse

NOW_S = 1_780_000_000.0
DAY_S = 86_400


class FakeServer:
    """A ClickHouse whose clock says this; notes what else it is asked."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self.asked: list[str] = []

    async def query(self, sql: str, *_: Any) -> Any:
        if sql.startswith("SELECT toUnixTimestamp64Milli(now64(3))"):
            return SimpleNamespace(result_rows=[(int(self.now_s * 1000),)])
        self.asked.append(sql)
        return SimpleNamespace(result_rows=[])


@pytest.mark.parametrize("ahead_s", [25 * DAY_S, MAX_DIFFERENCE_S + 1, -MAX_DIFFERENCE_S - 1, -25 * DAY_S])
async def test_nothing_is_erased_while_clickhouse_s_clock_is_off(ahead_s: float) -> None:
    server = FakeServer(NOW_S + ahead_s)
    with pytest.raises(ClocksDifferError, match="nothing was erased"):
        async for _ in retention.apply(cast("ClickHouse", server), 30, clock=lambda: NOW_S):
            pass
    assert server.asked == []


async def test_a_small_difference_is_none() -> None:
    server = FakeServer(NOW_S + 5)
    found = [each async for each in retention.apply(cast("ClickHouse", server), 30, clock=lambda: NOW_S)]
    assert found == []
    assert len(server.asked) == 1
