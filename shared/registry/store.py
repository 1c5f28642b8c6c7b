"""The registry in ClickHouse (`hitline_control`): changes are written and read here.

A change appends a row with a newer version, which is the server's clock in microseconds, or one more than the newest
version if that clock is behind it (set back, or another server's): processes fetch only what is newer than their
copy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import starmap
from typing import Any, Final
from uuid import UUID

from shared.clickhouse import ClickHouse
from shared.registry.records import (
    CLIENTS,
    EVERY_SITE,
    EXCLUSIONS,
    SITES,
    TABLES,
    Change,
    Client,
    Exclusion,
    Grant,
    Record,
    Site,
    Table,
)

#: Rows fetched at once: a million sites must not be in memory together.
BLOCK_ROWS: Final = 20_000

_NEWEST_VERSION: Final = " UNION ALL ".join(
    f"SELECT max(version) AS newest FROM hitline_control.{table.name}"  # noqa: S608 - names are constants
    for table in TABLES.values()
)
_NEXT_VERSION: Final = (
    f"greatest(toUInt64(toUnixTimestamp64Micro(now64(6))), 1 + (SELECT max(newest) FROM ({_NEWEST_VERSION})))"  # noqa: S608
)


async def put(clickhouse: ClickHouse, record: Record) -> None:
    """Store a new record, or a new state of one; returns once ClickHouse has it."""
    await _append(clickhouse, record, removed=False)


async def remove(clickhouse: ClickHouse, record: Record) -> None:
    """Remove a record: its history stays, but it is no longer in force."""
    await _append(clickhouse, record, removed=True)


async def _append(clickhouse: ClickHouse, record: Record, *, removed: bool) -> None:
    table = TABLES[type(record)]
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    created = "now64(6)" if record.created_us is None else "fromUnixTimestamp64Micro({created_us:Int64}, 'UTC')"
    values = ", ".join(f"{{{name}:{kind}}}" for name, kind in table.columns.items())
    await clickhouse.command(
        f"INSERT INTO hitline_control.{table.name} ({', '.join(table.columns)}, created_at, removed, version)"
        f" SELECT {values}, {created}, {removed}, {_NEXT_VERSION}",
        {name: _to_parameter(value) for name, value in fields.items()},
    )


def _to_parameter(value: Any) -> Any:
    if isinstance(value, bytes):
        return str(UUID(bytes=value))
    if isinstance(value, frozenset):
        return sorted((_site_text(grant.site_id), grant.permission) for grant in value)
    return list(value) if isinstance(value, tuple) else value


def _site_text(site_id: bytes | None) -> str:
    return EVERY_SITE if site_id is None else str(UUID(bytes=site_id))


async def sites(clickhouse: ClickHouse) -> list[Site]:
    """Return all sites, sorted by name."""
    found = await _in_force(clickhouse, SITES)
    return sorted(found, key=lambda site: (site.name, site.created_us, site.site_id))


async def sites_named(clickhouse: ClickHouse, names: Sequence[str]) -> list[Site]:
    """Return the sites that have one of `names` as name or hostname, the oldest (which owns it) first."""
    found: list[Site] = await _in_force(
        clickhouse,
        SITES,
        "site_id IN (SELECT site_id FROM hitline_control.sites"
        " WHERE hasAny(hostnames, {names:Array(String)}) OR has({names:Array(String)}, name))",
        {"names": list(names)},
    )
    wanted = set(names)
    listing = [site for site in found if wanted & {site.name, *site.hostnames}]
    return sorted(listing, key=lambda site: (site.created_us, site.site_id))


async def site_history(clickhouse: ClickHouse, name: str, site_id: bytes) -> list[tuple[Site, bool]]:
    """Return each site that has or had this name or id, as it is or last was, and whether it has been removed."""
    found = await _newest(
        clickhouse,
        SITES,
        having="name = {name:String} OR site_id = {site_id:UUID}",
        parameters={"name": name, "site_id": str(UUID(bytes=site_id))},
    )
    return [(change.record, change.removed) for change in found if isinstance(change.record, Site)]


async def clients(clickhouse: ClickHouse, name: str | None = None) -> list[Client]:
    """Return all API clients sorted by name, or those called `name`, the oldest first."""
    condition, parameters = ("1", {}) if name is None else ("name = {name:String}", {"name": name})
    found = await _in_force(clickhouse, CLIENTS, condition, parameters)
    return sorted(found, key=lambda client: (client.name, client.created_us, client.client_id))


async def exclusions(clickhouse: ClickHouse) -> list[Exclusion]:
    """Return all exclusion rules, the oldest first."""
    found = await _in_force(clickhouse, EXCLUSIONS)
    return sorted(found, key=lambda rule: (rule.created_us, rule.exclusion_id))


async def _in_force(
    clickhouse: ClickHouse, table: Table, where: str = "1", parameters: Mapping[str, Any] | None = None
) -> list[Any]:
    changes = await _newest(clickhouse, table, where=where, having="NOT removed", parameters=parameters)
    return [change.record for change in changes]


async def _newest(
    clickhouse: ClickHouse,
    table: Table,
    *,
    where: str = "1",
    having: str = "1",
    parameters: Mapping[str, Any] | None = None,
) -> list[Change]:
    """Return the newest of each id's rows for which `where` holds, if `having` holds for it."""
    result = await clickhouse.query(
        f"SELECT {_selection(table)} FROM (SELECT * FROM hitline_control.{table.name} WHERE {where}"  # noqa: S608
        f" ORDER BY version DESC LIMIT 1 BY {table.key}) WHERE {having}",
        parameters,
    )
    return to_changes(table, result.result_rows)


async def rows(clickhouse: ClickHouse, table: Table, after: int) -> AsyncIterator[Sequence[Sequence[Any]]]:
    """Yield the rows of `table` with a version above `after`, unsorted, about `BLOCK_ROWS` at a time."""
    client = await clickhouse.client()
    stream = await client.query_row_block_stream(
        f"SELECT {_selection(table)} FROM hitline_control.{table.name} WHERE version > {{after:Int64}}",  # noqa: S608
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


def _selection(table: Table) -> str:
    """Return the columns to select for `to_changes`."""
    columns = ", ".join(f"CAST({name}, '{kind}')" for name, kind in table.columns.items())
    return f"{columns}, toUnixTimestamp64Micro(created_at), version, removed"


def to_changes(table: Table, rows: Sequence[Sequence[Any]]) -> list[Change]:
    """Turn rows of `_selection` into changes."""
    make = _MAKERS[table.name]
    return [Change(make(*row[:-2]), row[-2], row[-1]) for row in rows]


def _site(
    site_id: UUID,
    name: str,
    hostnames: list[str],
    timezone: str,
    days: int,
    keep: list[str],
    drop: list[str],
    *rest: Any,
) -> Site:
    return Site(site_id.bytes, name, tuple(hostnames), timezone, days, tuple(keep), tuple(drop), *rest)


def _client(client_id: UUID, name: str, grants: list[tuple[str, str]], *rest: Any) -> Client:
    return Client(client_id.bytes, name, frozenset(filter(None, starmap(Grant.read, grants))), *rest)


def _exclusion(exclusion_id: UUID, kind: str, value: str, site_id: UUID | None, created_us: int) -> Exclusion:
    return Exclusion(exclusion_id.bytes, kind, value, site_id.bytes if site_id else None, created_us)


_MAKERS: Final[Mapping[str, Callable[..., Record]]] = {
    SITES.name: _site,
    CLIENTS.name: _client,
    EXCLUSIONS.name: _exclusion,
}
