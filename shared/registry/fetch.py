"""What is asked of ClickHouse's control tables: whether there is anything new, and the new rows.

An insert may become visible after one with a newer version, so it is not enough to ask for what is newer than the
newest known.  A *window* tells how many rows lie in the minute up to the newest version; when more are there the next
time, some came late, and the minute is fetched again.  A quiet registry costs one small query.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from shared.clickhouse import ClickHouse
from shared.registry.changes import Changes, ClientChange, ExclusionChange, SiteChange

#: How far inserts may become visible out of order.
OVERLAP_US: Final = 60_000_000
#: Rows taken at once: a million sites must not be in memory together.
BLOCK_ROWS: Final = 20_000

TABLES: Final = ("sites", "clients", "exclusions")

#: Versions are compared as signed numbers, since a window may begin below zero.
_LOOK: Final = """
WITH
    (SELECT max(version) FROM hitline_control.{table}) AS latest,
    greatest(latest, {{{table}:UInt64}}) AS newest,
    toInt64(newest) - {overlap} AS start,
    toInt64({{{table}:UInt64}}) - {overlap} AS last_start
SELECT
    '{table}',
    latest,
    countIf(version > start AND version <= newest),
    countIf(version > last_start AND version <= {{{table}:UInt64}}),
    countIf(version > {{{table}:UInt64}})
FROM hitline_control.{table}
WHERE version > last_start
"""
_LOOK_AT_ALL: Final = " UNION ALL ".join(_LOOK.format(table=table, overlap=OVERLAP_US) for table in TABLES)

#: Columns in the order of the change's fields.  Ids of sites in grants lose their hyphens.
_COLUMNS: Final = {
    "sites": "site_id, version, removed, name, hostnames, timezone, retention_days, toUnixTimestamp64Micro(created_at)",
    "clients": "client_id, version, removed, name, toString(token_sha256),"
    " arrayMap(grant -> concat(replaceAll(grant.site, '-', ''), ' ', grant.permission), grants), rate",
    "exclusions": "exclusion_id, version, removed, site_id, kind, value",
}

_CHANGES: Final[dict[str, Callable[[Sequence[Sequence[Any]]], Changes]]] = {
    "sites": lambda rows: Changes(sites=[SiteChange(*row) for row in rows]),
    "clients": lambda rows: Changes(clients=[ClientChange(*row) for row in rows]),
    "exclusions": lambda rows: Changes(exclusions=[ExclusionChange(*row) for row in rows]),
}


class Window(NamedTuple):
    """All of a table up to version `newest` is known, and `rows` of it are younger than a minute before that."""

    newest: int
    #: -1: not counted yet.
    rows: int


class Look(NamedTuple):
    """A table as it is now."""

    #: Newest version in it, 0 when it is empty; less than what was known only if rows were lost.
    latest: int
    #: The window of what it holds now.
    window: Window
    #: Rows that the last window has now.
    last_rows: int
    #: Rows behind the last window.
    new_rows: int


async def look(clickhouse: ClickHouse, known: Mapping[str, Window]) -> dict[str, Look]:
    """Look at all control tables, against what is known of them."""
    newest = {table: known[table].newest for table in TABLES}
    result = await clickhouse.query(_LOOK_AT_ALL, newest)
    return {
        table: Look(latest, Window(max(latest, newest[table]), rows), last_rows, new_rows)
        for table, latest, rows, last_rows, new_rows in result.result_rows
    }


async def rows(clickhouse: ClickHouse, table: str, after: int) -> AsyncIterator[Sequence[Sequence[Any]]]:
    """Yield the rows of `table` with a version above `after`, in no order, some `BLOCK_ROWS` at a time."""
    client = await clickhouse.client()
    stream = await client.query_row_block_stream(
        f"SELECT {_COLUMNS[table]} FROM hitline_control.{table} WHERE version > {{after:Int64}}",  # noqa: S608
        parameters={"after": after},
        settings={"max_block_size": BLOCK_ROWS},
    )
    gathered: list[Sequence[Any]] = []
    async with stream:
        async for block in stream:  # of a size that the server chooses
            gathered += block
            if len(gathered) >= BLOCK_ROWS:
                yield gathered
                gathered = []
    if gathered:
        yield gathered


def to_changes(table: str, block: Sequence[Sequence[Any]]) -> Changes:
    """Turn a block of `table`'s rows into changes."""
    return _CHANGES[table](block)
