"""Reading and changing the registry in ClickHouse, for the `hitline` command.

A change appends a row with a newer version.  That version is the server's clock, or one more than the newest where
the clock stands behind it (set back, or another server's): processes fetch only what is newer than they have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from shared.clickhouse import ClickHouse

_NEXT_VERSION: Final = (
    "greatest(toUInt64(toUnixTimestamp64Micro(now64(6))), 1 + (SELECT max(newest) FROM ("
    "SELECT max(version) AS newest FROM hitline_control.sites"
    " UNION ALL SELECT max(version) FROM hitline_control.clients"
    " UNION ALL SELECT max(version) FROM hitline_control.exclusions)))"
)


@dataclass(frozen=True, slots=True)
class Site:
    """A site as stored; `created_at` None: it is new, and the server's clock will tell."""

    site_id: UUID
    name: str
    hostnames: tuple[str, ...]
    timezone: str
    retention_days: int
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """An API client as stored; a grant is (site id or `*`, permission)."""

    client_id: UUID
    name: str
    token_sha256: str
    grants: tuple[tuple[str, str], ...]
    rate: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An exclusion as stored; without `site_id` it holds for all sites."""

    exclusion_id: UUID
    site_id: UUID | None
    kind: str
    value: str
    created_at: datetime | None = None


Record = Site | Client | Exclusion

_TYPES: Final[dict[type, dict[str, str]]] = {
    Site: {
        "site_id": "UUID",
        "name": "String",
        "hostnames": "Array(String)",
        "timezone": "String",
        "retention_days": "UInt32",
    },
    Client: {
        "client_id": "UUID",
        "name": "String",
        "token_sha256": "String",
        "grants": "Array(Tuple(String, String))",
        "rate": "String",
    },
    Exclusion: {"exclusion_id": "UUID", "site_id": "Nullable(UUID)", "kind": "String", "value": "String"},
}
_TABLES: Final[dict[type, str]] = {Site: "sites", Client: "clients", Exclusion: "exclusions"}


async def put(clickhouse: ClickHouse, record: Record) -> None:
    """Store a new record or a new state of one; returns once ClickHouse has it."""
    await _append(clickhouse, record, removed=False)


async def remove(clickhouse: ClickHouse, record: Record) -> None:
    """Take a record out of force."""
    await _append(clickhouse, record, removed=True)


async def _append(clickhouse: ClickHouse, record: Record, *, removed: bool) -> None:
    types = _TYPES[type(record)]
    created = "now64(6)" if record.created_at is None else "{created_at:DateTime64(6, 'UTC')}"
    values = ", ".join(f"{{{name}:{kind}}}" for name, kind in types.items())
    sql = (
        f"INSERT INTO hitline_control.{_TABLES[type(record)]} ({', '.join(types)}, created_at, removed, version)"
        f" SELECT {values}, {created}, {removed}, {_NEXT_VERSION}"
    )
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    parameters = {name: value if value is None else _parameter(value) for name, value in fields.items()}
    await clickhouse.command(sql, parameters)


def _parameter(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else list(value) if isinstance(value, tuple) else value


async def sites(clickhouse: ClickHouse) -> list[Site]:
    """Return all sites, by name."""
    return await _sites(clickhouse, "1", {})


async def sites_named(clickhouse: ClickHouse, names: Sequence[str]) -> list[Site]:
    """Return the sites that have one of `names` as name or hostname, the oldest first (which keeps it)."""
    found = await _sites(
        clickhouse,
        "site_id IN (SELECT site_id FROM hitline_control.sites"
        " WHERE hasAny(hostnames, {names:Array(String)}) OR has({names:Array(String)}, name))",
        {"names": list(names)},
    )
    wanted = set(names)
    claiming = [site for site in found if wanted & {site.name, *site.hostnames}]
    return sorted(claiming, key=lambda site: (site.created_at, site.site_id.bytes))


async def _sites(clickhouse: ClickHouse, condition: str, parameters: dict[str, Any]) -> list[Site]:
    rows = await _newest(
        clickhouse,
        "sites",
        "site_id",
        "site_id, name, hostnames, timezone, retention_days, created_at",
        condition,
        parameters,
    )
    return [Site(row[0], row[1], tuple(row[2]), row[3], row[4], row[5]) for row in rows]


async def clients(clickhouse: ClickHouse, name: str | None = None) -> list[Client]:
    """Return all API clients by name, or those called `name`, the oldest first."""
    rows = await _newest(
        clickhouse,
        "clients",
        "client_id",
        "client_id, name, toString(token_sha256), arrayMap(grant -> [grant.site, grant.permission], grants), rate,"
        " created_at",
        "1" if name is None else "name = {name:String}",
        {} if name is None else {"name": name},
    )
    return [
        Client(row[0], row[1], row[2], tuple((site, what) for site, what in row[3]), row[4], row[5]) for row in rows
    ]


async def exclusions(clickhouse: ClickHouse) -> list[Exclusion]:
    """Return all exclusions, the oldest first."""
    rows = await _newest(
        clickhouse, "exclusions", "exclusion_id", "exclusion_id, site_id, kind, value, created_at", "1", {}
    )
    return sorted((Exclusion(*row) for row in rows), key=lambda rule: (rule.created_at, rule.exclusion_id.bytes))


async def _newest(
    clickhouse: ClickHouse, table: str, key: str, columns: str, condition: str, parameters: dict[str, Any]
) -> list[Sequence[Any]]:
    """Return `columns` of the newest row of each id that is not removed."""
    order = "created_at" if table == "exclusions" else "name, created_at"
    result = await clickhouse.query(
        f"SELECT {columns} FROM (SELECT * FROM hitline_control.{table} WHERE {condition}"  # noqa: S608
        f" ORDER BY version DESC LIMIT 1 BY {key}) WHERE NOT removed ORDER BY {order}, {key}",
        parameters,
    )
    return list(result.result_rows)
