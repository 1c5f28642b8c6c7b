"""Applying changes to a replica's tables: the newest version of each id wins, in any order of arrival."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Final

from shared.registry import apply_grants
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
)
from shared.registry.touched import Rule, Touched

#: Below SQLite's limit of variables in one statement (999 in old builds).
_IDS_PER_STATEMENT: Final = 500

#: A site's columns that `read_site` takes.
SITE_COLUMNS: Final = tuple(name for name in SITES.columns if name != "hostnames")
#: The columns of each of a replica's tables; when a site was created decides who owns a hostname.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    SITES.name: (*SITE_COLUMNS, "created_us", "version", "hostnames"),
    CLIENTS.name: ("client_id", "name", "rate", "token_sha256", "burst", "version"),
    EXCLUSIONS.name: (*EXCLUSIONS.columns, "version"),
}
_INSERTS: Final = {
    table: f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
    for table, columns in COLUMNS.items()
}


def apply(connection: sqlite3.Connection, changes: Iterable[Change]) -> tuple[int, Touched]:
    """Write `changes` in one transaction; returns how many were new, and what they concern.

    Repeated or outdated ones change nothing.
    """
    by_type: dict[type[Record], list[Change]] = {kind: [] for kind in TABLES}
    for change in changes:
        by_type[type(change.record)].append(change)
    touched, new = Touched(), 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        for kind, some in by_type.items():
            if some:
                write = apply_grants.apply if kind is Grant else _apply
                new += write(connection, some, touched)
                touched.bound()
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT" if new else "ROLLBACK")
    return new, touched


def clear(connection: sqlite3.Connection, table: str) -> None:
    """Empty a table, with what belongs to it."""
    for name in (table, *({SITES.name: ["hostnames"], GRANTS.name: ["holders"]}.get(table, []))):
        connection.execute(f"DELETE FROM {name}")  # noqa: S608 - names are constants
    connection.execute("DELETE FROM gone WHERE kind = ?", (table,))


def _apply(connection: sqlite3.Connection, changes: Sequence[Change], touched: Touched) -> int:
    """Write changes of one kind of record."""
    kind = type(changes[0].record)
    table, key = TABLES[kind].name, TABLES[kind].key[0]
    newest = _newest(changes)
    known = _versions(connection, table, key, list(newest))
    new = {id: change for id, change in newest.items() if change.version > known.get(id, (0, False))[0]}
    replaced = {id for id in new if id in known and known[id][1]}
    _TOUCH[kind](connection, new, replaced, touched)
    connection.executemany(f"DELETE FROM {table} WHERE {key} = ?", [(id,) for id in replaced])  # noqa: S608
    connection.executemany(
        "INSERT OR REPLACE INTO gone VALUES (?, ?, ?)",
        [(table, id, change.version) for id, change in new.items() if change.removed],
    )
    # Sorted like the tables: at a million sites that writes each page once.
    rows = sorted(_row(change.record, change.version) for change in new.values() if not change.removed)
    connection.executemany(_INSERTS[table], rows)
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
    return record.exclusion_id if isinstance(record, Exclusion) else record.client_id


def _versions(connection: sqlite3.Connection, table: str, key: str, ids: list[bytes]) -> dict[bytes, tuple[int, bool]]:
    """Return the newest known version of each of `ids`, and whether the record is in the table."""
    known: dict[bytes, tuple[int, bool]] = {}
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        some = ids[start : start + _IDS_PER_STATEMENT]
        marks = ",".join("?" * len(some))
        for sql, there in (
            (f"SELECT id, version FROM gone WHERE kind = '{table}' AND id IN ({marks})", False),  # noqa: S608
            (f"SELECT {key}, version FROM {table} WHERE {key} IN ({marks})", True),  # noqa: S608 - names are constants
        ):
            for id, version in connection.execute(sql, some):
                known[id] = max(version, known.get(id, (0, False))[0]), there
    return known


def _touch_sites(
    connection: sqlite3.Connection, new: Mapping[bytes, Change], replaced: Set[bytes], touched: Touched
) -> None:
    """Note which sites have changed, and write the difference in their hostnames, which may be thousands a site."""
    gone: list[tuple[str, int, bytes]] = []
    come: list[tuple[str, int, bytes]] = []
    for id, change in new.items():
        was, since_us = _listed(connection, id) if id in replaced else (set(), 0)
        now, created_us = _lists(change)
        same = since_us == created_us
        gone += [(hostname, since_us, id) for hostname in (was - now if same else was)]
        come += [(hostname, created_us, id) for hostname in (now - was if same else now)]
        if change.removed or id not in replaced:
            touched.come_or_gone.add(id)
    touched.sites.update(new)
    touched.hostnames.update(hostname for hostname, _, _ in come)
    connection.executemany("DELETE FROM hostnames WHERE hostname = ? AND created_us = ? AND site_id = ?", gone)
    connection.executemany("INSERT OR IGNORE INTO hostnames VALUES (?, ?, ?)", sorted(come))


def _listed(connection: sqlite3.Connection, site_id: bytes) -> tuple[set[str], int]:
    """Return the hostnames that a site lists so far, and since when."""
    row = connection.execute("SELECT hostnames, created_us FROM sites WHERE site_id = ?", (site_id,)).fetchone()
    return set(read_names(row[0])), row[1]


def _lists(change: Change) -> tuple[set[str], int]:
    """Return the hostnames that a site lists from now on, and since when."""
    assert isinstance(change.record, Site)  # noqa: S101 - for mypy
    return set() if change.removed else set(change.record.hostnames), change.record.created_us or 0


def _touch_clients(
    connection: sqlite3.Connection, new: Mapping[bytes, Change], replaced: Set[bytes], touched: Touched
) -> None:
    for id in replaced:
        touched.tokens.update(*connection.execute("SELECT token_sha256 FROM clients WHERE client_id = ?", (id,)))
    touched.tokens.update(change.record.token_sha256 for change in new.values() if isinstance(change.record, Client))


def _touch_exclusions(
    connection: sqlite3.Connection, new: Mapping[bytes, Change], replaced: Set[bytes], touched: Touched
) -> None:
    for id in replaced:
        sql = "SELECT site_id, kind, value FROM exclusions WHERE exclusion_id = ?"
        touched.rules.update(Rule(*row) for row in connection.execute(sql, (id,)))
    records = [change.record for change in new.values() if isinstance(change.record, Exclusion)]
    touched.rules.update(Rule(record.site_id, record.kind, record.value) for record in records)


_TOUCH: Final = {Site: _touch_sites, Client: _touch_clients, Exclusion: _touch_exclusions}


def _row(record: Record, version: int) -> tuple[Any, ...]:
    """Return a record's row in the order of `COLUMNS`."""
    match record:
        case Site():
            return _site_row(record, version)
        case Client(client_id, name, rate, token_sha256, burst):
            return client_id, name, rate, token_sha256, burst, version
        case Exclusion(exclusion_id, kind, value, site_id):
            return exclusion_id, kind, value, site_id, version
    raise TypeError(f"{type(record).__name__} has a table of another form")


def _site_row(site: Site, version: int) -> tuple[Any, ...]:
    hostnames, keep, drop = ("\n".join(names) for names in (site.hostnames, site.query_keep, site.query_drop))
    plain = site.site_id, site.name, site.timezone, site.retention_days
    return *plain, keep, drop, site.hash_paths, site.derived_sessions, site.created_us or 0, version, hostnames


def read_site(row: Sequence[Any]) -> Site:
    """Read a site, but for its hostnames, from `SITE_COLUMNS`."""
    site_id, name, timezone, days, keep, drop, *switches = row
    return Site(site_id, name, (), timezone, days, read_names(keep), read_names(drop), *map(bool, switches))


def read_names(text: str) -> tuple[str, ...]:
    """Read hostnames, or other names, from their column."""
    return tuple(text.split("\n")) if text else ()
