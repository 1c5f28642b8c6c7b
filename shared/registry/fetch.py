"""Reading the registry from ClickHouse as processes do: what is new, or to begin with all that is in force."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from shared.clickhouse import ClickHouse
from shared.registry.records import Table
from shared.registry.store import selection

#: Rows fetched at once: a million sites must not be in memory together.
BLOCK_ROWS: Final = 20_000
#: Clients fetched at once with all of their grants, packed.
_BLOCK_CLIENTS: Final = 64

#: A client's grants packed: the sites' ids one after another, and their versions.
PackedGrants = tuple[bytes, str, bytes, Sequence[int]]

#: In hex: ClickHouse cuts off zeros at the end of an id's bytes.
_PACKED: Final = """
SELECT
    client_id,
    toString(permission),
    replaceAll(arrayStringConcat(groupArray(toString(site_id))), '-', '') AS sites,
    groupArray(version) AS versions
FROM hitline_control.grants FINAL
WHERE NOT removed
GROUP BY client_id, permission
"""


async def rows_after(clickhouse: ClickHouse, table: Table, after: int) -> AsyncIterator[Sequence[Sequence[Any]]]:
    """Yield the rows of `table` with a version above `after`, unsorted, about `BLOCK_ROWS` at a time."""
    sql = (
        f"SELECT {selection(table, copied=True)} FROM hitline_control.{table.name}"  # noqa: S608
        " WHERE version > {after:Int64}"
    )
    async for block in _blocks(clickhouse, sql, {"after": after}):
        yield block


async def rows_in_force(clickhouse: ClickHouse, table: Table) -> AsyncIterator[Sequence[Sequence[Any]]]:
    """Yield the newest row of each record that is in force, unsorted, about `BLOCK_ROWS` at a time."""
    key = ", ".join(table.key)
    sql = (
        f"SELECT {selection(table, copied=True)} FROM hitline_control.{table.name} WHERE NOT removed"  # noqa: S608
        f" AND ({key}, version) IN (SELECT {key}, max(version) FROM hitline_control.{table.name} GROUP BY {key})"
    )
    async for block in _blocks(clickhouse, sql, {}):
        yield block


async def count_in_force(clickhouse: ClickHouse, table: Table) -> int:
    """Return how many records are in force."""
    key = ", ".join(table.key)
    result = await clickhouse.query(
        f"SELECT count() FROM (SELECT {key} FROM hitline_control.{table.name} GROUP BY {key}"  # noqa: S608
        " HAVING NOT argMax(removed, version))"
    )
    return int(result.result_rows[0][0])


async def _blocks(
    clickhouse: ClickHouse, sql: str, parameters: dict[str, Any]
) -> AsyncIterator[Sequence[Sequence[Any]]]:
    client = await clickhouse.client()
    settings = {"max_block_size": BLOCK_ROWS}
    stream = await client.query_row_block_stream(sql, parameters=parameters, settings=settings)
    gathered: list[Sequence[Any]] = []
    async with stream:
        async for block in stream:  # of a size that the server chooses
            gathered += block
            if len(gathered) >= BLOCK_ROWS:
                yield gathered
                gathered = []
    if gathered:
        yield gathered


async def grants_in_force(clickhouse: ClickHouse) -> AsyncIterator[Sequence[PackedGrants]]:
    """Yield all grants that are in force, those of some clients at a time."""
    client = await clickhouse.client()
    settings = {"max_block_size": _BLOCK_CLIENTS, "optimize_aggregation_in_order": 1}
    stream = await client.query_row_block_stream(_PACKED, settings=settings)
    async with stream:
        async for block in stream:
            yield await asyncio.to_thread(_packed, block)  # megabytes, where clients have many


def _packed(block: Sequence[Sequence[Any]]) -> list[PackedGrants]:
    return [(id.bytes, permission, bytes.fromhex(sites), versions) for id, permission, sites, versions in block]


async def count_grants(clickhouse: ClickHouse) -> int:
    """Return how many grants are in force."""
    result = await clickhouse.query("SELECT count() FROM hitline_control.grants FINAL WHERE NOT removed")
    return int(result.result_rows[0][0])
