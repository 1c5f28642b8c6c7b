"""What is asked of ClickHouse's control tables: a summary that tells whether anything is new, and the new rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from shared.clickhouse import ClickHouse
from shared.registry.changes import Changes, ClientChange, ExclusionChange, SiteChange

#: Rows fetched at once: a million sites must not be in memory together.
PAGE_ROWS: Final = 10_000

_TABLES: Final = ("sites", "clients", "exclusions")

_SUMMARY: Final = " UNION ALL ".join(
    f"SELECT '{table}' AS name, max(version) AS newest, count() AS rows FROM hitline_control.{table}"  # noqa: S608
    " WHERE version > {after:UInt64}"
    for table in _TABLES
)

#: Each table's id and its columns in the order of the change's fields.  Ids of sites in grants lose their hyphens.
_COLUMNS: Final = {
    "sites": (
        "site_id",
        "site_id, version, removed, name, hostnames, timezone, retention_days, toUnixTimestamp64Micro(created_at)",
    ),
    "clients": (
        "client_id",
        "client_id, version, removed, name, toString(token_sha256),"
        " arrayMap(grant -> concat(replaceAll(grant.site, '-', ''), ' ', grant.permission), grants), rate",
    ),
    "exclusions": ("exclusion_id", "exclusion_id, version, removed, site_id, kind, value"),
}


class Summary(NamedTuple):
    """How many rows a control table has behind some version, and the newest version among them (0: none)."""

    newest: int
    rows: int


async def summaries(clickhouse: ClickHouse, after: int) -> dict[str, Summary]:
    """Return each table's summary of the rows with a version above `after`."""
    result = await clickhouse.query(_SUMMARY, {"after": after})
    return {name: Summary(newest, rows) for name, newest, rows in result.result_rows}


async def pages(clickhouse: ClickHouse, table: str, after: int) -> AsyncIterator[Changes]:
    """Yield `table`'s rows with a version above `after`, oldest first, `PAGE_ROWS` at a time.

    Rows of one insert share a version, so a page starts behind a version *and* an id.
    """
    key, columns = _COLUMNS[table]
    sql = (
        f"SELECT {columns} FROM hitline_control.{table}"  # noqa: S608 - names are this module's
        " WHERE version >= {version:UInt64} AND (version > {version:UInt64} OR " + key + " > {id:UUID})"
        f" ORDER BY version, {key} LIMIT {PAGE_ROWS}"
    )
    version, last = after + 1, UUID(int=0)
    while True:
        rows = (await clickhouse.query(sql, {"version": version, "id": str(last)})).result_rows
        if rows:
            yield _CHANGES[table](rows)
        if len(rows) < PAGE_ROWS:
            return
        last, version = rows[-1][0], rows[-1][1]


_CHANGES: Final[dict[str, Callable[[Sequence[Sequence[Any]]], Changes]]] = {
    "sites": lambda rows: Changes(sites=[SiteChange(*row) for row in rows]),
    "clients": lambda rows: Changes(clients=[ClientChange(*row) for row in rows]),
    "exclusions": lambda rows: Changes(exclusions=[ExclusionChange(*row) for row in rows]),
}
