"""Lightweight deletes: rows are marked, and no reader finds them from then on; `rewrite` takes them off the disk.

A lightweight delete is a mutation that writes one column (`_row_exists`) of the parts with such rows.  It is sent for
one partition at a time, since ClickHouse would touch every part of the table otherwise.  Its text stays in
`system.mutations`, so it never contains what is to be erased: conditions are read from tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deploy.bounds import WRITES
from shared.clickhouse import ClickHouse

#: Rows of a set that a statement holds in memory at once.
SET_ROWS: Final = 1_000_000
_DELETE: Final = {"lightweight_deletes_sync": 2, "allow_nondeterministic_mutations": 1}


async def partitions(
    clickhouse: ClickHouse, table: str, where: str, parameters: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Return the partitions of a table of `hitline` that have matching rows, and how many."""
    await clickhouse.catch_up(f"hitline.{table}")
    found = await clickhouse.query(
        f"SELECT _partition_id, count() FROM hitline.{table} WHERE {where} GROUP BY 1 ORDER BY 1",  # noqa: S608
        parameters,
        WRITES,
    )
    return dict(map(tuple, found.result_rows))


async def delete_in(
    clickhouse: ClickHouse, table: str, partition: str, where: str, parameters: Mapping[str, Any] | None = None
) -> None:
    """Mark the matching rows of one partition; returns once that is done on every replica, older deletes included."""
    sql = f"DELETE FROM hitline.{table} IN PARTITION ID {partition_sql(partition)} WHERE {where}"  # noqa: S608
    await clickhouse.command(sql, parameters, _DELETE)


async def delete(clickhouse: ClickHouse, table: str, where: str, parameters: Mapping[str, Any] | None = None) -> None:
    """Mark all matching rows; where there are none, nothing is written."""
    for partition in await partitions(clickhouse, table, where, parameters):
        await delete_in(clickhouse, table, partition, where, parameters)


async def drop_partition(clickhouse: ClickHouse, table: str, partition: str) -> None:
    """Remove a whole partition."""
    await clickhouse.command(f"ALTER TABLE hitline.{table} DROP PARTITION ID {partition_sql(partition)}")


def shares_of(rows: int) -> int:
    """Return in how many shares so many rows are to be handled, so that each one's set fits into memory."""
    return max(1, -(-rows // SET_ROWS))


def partition_sql(partition: str) -> str:
    """Return the id of a partition as SQL."""
    if not partition.isalnum():
        raise ValueError(f"{partition!r} is no partition of Hitline's tables")
    return f"'{partition}'"
