"""The files that replicas are kept in: one for each process of a role, private, and replaced when damaged."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import IO, Final

log = logging.getLogger(__name__)

#: Changes with the tables below, which then are fetched again.
_LAYOUT: Final = 5
#: Columns are those of `shared.registry.apply`.  A site's hostnames come last: look-ups do not read that far.  Grants
#: may be ten million, so each is as short as can be: its client and permission are a number, and a version below zero
#: says that it was removed then.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sites (site_id BLOB PRIMARY KEY, name TEXT NOT NULL,
    timezone TEXT NOT NULL, retention_days INTEGER NOT NULL, query_keep TEXT NOT NULL, query_drop TEXT NOT NULL,
    hash_paths INTEGER NOT NULL, derived_sessions INTEGER NOT NULL, created_us INTEGER NOT NULL,
    version INTEGER NOT NULL, hostnames TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hostnames (hostname TEXT, created_us INTEGER, site_id BLOB,
    PRIMARY KEY (hostname, created_us, site_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clients (client_id BLOB PRIMARY KEY, name TEXT NOT NULL, token_sha256 TEXT NOT NULL,
    rate TEXT NOT NULL, burst INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS clients_by_token ON clients (token_sha256);
CREATE TABLE IF NOT EXISTS holders (holder INTEGER PRIMARY KEY, client_id BLOB NOT NULL, permission TEXT NOT NULL,
    UNIQUE (client_id, permission));
CREATE TABLE IF NOT EXISTS grants (holder INTEGER, site_id BLOB, version INTEGER NOT NULL,
    PRIMARY KEY (holder, site_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS exclusions (exclusion_id BLOB PRIMARY KEY, site_id BLOB, kind TEXT NOT NULL,
    value TEXT NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS exclusions_by_rule ON exclusions (site_id, kind, value);
CREATE TABLE IF NOT EXISTS gone (kind TEXT, id BLOB, version INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (only INTEGER PRIMARY KEY CHECK (only = 1), version INTEGER NOT NULL);
INSERT OR IGNORE INTO state VALUES (1, 0);
CREATE TABLE IF NOT EXISTS windows (name TEXT PRIMARY KEY, newest INTEGER NOT NULL, rows TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS polled (only INTEGER PRIMARY KEY CHECK (only = 1), at_s REAL NOT NULL);
"""


def claim(directory: Path, role: str, owner: Collection[str] = ()) -> tuple[Path, IO[bytes]]:
    """Return the first of `role`'s files that no other live process uses, and its lock, which ends with the process.

    `owner`: names of the instance (its queue keys', some of which are changed now and then), noted with the file.  One
    that has none of them is another instance's, which has the same directory: its sites and tokens are not ours.
    """
    for number in range(10_000):
        lock = open(_private(directory / f"registry-{role}-{number}.lock"), "r+b")  # noqa: SIM115 - kept open
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        path = directory / f"registry-{role}-{number}.sqlite"
        noted = lock.read().decode(errors="replace").split()
        if owner and noted and not set(noted).intersection(owner):
            log.warning("HITLINE_STATE_DIR: %s is another instance's; each needs a directory of its own", path)
            lock.close()
            continue
        if owner and set(owner) != set(noted):
            _note(lock, owner)
        return path, lock
    raise RuntimeError(f"{directory}: 10,000 registry files of {role} processes are in use")


def _note(lock: IO[bytes], names: Collection[str]) -> None:
    """Write the owner's names; a disk that is full must not keep a process from the registry that is on it."""
    with contextlib.suppress(OSError):
        lock.seek(0)
        lock.truncate()
        lock.write(" ".join(sorted(names)).encode())
        lock.flush()


def open_replica(path: Path) -> sqlite3.Connection:
    """Open a copy; one that is damaged, or of another version's layout, is replaced, since it can be fetched again."""
    try:
        connection = connect(path)
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if layout in (0, _LAYOUT) and _is_sound(connection):
            return _create_tables(connection)
        connection.close()
    except sqlite3.DatabaseError as error:
        # A full disk or a lock must not cost us the last known registry.
        if getattr(error, "sqlite_errorcode", None) not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
    log.warning("the registry's copy %s is damaged or from another version; fetching it again", path)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return _create_tables(connect(path))


def _is_sound(connection: sqlite3.Connection) -> bool:
    """Check every page (0.4 s for a million sites): a damaged one would fail every request that needs it."""
    found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return found == "ok"


def _create_tables(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.executescript(_SCHEMA)
    connection.execute(f"PRAGMA user_version = {_LAYOUT}")
    return connection


def _private(path: Path) -> Path:
    """Create the file, if it does not exist, readable by this user only."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return path


def connect(path: Path) -> sqlite3.Connection:
    """Open the file with the settings that all connections to it share."""
    _private(path)  # SQLite gives its side files the same mode
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -8192")
    connection.execute("PRAGMA journal_size_limit = 16777216")  # a first load leaves a long log
    return connection
