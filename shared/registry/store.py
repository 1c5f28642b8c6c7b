"""The registry in ClickHouse (`hitline_control`): commands write and read it here; `fetch` is what processes read.

A change appends a row with a newer version, which is the server's clock in microseconds, or one more than the newest
version if that clock is behind it (set back, or another server's): processes fetch only what is newer than their
copy.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from shared.clickhouse import ClickHouse
from shared.registry.records import (
    CLIENTS,
    EXCLUSIONS,
    GRANTS,
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

#: Rows of one insert.
_INSERTED: Final = 50_000
#: Two commands that ask for a version in the same moment get different ones, almost surely.
_SPREAD_US: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_NEWEST_VERSION: Final = " UNION ALL ".join(
    f"SELECT max(version) AS newest FROM hitline_control.{table.name}"  # noqa: S608 - names are constants
    for table in TABLES.values()
)
_NOW: Final = f"""
SELECT toUnixTimestamp64Micro(now64(6)) AS now,
       greatest(toUInt64(now), 1 + (SELECT max(newest) FROM ({_NEWEST_VERSION})))
"""  # noqa: S608


#: Records that were written in one insert, and their version.
Written = list[tuple[int, Sequence[Record]]]


async def put(clickhouse: ClickHouse, *records: Record) -> Written:
    """Store new records, or new states of some; returns their versions once ClickHouse has them."""
    return await _append(clickhouse, records, removed=False)


async def remove(clickhouse: ClickHouse, *records: Record) -> Written:
    """Remove records: their history stays, but they are no longer in force; returns these states' versions."""
    return await _append(clickhouse, records, removed=True)


async def _append(clickhouse: ClickHouse, records: Sequence[Record], *, removed: bool) -> Written:
    written: Written = []
    by_table = sorted(records, key=lambda record: TABLES[type(record)].name)
    for table, some in groupby(by_table, key=lambda record: TABLES[type(record)]):
        of_table = list(some)
        for start in range(0, len(of_table), _INSERTED):
            block = of_table[start : start + _INSERTED]
            written.append((await _insert(clickhouse, table, block, removed=removed), block))
    return written


async def _insert(clickhouse: ClickHouse, table: Table, records: Iterable[Record], *, removed: bool) -> int:
    """Insert rows with a version that is asked for right before, so that it is not old when they become visible."""
    now_us, version = (await clickhouse.query(_NOW)).result_rows[0]
    version += random.randrange(_SPREAD_US)
    columns = {**table.columns, "created_at": "DateTime64(6, 'UTC')", "removed": "Bool", "version": "UInt64"}
    if table is CLIENTS:
        columns["grants_in_rows"] = "Bool"
    rows = []
    for record in records:
        created = _EPOCH + timedelta(microseconds=now_us if record.created_us is None else record.created_us)
        row = [*_values(record), created, removed, version]
        rows.append([*row, True] if table is CLIENTS else row)
    await clickhouse.insert(
        f"hitline_control.{table.name}",
        list(columns),
        rows,
        token=secrets.token_hex(16),
        column_type_names=list(columns.values()),
    )
    return int(version)


def _values(record: Record) -> tuple[Any, ...]:
    """Return a record's values in the order of its table's columns."""
    match record:
        case Site():
            return _site_values(record)
        case Client(client_id, name, rate, token_sha256, burst, old_grants):
            return UUID(bytes=client_id), name, rate, token_sha256, burst, list(old_grants)
        case Grant(client_id, permission, site_id):
            return UUID(bytes=client_id), permission, UUID(bytes=site_id)
        case Exclusion(exclusion_id, kind, value, site_id):
            return UUID(bytes=exclusion_id), kind, value, UUID(bytes=site_id) if site_id else None


def _site_values(site: Site) -> tuple[Any, ...]:
    options = list(site.query_keep), list(site.query_drop), site.hash_paths, site.derived_sessions
    return UUID(bytes=site.site_id), site.name, list(site.hostnames), site.timezone, site.retention_days, *options


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
    found = await newest(
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


async def grants(clickhouse: ClickHouse, client: Client | None = None) -> list[Grant]:
    """Return all grants in force, or a client's; those on removed sites included."""
    where, parameters = ("1", {}) if client is None else ("client_id = {id:UUID}", {"id": UUID(bytes=client.client_id)})
    result = await clickhouse.query(
        f"SELECT {selection(GRANTS)} FROM hitline_control.grants FINAL WHERE NOT removed AND {where}",  # noqa: S608
        parameters,
    )
    return [change.record for change in to_changes(GRANTS, result.result_rows) if isinstance(change.record, Grant)]


async def exclusions(clickhouse: ClickHouse) -> list[Exclusion]:
    """Return all exclusion rules, the oldest first."""
    found = await _in_force(clickhouse, EXCLUSIONS)
    return sorted(found, key=lambda rule: (rule.created_us, rule.exclusion_id))


async def _in_force(
    clickhouse: ClickHouse, table: Table, where: str = "1", parameters: Mapping[str, Any] | None = None
) -> list[Any]:
    changes = await newest(clickhouse, table, where=where, having="NOT removed", parameters=parameters)
    return [change.record for change in changes]


async def newest(
    clickhouse: ClickHouse,
    table: Table,
    *,
    where: str = "1",
    having: str = "1",
    parameters: Mapping[str, Any] | None = None,
) -> list[Change]:
    """Return the newest of each id's rows for which `where` holds, if `having` holds for it."""
    result = await clickhouse.query(
        f"SELECT {selection(table)} FROM (SELECT * FROM hitline_control.{table.name} WHERE {where}"  # noqa: S608
        f" ORDER BY version DESC LIMIT 1 BY {', '.join(table.key)}) WHERE {having}",
        parameters,
    )
    return to_changes(table, result.result_rows)


def selection(table: Table, *, copied: bool = False) -> str:
    """Return the columns to select for `to_changes`; `copied`: those that replicas do without are left empty."""
    columns = ", ".join(
        f"CAST({'[]' if copied and name in table.not_copied else name}, '{kind}')"
        for name, kind in table.columns.items()
    )
    return f"{columns}, toUnixTimestamp64Micro(created_at), version, removed"


def to_changes(table: Table, rows: Sequence[Sequence[Any]]) -> list[Change]:
    """Turn rows of `selection` into changes."""
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


def _client(
    client_id: UUID, name: str, rate: str, token: str, burst: int, grants: list[Any], created_us: int
) -> Client:
    return Client(client_id.bytes, name, rate, token, burst, tuple(map(tuple, grants)), created_us)


def _grant(client_id: UUID, permission: str, site_id: UUID, created_us: int) -> Grant:
    return Grant(client_id.bytes, permission, site_id.bytes, created_us)


def _exclusion(exclusion_id: UUID, kind: str, value: str, site_id: UUID | None, created_us: int) -> Exclusion:
    return Exclusion(exclusion_id.bytes, kind, value, site_id.bytes if site_id else None, created_us)


_MAKERS: Final[Mapping[str, Callable[..., Record]]] = {
    SITES.name: _site,
    CLIENTS.name: _client,
    GRANTS.name: _grant,
    EXCLUSIONS.name: _exclusion,
}
