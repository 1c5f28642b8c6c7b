"""Applying changes from ClickHouse's control tables to a replica: per id the newest version wins, in any order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SiteChange:
    """A row of `hitline_control.sites`; `created_us` and `version` are microseconds since the epoch."""

    id: UUID
    version: int
    removed: bool
    name: str = ""
    hostnames: Sequence[str] = ()
    timezone: str = "UTC"
    retention_days: int = 0
    created_us: int = 0


@dataclass(frozen=True, slots=True)
class ClientChange:
    """A row of `hitline_control.clients`; a grant is `SITE PERMISSION`, the site in hex or `*`."""

    id: UUID
    version: int
    removed: bool
    name: str = ""
    token_sha256: str = ""
    grants: Sequence[str] = ()
    rate: str = ""


@dataclass(frozen=True, slots=True)
class ExclusionChange:
    """A row of `hitline_control.exclusions`."""

    id: UUID
    version: int
    removed: bool
    site_id: UUID | None = None
    kind: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows of the control tables, in any order, repeated ones included."""

    sites: Sequence[SiteChange] = field(default_factory=list)
    clients: Sequence[ClientChange] = field(default_factory=list)
    exclusions: Sequence[ExclusionChange] = field(default_factory=list)


Change = SiteChange | ClientChange | ExclusionChange

#: The replica's table of each kind of change and the column that is its id.
_TABLES: Final = {
    SiteChange: ("sites", "site_id"),
    ClientChange: ("clients", "client_id"),
    ExclusionChange: ("exclusions", "exclusion_id"),
}
#: Below SQLite's limit of variables in one statement (999 in old builds).
_IDS_A_STATEMENT: Final = 500


def apply(connection: sqlite3.Connection, changes: Changes) -> int:
    """Write `changes` in one transaction and return how many of them were news; repeated ones change nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        news = sum(_apply(connection, rows) for rows in (changes.sites, changes.clients, changes.exclusions))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT" if news else "ROLLBACK")
    return news


def _apply(connection: sqlite3.Connection, rows: Sequence[Change]) -> int:
    if not rows:
        return 0
    table, key = _TABLES[type(rows[0])]
    newest = _newest(rows)
    known = _versions(connection, table, key, list(newest))
    news = [row for name, row in newest.items() if row.version > known.get(name, 0)]
    old = [(row.id.bytes,) for row in news if row.id.bytes in known]
    if table == "sites":
        _forget_hostnames(connection, old)
    connection.executemany(f"DELETE FROM {table} WHERE {key} = ?", old)  # noqa: S608 - names are this module's
    connection.executemany(
        "INSERT OR REPLACE INTO gone VALUES (?, ?, ?)",
        [(table, row.id.bytes, row.version) for row in news if row.removed],
    )
    _put(connection, [row for row in news if not row.removed])
    return len(news)


def _newest(rows: Iterable[Change]) -> dict[bytes, Change]:
    newest: dict[bytes, Change] = {}
    for row in rows:
        name = row.id.bytes
        if name not in newest or row.version > newest[name].version:
            newest[name] = row
    return newest


def _versions(connection: sqlite3.Connection, table: str, key: str, names: list[bytes]) -> dict[bytes, int]:
    """Return the newest known version of each of `names`, those of removed rows included."""
    known: dict[bytes, int] = {}
    for start in range(0, len(names), _IDS_A_STATEMENT):
        some = names[start : start + _IDS_A_STATEMENT]
        marks = ",".join("?" * len(some))
        for sql in (
            f"SELECT {key}, version FROM {table} WHERE {key} IN ({marks})",  # noqa: S608 - as above
            f"SELECT id, version FROM gone WHERE kind = '{table}' AND id IN ({marks})",  # noqa: S608
        ):
            for name, version in connection.execute(sql, some):
                known[name] = max(version, known.get(name, 0))
    return known


def _forget_hostnames(connection: sqlite3.Connection, sites: Iterable[tuple[bytes]]) -> None:
    for site in sites:
        for hostnames, created_us in connection.execute(
            "SELECT hostnames, created_us FROM sites WHERE site_id = ?", site
        ).fetchall():
            connection.executemany(
                "DELETE FROM hostnames WHERE hostname = ? AND created_us = ? AND site_id = ?",
                [(hostname, created_us, *site) for hostname in hostnames.split("\n")],
            )


def _put(connection: sqlite3.Connection, rows: Sequence[Change]) -> None:
    """Insert rows that are not there, in the tables' own order: at a million sites that writes each page once."""
    sites, hostnames, clients, exclusions = [], [], [], []
    for row in rows:
        name = row.id.bytes
        if isinstance(row, SiteChange):
            joined = "\n".join(row.hostnames)
            sites.append((name, row.name, joined, row.timezone, row.retention_days, row.created_us, row.version))
            hostnames += [(hostname, row.created_us, name) for hostname in row.hostnames]
        elif isinstance(row, ClientChange):
            clients.append((name, row.name, row.token_sha256, "\n".join(row.grants), row.rate, row.version))
        else:
            site = row.site_id.bytes if row.site_id else None
            exclusions.append((name, site, row.kind, row.value, row.version))
    connection.executemany("INSERT INTO sites VALUES (?, ?, ?, ?, ?, ?, ?)", sorted(sites))
    connection.executemany("INSERT OR IGNORE INTO hostnames VALUES (?, ?, ?)", sorted(hostnames))
    connection.executemany("INSERT INTO clients VALUES (?, ?, ?, ?, ?, ?)", clients)
    connection.executemany("INSERT INTO exclusions VALUES (?, ?, ?, ?, ?)", exclusions)
