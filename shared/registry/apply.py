"""Applying changes to a replica's tables: the newest version of each id wins, in any order of arrival."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

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
)

#: Below SQLite's limit of variables in one statement (999 in old builds).
_IDS_PER_STATEMENT: Final = 500

#: The columns of each of a replica's tables; when a site was created decides who owns a hostname.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    SITES.name: (*SITES.columns, "created_us", "version"),
    CLIENTS.name: (*CLIENTS.columns, "version"),
    EXCLUSIONS.name: (*EXCLUSIONS.columns, "version"),
}
_INSERTS: Final = {
    table: f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
    for table, columns in COLUMNS.items()
}


def apply(connection: sqlite3.Connection, changes: Iterable[Change]) -> int:
    """Write `changes` in one transaction and return how many were new; repeated or outdated ones change nothing."""
    by_type: dict[type[Record], list[Change]] = {kind: [] for kind in TABLES}
    for change in changes:
        by_type[type(change.record)].append(change)
    connection.execute("BEGIN IMMEDIATE")
    try:
        new = sum(_apply(connection, kind, some) for kind, some in by_type.items() if some)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT" if new else "ROLLBACK")
    return new


def _apply(connection: sqlite3.Connection, kind: type[Record], changes: Sequence[Change]) -> int:
    table, key = TABLES[kind].name, TABLES[kind].key
    newest = _newest(changes)
    known = _versions(connection, table, key, list(newest))
    new = {id: change for id, change in newest.items() if change.version > known.get(id, 0)}
    replaced = [(id,) for id in new if id in known]
    if table == SITES.name:
        _delete_hostnames(connection, replaced)
    connection.executemany(f"DELETE FROM {table} WHERE {key} = ?", replaced)  # noqa: S608 - names are constants
    connection.executemany(
        "INSERT OR REPLACE INTO gone VALUES (?, ?, ?)",
        [(table, id, change.version) for id, change in new.items() if change.removed],
    )
    _insert(connection, table, [change for change in new.values() if not change.removed])
    return len(new)


def _newest(changes: Iterable[Change]) -> dict[bytes, Change]:
    newest: dict[bytes, Change] = {}
    for change in changes:
        id = _id(change.record)
        if id not in newest or change.version > newest[id].version:
            newest[id] = change
    return newest


def _id(record: Record) -> bytes:
    if isinstance(record, Site):
        return record.site_id
    return record.client_id if isinstance(record, Client) else record.exclusion_id


def _versions(connection: sqlite3.Connection, table: str, key: str, ids: list[bytes]) -> dict[bytes, int]:
    """Return the newest known version of each of `ids`, including those of removed records."""
    known: dict[bytes, int] = {}
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        some = ids[start : start + _IDS_PER_STATEMENT]
        marks = ",".join("?" * len(some))
        for sql in (
            f"SELECT {key}, version FROM {table} WHERE {key} IN ({marks})",  # noqa: S608 - as above
            f"SELECT id, version FROM gone WHERE kind = '{table}' AND id IN ({marks})",  # noqa: S608
        ):
            for id, version in connection.execute(sql, some):
                known[id] = max(version, known.get(id, 0))
    return known


def _delete_hostnames(connection: sqlite3.Connection, sites: Iterable[tuple[bytes]]) -> None:
    for site in sites:
        for hostnames, created_us in connection.execute(
            "SELECT hostnames, created_us FROM sites WHERE site_id = ?", site
        ).fetchall():
            connection.executemany(
                "DELETE FROM hostnames WHERE hostname = ? AND created_us = ? AND site_id = ?",
                [(hostname, created_us, *site) for hostname in read_hostnames(hostnames)],
            )


def _insert(connection: sqlite3.Connection, table: str, changes: Sequence[Change]) -> None:
    """Insert rows whose ids are not there, sorted like the tables: at a million sites that writes each page once."""
    rows = sorted(_row(change.record, change.version) for change in changes)
    connection.executemany(_INSERTS[table], rows)
    sites = [change.record for change in changes if isinstance(change.record, Site)]
    hostnames = [(hostname, site.created_us or 0, site.site_id) for site in sites for hostname in site.hostnames]
    connection.executemany("INSERT OR IGNORE INTO hostnames VALUES (?, ?, ?)", sorted(hostnames))


def _row(record: Record, version: int) -> tuple[Any, ...]:
    """Return a record's row in the order of `COLUMNS`."""
    match record:
        case Site():
            return _site_row(record, version)
        case Client(client_id, name, grants, rate, token_sha256, burst):
            return client_id, name, _write_grants(grants), rate, token_sha256, burst, version
        case Exclusion(exclusion_id, kind, value, site_id):
            return exclusion_id, kind, value, site_id, version


def _site_row(site: Site, version: int) -> tuple[Any, ...]:
    lists = ["\n".join(names) for names in (site.hostnames, site.query_keep, site.query_drop)]
    plain = site.timezone, site.retention_days
    options = lists[1], lists[2], site.hash_paths, site.derived_sessions
    return site.site_id, site.name, lists[0], *plain, *options, site.created_us or 0, version


def read_site(row: Sequence[Any]) -> Site:
    """Read a site from its columns, in the order of `SITES`."""
    site_id, name, hostnames, timezone, days, keep, drop, *switches = row
    lists = [tuple(text.split("\n")) if text else () for text in (hostnames, keep, drop)]
    return Site(site_id, name, lists[0], timezone, days, lists[1], lists[2], *map(bool, switches))


def read_hostnames(text: str) -> tuple[str, ...]:
    """Read a site's hostnames from their column."""
    return tuple(text.split("\n"))


def read_grants(text: str) -> frozenset[Grant]:
    """Read a client's grants from their column."""
    grants = (Grant.read(*line.split(" ", 1)) for line in text.splitlines())
    return frozenset(grant for grant in grants if grant)


def _write_grants(grants: frozenset[Grant]) -> str:
    lines = (f"{grant.site_id.hex() if grant.site_id else EVERY_SITE} {grant.permission}" for grant in grants)
    return "\n".join(sorted(lines))
