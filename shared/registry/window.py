"""Whether the registry in ClickHouse has changed since the last poll.

An insert may become visible after one with a newer version, so asking for rows above the newest known version is not
enough.  A *window* holds how many rows are in the minute up to the newest version; if there are more the next time,
some arrived late, and that minute is fetched again.  Polling a quiet registry costs one small query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from shared.clickhouse import ClickHouse
from shared.registry.records import TABLES

#: How far inserts may become visible out of order.
OVERLAP_US: Final = 60_000_000

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
_LOOK_AT_ALL: Final = " UNION ALL ".join(
    _LOOK.format(table=table.name, overlap=OVERLAP_US) for table in TABLES.values()
)


class Window(NamedTuple):
    """All of a table up to version `newest` is known; `rows` of it lie in the minute before."""

    newest: int
    #: -1: not counted yet.
    rows: int


class Look(NamedTuple):
    """A table as it is now, compared with the last window."""

    #: Newest version in it, 0 if it is empty; below the last window's only if rows were lost.
    latest: int
    #: The window of what it holds now.
    window: Window
    #: Rows that the last window has now.
    last_rows: int
    #: Rows above the last window.
    new_rows: int


async def look(clickhouse: ClickHouse, known: Mapping[str, Window]) -> dict[str, Look]:
    """Compare all tables, by name, with their known windows."""
    newest = {table: window.newest for table, window in known.items()}
    result = await clickhouse.query(_LOOK_AT_ALL, newest)
    return {
        table: Look(latest, Window(max(latest, newest[table]), rows), last_rows, new_rows)
        for table, latest, rows, last_rows, new_rows in result.result_rows
    }
