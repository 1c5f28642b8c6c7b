"""What commands share: no command takes the memory that inserts need."""

from __future__ import annotations

import pytest

from deploy import bounds
from deploy.cli import support
from deploy.local.clickhouse.process import ClickHouseProcess

pytestmark = pytest.mark.processes

KEYS = "SELECT count() FROM (SELECT number FROM numbers(1000000) GROUP BY number)"


async def test_statements_that_are_large_continue_on_disk(
    tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bounds.MEMORY, "max_memory_usage", 60_000_000)
    monkeypatch.setitem(bounds.MEMORY, "max_bytes_before_external_group_by", 10_000_000)
    async with support.connected(tables.url) as clickhouse:
        found = await clickhouse.query(KEYS, settings={"max_threads": 1})
        assert found.result_rows == [(1_000_000,)]


async def test_those_that_can_not_are_refused(tables: ClickHouseProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bounds.MEMORY, "max_memory_usage", 20_000_000)
    with pytest.raises(support.UnreachableError, match="MEMORY_LIMIT_EXCEEDED"):
        async with support.connected(tables.url) as clickhouse:
            await clickhouse.query("SELECT length(groupArray(toString(number))) FROM numbers(10000000)")


async def test_a_statement_s_own_settings_go_first(tables: ClickHouseProcess) -> None:
    async with support.connected(tables.url) as clickhouse:
        asked = "SELECT getSetting('max_memory_usage'), getSetting('max_bytes_before_external_sort')"
        assert (await clickhouse.query(asked, settings={"max_memory_usage": 7_000_000_000})).result_rows == [
            (7_000_000_000, bounds.MEMORY["max_bytes_before_external_sort"])
        ]
