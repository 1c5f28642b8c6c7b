"""Taking off the disk what was erased: each partition with marked rows is written again without them, once.

Whatever has marked them, requests and retentions alike.  It goes by what ClickHouse says of the parts, so nothing has
to be remembered of a run that was killed; and what that one has begun, ClickHouse carries on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from deploy.erasure import record
from deploy.erasure.deletes import partition_sql
from deploy.erasure.request import NotErased
from shared.clickhouse import ClickHouse
from shared.cluster import everywhere

_POLL_S: Final = 0.5
_MARKED: Final = (
    "SELECT table, partition_id, groupArray(name), sum(bytes_on_disk) FROM {parts}"
    " WHERE database = 'hitline' AND active AND has_lightweight_delete GROUP BY table, partition_id"
    " ORDER BY table, partition_id"
)
_FAILED: Final = (
    "SELECT any(latest_fail_reason) FROM system.mutations"
    " WHERE database = 'hitline' AND table = {table:String} AND NOT is_done AND latest_fail_reason != ''"
)


@dataclass(frozen=True, slots=True)
class Rewriting:
    """How far it is with one partition, which is number `number` of `partitions`."""

    table: str
    partition: str
    number: int
    partitions: int
    bytes_left: int


@dataclass(frozen=True, slots=True)
class _Marked:
    table: str
    partition: str
    parts: frozenset[str]
    bytes_on_disk: int


async def waiting_bytes(clickhouse: ClickHouse) -> int:
    """Return the size of the parts that are to be written again."""
    return sum(each.bytes_on_disk for each in await _marked(clickhouse))


async def rewrite(clickhouse: ClickHouse) -> AsyncIterator[Rewriting | record.Entry]:
    """Write what has marked rows again, without them; yields progress, and then each erasure that is gone by that.

    Raises `NotErased` if ClickHouse can't, for example because its disk is full.
    """
    began: datetime = (await clickhouse.query("SELECT now64(3, 'UTC')")).result_rows[0][0]
    marked = await _marked(clickhouse)
    for number, each in enumerate(marked, 1):
        await clickhouse.command(
            f"ALTER TABLE hitline.{each.table} APPLY DELETED MASK IN PARTITION ID {partition_sql(each.partition)}",
            settings={"mutations_sync": 0},
        )
        while left := await _left(clickhouse, each):
            yield Rewriting(each.table, each.partition, number, len(marked), left)
            await asyncio.sleep(_POLL_S)
    for entry in await record.gone(clickhouse, began):
        yield entry


def _parts(clickhouse: ClickHouse) -> str:
    return everywhere(clickhouse.cluster, "system.parts")


async def _marked(clickhouse: ClickHouse) -> list[_Marked]:
    found = await clickhouse.query(_MARKED.format(parts=_parts(clickhouse)))
    return [_Marked(table, partition, frozenset(parts), size) for table, partition, parts, size in found.result_rows]


async def _left(clickhouse: ClickHouse, begun: _Marked) -> int:
    """Return the size of the parts that were there at the beginning and are still to be written again."""
    found = await clickhouse.query(
        f"SELECT name, bytes_on_disk FROM {_parts(clickhouse)}"  # noqa: S608
        " WHERE database = 'hitline' AND active AND has_lightweight_delete"
        " AND table = {table:String} AND partition_id = {partition:String}",
        {"table": begun.table, "partition": begun.partition},
    )
    left: int = sum(size for name, size in found.result_rows if name in begun.parts)
    if left:
        failed = (await clickhouse.query(_FAILED, {"table": begun.table})).result_rows[0][0]
        if failed:
            raise NotErased(f"ClickHouse can't rewrite {begun.table} {begun.partition}, and goes on trying: {failed}")
    return left
