"""Merging the parts of months that are over, within a budget: five times the bytes stored since the last time.

ClickHouse merges parts of similar size, and so leaves a month as several parts: of its own accord it would never merge
a few late pageviews into a month of hundreds of gigabytes, nor anything beyond 150 GiB; told to
(`min_age_to_force_merge_seconds`), it rewrites all of a month for one late pageview.  The view reads a month of one
part nearly as fast as the bare table, and takes two or three times as long where others overlap with it, which is
worth ending, but not at any price.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from deploy.erasure.deletes import partition_sql
from shared.clickhouse import ClickHouse

#: Bytes that may be rewritten here for each byte stored; ClickHouse's own merges of new parts take about as much again.
BUDGET: Final = 5
#: Such a month is not written to as a rule any more.
_OVER: Final = "toYYYYMM(now64(3, 'UTC') - toIntervalDay(1))"
_MONTHS: Final = f"""
    SELECT partition_id, count() AS parts, sum(bytes_on_disk) AS bytes, bytes - max(bytes_on_disk) AS others
    FROM system.parts
    WHERE database = 'hitline' AND table = 'pageviews_raw' AND active AND toUInt32(partition_id) < {_OVER}
    GROUP BY partition_id HAVING parts > 1
    ORDER BY others / bytes DESC, partition_id"""  # noqa: S608 - constants
_BYTES_A_ROW: Final = """
    SELECT sum(bytes_on_disk) / greatest(sum(rows), 1) FROM system.parts
    WHERE database = 'hitline' AND table = 'pageviews_raw' AND active"""
_STORED: Final = "SELECT count() FROM hitline.pageviews_raw WHERE stored_at > {since:DateTime64(3, 'UTC')}"
_LAST: Final = "SELECT max(finished_at) FROM hitline_control.upkeep WHERE kind = 'merging'"


@dataclass(frozen=True, slots=True)
class Month:
    """A month to merge: its partition, parts and size."""

    partition: str
    parts: int
    bytes_on_disk: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The months to merge now, and how many others have to wait for more to be stored."""

    months: list[Month]
    waiting: int


async def plan(clickhouse: ClickHouse) -> Plan:
    """Return what to merge: those months first of which most lies outside of their largest part."""
    candidates = [Month(*row[:3]) for row in (await clickhouse.query(_MONTHS)).result_rows]
    left = await _budget(clickhouse) if candidates else 0.0
    chosen = []
    for month in candidates:
        if month.bytes_on_disk <= left:
            chosen.append(month)
            left -= month.bytes_on_disk
    return Plan(chosen, len(candidates) - len(chosen))


async def _budget(clickhouse: ClickHouse) -> float:
    """Return how many bytes may be rewritten; the first time, everything may."""
    last: datetime = (await clickhouse.query(_LAST)).result_rows[0][0]
    rows = (await clickhouse.query(_STORED, {"since": last.astimezone(UTC)})).result_rows[0][0]
    return float(BUDGET * rows * (await clickhouse.query(_BYTES_A_ROW)).result_rows[0][0])


async def merge(clickhouse: ClickHouse, month: Month) -> None:
    """Make one part of a month, whatever its size; what is marked as deleted is left out.

    ClickHouse raises an error if the disk has no room for it: twice the month for a while.
    """
    await clickhouse.command(
        f"OPTIMIZE TABLE hitline.pageviews_raw PARTITION ID {partition_sql(month.partition)} FINAL",
        settings={"optimize_throw_if_noop": 1, "alter_sync": 2},
    )
