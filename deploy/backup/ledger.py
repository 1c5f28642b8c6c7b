"""How many pageviews each site has in each month, and a sum over their identities: to compare a restored instance by.

Two sets of pageviews with the same counts and sums are the same for all practical purposes: the sum is of 64-bit hashes
of what identifies a pageview, its path and its user agent.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from shared.clickhouse import ClickHouse

_MONTHS: Final = """
    SELECT DISTINCT toUInt32(partition) AS month FROM system.parts
    WHERE database = 'hitline' AND table = 'pageviews_raw' AND active ORDER BY month
"""
#: One month at a time, which bounds what is held in memory; the view has one row a pageview, merged or not.
_OF_MONTH: Final = """
    SELECT site_id, count(), groupBitXor(cityHash64(timestamp, session_id, page_id, path, user_agent))
    FROM hitline.pageviews
    WHERE timestamp >= {first:DateTime64(3, 'UTC')} AND timestamp < {next:DateTime64(3, 'UTC')}
    GROUP BY site_id ORDER BY site_id
    SETTINGS max_bytes_before_external_group_by = 500000000, max_memory_usage = 2000000000
"""


class Entry(NamedTuple):
    """A site's month (such as 202611, in UTC)."""

    month: int
    site_id: UUID
    pageviews: int
    sum: int


async def read(clickhouse: ClickHouse) -> AsyncIterator[Entry]:
    """Yield the entries of what is stored now, the earliest month first."""
    for (month,) in (await clickhouse.query(_MONTHS)).result_rows:
        bounds = {"first": f"{_first_day(month)} 00:00:00", "next": f"{_first_day(_after(month))} 00:00:00"}
        for site_id, pageviews, total in (await clickhouse.query(_OF_MONTH, bounds)).result_rows:
            yield Entry(month, site_id, pageviews, total)


def _first_day(month: int) -> str:
    return f"{month // 100:04}-{month % 100:02}-01"


def _after(month: int) -> int:
    return month + 1 if month % 100 < 12 else month + 89


async def save(clickhouse: ClickHouse, path: Path) -> int:
    """Write all entries, a line each; returns the number of pageviews."""
    pageviews = 0
    with gzip.open(path, "wt") as file:
        async for entry in read(clickhouse):
            pageviews += entry.pageviews
            file.write(json.dumps([entry.month, str(entry.site_id), entry.pageviews, entry.sum]) + "\n")
    return pageviews


def load(path: Path) -> Iterator[Entry]:
    """Read a saved ledger."""
    with gzip.open(path, "rt") as file:
        for line in file:
            month, site_id, pageviews, total = json.loads(line)
            yield Entry(month, UUID(site_id), pageviews, total)


class Difference(NamedTuple):
    """A month of a site that is not as it was."""

    month: int
    site_id: UUID
    before: int
    now: int


async def compare(clickhouse: ClickHouse, path: Path) -> list[Difference]:
    """Return the months that differ from the saved ledger; those that came since are not among them."""
    there = {(entry.month, entry.site_id): entry async for entry in read(clickhouse)}
    differences = []
    for entry in load(path):
        now = there.get((entry.month, entry.site_id))
        if now != entry:
            differences.append(Difference(entry.month, entry.site_id, entry.pageviews, now.pageviews if now else 0))
    return differences
