"""Grants in a replica's tables: there may be ten million, so each is a short row and a first load comes packed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from shared.registry.records import Change, Grant
from shared.registry.touched import Touched

#: Bytes of an id.
_ID: Final = 16
#: A version below zero says that the grant was removed then.
_PUT: Final = """
INSERT INTO grants VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET version = excluded.version WHERE abs(excluded.version) > abs(version)
"""


def apply(connection: sqlite3.Connection, changes: Sequence[Change], touched: Touched) -> int:
    """Write changes of grants; returns how many were new."""
    holders: dict[tuple[bytes, str], int] = {}
    rows = []
    for record, version, removed in changes:
        assert isinstance(record, Grant)  # noqa: S101 - for mypy
        key = record.client_id, record.permission
        if key not in holders:
            holders[key] = _holder(connection, *key)
        rows.append((holders[key], record.site_id, -version if removed else version))
        touched.grantees.add(record.client_id)
    before = connection.total_changes
    connection.executemany(_PUT, sorted(rows))
    return connection.total_changes - before


def load(connection: sqlite3.Connection, packed: Iterable[tuple[bytes, str, bytes, Sequence[int]]]) -> int:
    """Write grants in one transaction: of each client and permission the sites' ids in one string, and the versions.

    Returns how many were new.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        written = [_holder(connection, client_id, permission) for client_id, permission, _, _ in packed]
        before = connection.total_changes
        connection.executemany(_PUT, _rows(written, packed))
        new = connection.total_changes - before
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return new


def _rows(
    holders: Sequence[int], packed: Iterable[tuple[bytes, str, bytes, Sequence[int]]]
) -> Iterator[tuple[int, bytes, int]]:
    for holder, (_, _, sites, versions) in zip(holders, packed, strict=True):
        for at, version in zip(range(0, len(sites), _ID), versions, strict=True):
            yield holder, sites[at : at + _ID], version


def _holder(connection: sqlite3.Connection, client_id: bytes, permission: str) -> int:
    """Return the number that stands for a client and a permission."""
    connection.execute("INSERT OR IGNORE INTO holders (client_id, permission) VALUES (?, ?)", (client_id, permission))
    sql = "SELECT holder FROM holders WHERE client_id = ? AND permission = ?"
    holder: int = connection.execute(sql, (client_id, permission)).fetchone()[0]
    return holder
