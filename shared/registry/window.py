"""Whether the registry in ClickHouse has changed since the last poll, and how.

A *marker* says whether anything has: how many rows and bytes the tables' parts have, which ClickHouse knows without
reading them.  It changes with every insert, also with one that becomes visible late, and with every merge.  Polling a
quiet registry costs this one small query.

If it has changed, tables are compared with their *windows*.  An insert may become visible after one with a newer
version, so asking for rows above the newest known version is not enough: a window also holds a hash of the rows in the
minute up to the newest version.  If that is another the next time, some arrived late, and that minute is fetched again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from shared.clickhouse import ClickHouse
from shared.registry.records import TABLES, Table

#: How far inserts may become visible out of order.
OVERLAP_US: Final = 60_000_000

_MARKER: Final = (
    "SELECT name, total_rows, total_bytes FROM system.tables WHERE database = 'hitline_control'"  # noqa: S608
    f" AND name IN ({', '.join(repr(table.name) for table in TABLES.values())}) ORDER BY name"
    " SETTINGS max_threads = 1"
)

#: Versions are compared as signed numbers, since a window may begin below zero.  Of the rows above it those are counted
#: that a merge can't take away meanwhile.
_LOOK: Final = """
WITH
    (SELECT max(version) FROM hitline_control.{table}) AS latest,
    greatest(latest, {{{table}:UInt64}}) AS newest,
    toInt64(newest) - {overlap} AS start,
    toInt64({{{table}:UInt64}}) - {overlap} AS last_start
SELECT
    '{table}',
    latest,
    sumIf(cityHash64({key}, version), version > start AND version <= newest),
    sumIf(cityHash64({key}, version), version > last_start AND version <= {{{table}:UInt64}}),
    uniqExactIf(({key}), version > {{{table}:UInt64}}),
    uniqExactIf(({key}), version > last_start)
FROM hitline_control.{table}
WHERE version > if({{{table}:UInt64}} = 0, start, last_start)
"""


def _look_at(table: Table) -> str:
    return _LOOK.format(table=table.name, key=", ".join(table.key), overlap=OVERLAP_US)


_LOOK_AT_ALL: Final = " UNION ALL ".join(map(_look_at, TABLES.values()))

#: A value that stays the same as long as no table changes; None: ClickHouse does not tell.
Marker = tuple[tuple[str, int, int], ...] | None


class Window(NamedTuple):
    """All of a table up to version `newest` is known (0: nothing); `rows`: a hash of those in the minute before."""

    newest: int
    #: -1: not known yet.
    rows: int


class Look(NamedTuple):
    """A table as it is now, compared with the last window."""

    #: Newest version in it, 0 if it is empty; below the last window's only if rows were lost.
    latest: int
    #: The window of what it holds now.
    window: Window
    #: The hash of the rows that the last window has now.
    last_rows: int
    #: Records with rows above the last window, and with rows in it or above it; of a table that is not known at all
    #: the newest ones only.
    new: int
    late_or_new: int


async def read_marker(clickhouse: ClickHouse) -> Marker:
    """Return the marker of all tables as they are now; of a replica that is far behind, raise `ConnectionError`.

    Less than `OVERLAP_US` behind, it shows late what the others have, as an insert that becomes visible late.
    """
    await clickhouse.require_current("hitline_control")
    rows = (await clickhouse.query(_MARKER)).result_rows
    known = len(rows) == len(TABLES) and all(None not in row for row in rows)
    return tuple(map(tuple, rows)) if known else None


async def look(clickhouse: ClickHouse, known: Mapping[str, Window]) -> dict[str, Look]:
    """Compare all tables, by name, with their known windows."""
    newest = {table: window.newest for table, window in known.items()}
    result = await clickhouse.query(_LOOK_AT_ALL, newest)
    return {
        table: Look(latest, Window(max(latest, newest[table]), rows), *rest)
        for table, latest, rows, *rest in result.result_rows
    }
