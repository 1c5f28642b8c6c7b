"""Merging the parts of months that are over, where that costs at most ten times what it brings.

ClickHouse merges parts of similar size, and so leaves a month as several parts: of its own accord it would never merge
a few late pageviews into a month of hundreds of gigabytes, nor anything beyond 150 GiB, and told to
(`min_age_to_force_merge_seconds`) it rewrites all of a month for one late pageview.  The view reads a month of one part
as fast as the bare table; of several it has to merge where they overlap, so what counts is how much lies outside of the
largest part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deploy.erasure.deletes import partition_sql
from shared.clickhouse import ClickHouse

#: A month is merged when its other parts hold at least this share of it: then each byte that was stored is rewritten at
#: most ten times more, however often pageviews come late.
WORTH_SHARE: Final = 0.1
#: Such a month is not written to as a rule any more.
_OVER: Final = "toYYYYMM(now64(3, 'UTC') - toIntervalDay(1))"
_MONTHS: Final = f"""
    SELECT partition_id, count() AS parts, sum(bytes_on_disk) AS bytes, bytes - max(bytes_on_disk) AS others
    FROM system.parts
    WHERE database = 'hitline' AND table = 'pageviews_raw' AND active AND toUInt32(partition_id) < {_OVER}
    GROUP BY partition_id HAVING parts > 1 AND others >= {WORTH_SHARE} * bytes
    ORDER BY partition_id"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Month:
    """A month that is worth merging: its partition, parts and size."""

    partition: str
    parts: int
    bytes_on_disk: int


async def worth_merging(clickhouse: ClickHouse) -> list[Month]:
    """Return the months to merge, the oldest first."""
    found = await clickhouse.query(_MONTHS)
    return [Month(partition, parts, size) for partition, parts, size, _ in found.result_rows]


async def merge(clickhouse: ClickHouse, month: Month) -> None:
    """Make one part of a month, whatever its size; what is marked as deleted is left out.

    ClickHouse raises an error if the disk has no room for it: twice the month for a while.
    """
    await clickhouse.command(
        f"OPTIMIZE TABLE hitline.pageviews_raw PARTITION ID {partition_sql(month.partition)} FINAL",
        settings={"optimize_throw_if_noop": 1, "alter_sync": 2},
    )
