"""Bringing rows of the registry from ClickHouse into a replica; SQLite's work runs on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from shared.clickhouse import ClickHouse
from shared.registry import fetch
from shared.registry.records import GRANTS, Table
from shared.registry.replica import Replica
from shared.registry.store import to_changes
from shared.registry.touched import Touched

Result = TypeVar("Result")


async def load(clickhouse: ClickHouse, table: Table, replica: Replica) -> None:
    """Fetch all that is in force of a table of which nothing is known; raises `ConnectionError` if not all arrive."""
    await in_thread(replica.clear, table.name)  # an interrupted load may have left what is not in force by now
    before = await _count(clickhouse, table)
    if table is GRANTS:
        arrived = await _load_grants(clickhouse, replica)
    else:
        arrived = 0
        async for rows in fetch.rows_in_force(clickhouse, table):
            arrived += len(rows)
            await _apply(replica, table, rows)
    if arrived < before and arrived < (after := await _count(clickhouse, table)):  # unless some were removed meanwhile
        raise ConnectionError(f"{arrived} rows of {table.name} arrived instead of {after}")


def _count(clickhouse: ClickHouse, table: Table) -> Awaitable[int]:
    return fetch.count_grants(clickhouse) if table is GRANTS else fetch.count_in_force(clickhouse, table)


async def _load_grants(clickhouse: ClickHouse, replica: Replica) -> int:
    arrived = 0
    async for packed in fetch.grants_in_force(clickhouse):
        arrived += sum(len(versions) for *_, versions in packed)
        await in_thread(replica.load_grants, packed)
    replica.refreshed(Touched(all=True))
    return arrived


async def apply_after(clickhouse: ClickHouse, table: Table, replica: Replica, after: int, expected: int) -> None:
    """Apply a table's rows above a version; raises `ConnectionError` if fewer than `expected` arrive."""
    arrived = 0
    async for rows in fetch.rows_after(clickhouse, table, after):
        arrived += len(rows)
        await _apply(replica, table, rows)
    if arrived < expected:
        raise ConnectionError(f"{arrived} rows of {table.name} arrived instead of {expected}")


async def _apply(replica: Replica, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    new, touched = await in_thread(lambda: replica.apply(to_changes(table, rows)))
    if new:
        replica.refreshed(touched)


async def in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run `work` in a thread; when cancelled, still wait for it, since the thread goes on and needs its file open."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
