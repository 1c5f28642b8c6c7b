"""A process's own copy of the registry: an SQLite file behind small caches.

One file serves three ends: the last known good registry at a start without ClickHouse, a memory footprint that does
not grow with a million sites, and look-ups of some 10 µs on a cache miss.  Each process has a file of its own; `poll`
writes to it on a thread while the event loop reads (SQLite's write-ahead log lets both go on).
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

from shared.hostnames import parents
from shared.registry.changes import Changes, apply
from shared.registry.model import Client, Exclusion, Site
from shared.settings import SettingsError

log = logging.getLogger(__name__)

_LAYOUT: Final = 2
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sites (site_id BLOB PRIMARY KEY, name TEXT NOT NULL, hostnames TEXT NOT NULL,
    timezone TEXT NOT NULL, retention_days INTEGER NOT NULL, created_us INTEGER NOT NULL,
    version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hostnames (hostname TEXT, created_us INTEGER, site_id BLOB,
    PRIMARY KEY (hostname, created_us, site_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clients (client_id BLOB PRIMARY KEY, name TEXT NOT NULL, token_sha256 TEXT NOT NULL,
    grants TEXT NOT NULL, rate TEXT NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS clients_by_token ON clients (token_sha256);
CREATE TABLE IF NOT EXISTS exclusions (exclusion_id BLOB PRIMARY KEY, site_id BLOB, kind TEXT NOT NULL,
    value TEXT NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gone (kind TEXT, id BLOB, version INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (only INTEGER PRIMARY KEY CHECK (only = 1), version INTEGER NOT NULL);
INSERT OR IGNORE INTO state VALUES (1, 0);
"""


class Replica:
    """The registry as this process knows it.

    `version`: all changes up to it are here (0: it never heard of any).  `generation` grows with every change applied,
    for those who build structures of their own from `exclusions`.
    """

    def __init__(self, directory: Path, role: str) -> None:
        """Open the first free file of `role` in `directory`; raises `SettingsError` where it can't be written."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path, self._lock = _claim(directory, role)
            self._reader = _open(self.path)
            self._writer = _connect(self.path)
        except OSError as error:
            raise SettingsError(f"HITLINE_STATE_DIR: {directory} can't be written: {error.strerror}") from None
        except sqlite3.Error as error:
            raise SettingsError(f"HITLINE_STATE_DIR: {directory}: {error}") from None
        self.generation = 0
        self.version = self._read_version()
        self.find_site: Callable[[str], Site | None] = lru_cache(maxsize=50_000)(self._find_site)
        self.find_client: Callable[[str], Client | None] = lru_cache(maxsize=10_000)(self._find_client)

    def apply(self, changes: Changes) -> int:
        """Write `changes` (on whatever thread) and return how many were news; then `refreshed` must follow."""
        return apply(self._writer, changes)

    def complete(self, version: int) -> None:
        """Note that all changes up to `version` were applied (on whatever thread); then `refreshed` must follow.

        Not before: after a load that broke off in the middle, what is missing would never be asked for again.
        """
        self._writer.execute("UPDATE state SET version = max(version, ?)", (version,))

    def refreshed(self, *, news: bool = True) -> None:
        """Forget cached answers, on the readers' thread; without `news` only `version` may have changed."""
        self.version = self._read_version()
        if news:
            self.find_site.cache_clear()  # type: ignore[attr-defined]
            self.find_client.cache_clear()  # type: ignore[attr-defined]
            self.generation += 1

    @property
    def empty(self) -> bool:
        """True while the replica has never heard of a site or a client: then nothing may be refused or dropped."""
        return self.version == 0

    def _read_version(self) -> int:
        version: int = self._reader.execute("SELECT version FROM state").fetchone()[0]
        return version

    def _find_site(self, hostname: str) -> Site | None:
        """Find the site of a normalised hostname: exact, else the longest `*.domain`, the older site first."""
        for name in (hostname, *(f"*.{parent}" for parent in parents(hostname))):
            # One statement, since the writer may remove the site between two.
            row = self._reader.execute(
                "SELECT site_id, name, hostnames, timezone, retention_days FROM hostnames AS claims"
                " JOIN sites USING (site_id) WHERE hostname = ? ORDER BY claims.created_us, site_id LIMIT 1",
                (name,),
            ).fetchone()
            if row:
                return Site(row[0], row[1], tuple(row[2].split("\n")), row[3], row[4])
        return None

    def _find_client(self, token_sha256: str) -> Client | None:
        row = self._reader.execute(
            "SELECT client_id, name, grants, rate FROM clients WHERE token_sha256 = ?", (token_sha256,)
        ).fetchone()
        if row is None:
            return None
        grants = frozenset(tuple(line.split(" ", 1)) for line in row[2].splitlines())
        return Client(row[0], row[1], grants, row[3])

    def exclusions(self) -> list[Exclusion]:
        """Return all exclusion rules in force; on whatever thread, since there may be 100,000 of them.

        Over a connection of its own: while it is read, the readers' would answer from before the latest changes.
        """
        with closing(_connect(self.path)) as connection:
            rows = connection.execute(
                "SELECT exclusion_id, kind, value, site_id FROM exclusions"
                " WHERE site_id IS NULL OR site_id IN (SELECT site_id FROM sites) ORDER BY exclusion_id"
            )
            return [Exclusion(*row) for row in rows]

    def close(self) -> None:
        """Close the file and give up its name."""
        self._reader.close()
        self._writer.close()
        self._lock.close()


def _claim(directory: Path, role: str) -> tuple[Path, IO[bytes]]:
    """Take the first file name of `role` that no other live process holds; the lock ends with the process."""
    for number in range(10_000):
        lock = open(_private(directory / f"registry-{role}-{number}.lock"), "wb")  # noqa: SIM115 - kept open
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return directory / f"registry-{role}-{number}.sqlite", lock
    raise RuntimeError(f"{directory}: 10,000 registry files of {role} processes are in use")


def _open(path: Path) -> sqlite3.Connection:
    """Open a copy; one that is damaged, or of another version's layout, is begun anew, since it can be fetched."""
    try:
        connection = _connect(path)
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if layout in (0, _LAYOUT) and _sound(connection):
            return _lay_out(connection)
        connection.close()
    except sqlite3.DatabaseError as error:
        # A full disk or a lock is no reason to throw the last known registry away.
        if getattr(error, "sqlite_errorcode", None) not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
    log.warning("the registry's copy %s is damaged or of another version, and is fetched anew", path)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return _lay_out(_connect(path))


def _sound(connection: sqlite3.Connection) -> bool:
    """Look at every page (0.4 s for a million sites): a damaged one would fail the requests that need it, for good."""
    found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return found == "ok"


def _lay_out(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.executescript(_SCHEMA)
    connection.execute(f"PRAGMA user_version = {_LAYOUT}")
    return connection


def _private(path: Path) -> Path:
    """Make the file, where it does not exist, so that only this user may read it."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return path


def _connect(path: Path) -> sqlite3.Connection:
    _private(path)  # SQLite gives its side files the same mode
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -8192")
    connection.execute("PRAGMA journal_size_limit = 16777216")  # what a first load leaves of the log
    return connection
