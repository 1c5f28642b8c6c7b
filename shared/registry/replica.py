"""A process's own copy of the registry: an SQLite file behind small caches.

One file serves three purposes: the last known good registry at a start without ClickHouse, a memory footprint that does
not grow with a million sites, and look-ups of about 10 µs on a cache miss.  Each process has its own file; `poll`
writes to it on a thread while the event loop reads (SQLite's write-ahead log allows both at once).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Final

from shared.registry.apply import apply, read_grants, read_site
from shared.registry.owners import find_owner
from shared.registry.records import CLIENTS, EXCLUSIONS, SITES, Change, Client, Exclusion, Site
from shared.registry.replica_file import claim, connect, open_replica
from shared.settings import SettingsError

#: One statement, since the writer may remove the site between two.
_FIND_SITE: Final = (
    f"SELECT {', '.join(SITES.columns)} FROM hostnames AS listings JOIN sites USING (site_id)"  # noqa: S608
    " WHERE hostname = ? ORDER BY listings.created_us, site_id LIMIT 1"
)
_FIND_CLIENT: Final = f"SELECT {', '.join(CLIENTS.columns)} FROM clients WHERE token_sha256 = ?"  # noqa: S608
#: A removed site's rules ended with it.
_EXCLUSIONS: Final = (
    f"SELECT {', '.join(EXCLUSIONS.columns)} FROM exclusions"  # noqa: S608
    " WHERE site_id IS NULL OR site_id IN (SELECT site_id FROM sites) ORDER BY exclusion_id"
)


class Replica:
    """The registry as this process knows it.

    All changes up to `version` are in it (0: it has never been loaded).  `generation` grows whenever changes have been
    applied, for callers that compile `exclusions` into something else.
    """

    def __init__(self, directory: Path, role: str) -> None:
        """Open the first free file of `role` in `directory`; raises `SettingsError` if it can't be written."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path, self._lock = claim(directory, role)
            self._reader = open_replica(self.path)
            self._writer = connect(self.path)
        except OSError as error:
            raise SettingsError(f"HITLINE_STATE_DIR: {directory} can't be written: {error.strerror}") from None
        except sqlite3.Error as error:
            raise SettingsError(f"HITLINE_STATE_DIR: {directory}: {error}") from None
        self.generation = 0
        self.version = self._read_version()
        self.find_site: Callable[[str], Site | None] = lru_cache(maxsize=50_000)(self._find_site)
        self.find_client: Callable[[str], Client | None] = lru_cache(maxsize=10_000)(self._find_client)

    def apply(self, changes: Iterable[Change]) -> int:
        """Write `changes` (on any thread) and return how many were new; call `refreshed` afterwards."""
        return apply(self._writer, changes)

    def complete(self, version: int) -> None:
        """Note that all changes up to `version` have been applied (on any thread); call `refreshed` afterwards.

        Call it only then: after an interrupted load, what is missing would otherwise never be fetched.
        """
        self._writer.execute("UPDATE state SET version = max(version, ?)", (version,))

    def refreshed(self, *, new_changes: bool = True) -> None:
        """Drop cached answers, on the readers' thread; without `new_changes` only `version` may have changed."""
        self.version = self._read_version()
        if new_changes:
            self.find_site.cache_clear()  # type: ignore[attr-defined]
            self.find_client.cache_clear()  # type: ignore[attr-defined]
            self.generation += 1

    @property
    def empty(self) -> bool:
        """True until a load with any record in it is complete: until then nothing may be refused or dropped."""
        return self.version == 0

    def note_poll(self, at_s: float) -> None:
        """Note when it was last compared with ClickHouse, in seconds since the epoch (on any thread)."""
        self._writer.execute("INSERT OR REPLACE INTO polled VALUES (1, ?)", (at_s,))

    @property
    def polled_at_s(self) -> float:
        """When it was last compared with ClickHouse; else the time of its newest change, 0 if there is none."""
        row = self._reader.execute("SELECT at_s FROM polled").fetchone()
        return float(row[0]) if row else self.version / 1e6

    def _read_version(self) -> int:
        version: int = self._reader.execute("SELECT version FROM state").fetchone()[0]
        return version

    def _find_site(self, hostname: str) -> Site | None:
        """Return the site that owns a normalised hostname."""
        return find_owner(hostname, self._find_listing)

    def _find_listing(self, hostname: str) -> Site | None:
        row = self._reader.execute(_FIND_SITE, (hostname,)).fetchone()
        if row is None:
            return None
        return read_site(row)

    def _find_client(self, token_sha256: str) -> Client | None:
        row = self._reader.execute(_FIND_CLIENT, (token_sha256,)).fetchone()
        if row is None:
            return None
        client_id, name, grants, *rest = row
        return Client(client_id, name, read_grants(grants), *rest)

    def exclusions(self) -> list[Exclusion]:
        """Return all exclusion rules in force; on any thread, since there may be 100,000 of them.

        It uses a separate connection, since a long read would keep the readers' connection on an old snapshot.
        """
        with closing(connect(self.path)) as connection:
            return [Exclusion(*row) for row in connection.execute(_EXCLUSIONS)]

    def close(self) -> None:
        """Close the file and release its name."""
        self._reader.close()
        self._writer.close()
        self._lock.close()
