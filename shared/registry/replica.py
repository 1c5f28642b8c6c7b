"""A process's own copy of the registry: an SQLite file behind small caches.

One file serves three purposes: the last known good registry at a start without ClickHouse, a memory footprint that does
not grow with a million sites, and look-ups of about 10 µs on a cache miss.  Each process has its own file; `poll`
writes to it on a thread while the event loop reads (SQLite's write-ahead log allows both at once).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from shared.hostnames import parents
from shared.registry import apply_grants
from shared.registry.apply import SITE_COLUMNS, apply, clear, read_site
from shared.registry.cache import Cache
from shared.registry.owners import find_owner
from shared.registry.records import EVERY_SITE_ID, EXCLUSIONS, TABLES_BY_NAME, Change, Client, Exclusion, Site
from shared.registry.replica_file import claim, connect, open_replica
from shared.registry.rule_log import RuleChanges, RuleLog
from shared.registry.touched import Rule, Touched
from shared.settings import SettingsError

_NAMES: Final = 50_000
_CLIENTS: Final = 10_000
_GRANTS: Final = 50_000
#: With more new wildcards than these, looking through the names costs more than forgetting them.
_MOST_WILDCARDS: Final = 20

#: One statement, since the writer may remove the site between two.
_FIND_SITE: Final = (
    f"SELECT {', '.join(SITE_COLUMNS)} FROM hostnames AS listings JOIN sites USING (site_id)"  # noqa: S608
    " WHERE hostname = ? ORDER BY listings.created_us, site_id LIMIT 1"
)
_LISTS: Final = "SELECT 1 FROM hostnames WHERE hostname = ? AND site_id = ? LIMIT 1"
_IS_LISTED: Final = "SELECT 1 FROM hostnames WHERE hostname = ? LIMIT 1"
_FIND_CLIENT: Final = "SELECT client_id, name, rate, token_sha256, burst FROM clients WHERE token_sha256 = ?"
_FIND_GRANT: Final = """
SELECT 1 FROM holders JOIN grants USING (holder)
WHERE client_id = ? AND permission = ? AND site_id = ? AND grants.version > 0
"""
_ANY_GRANT: Final = (
    "SELECT 1 FROM holders JOIN grants USING (holder) WHERE client_id = ? AND grants.version > 0 LIMIT 1"
)
#: A removed site's rules ended with it.
_IN_FORCE: Final = "(site_id IS NULL OR site_id IN (SELECT site_id FROM sites))"
_EXCLUSIONS: Final = f"SELECT {', '.join(EXCLUSIONS.columns)} FROM exclusions WHERE {_IN_FORCE}"  # noqa: S608
_OF_OWNER: Final = f"{_EXCLUSIONS} AND site_id IS ?"
_HOLDS: Final = f"SELECT 1 FROM exclusions WHERE site_id IS ? AND kind = ? AND value = ? AND {_IN_FORCE}"  # noqa: S608


class Replica:
    """The registry as this process knows it.

    All changes up to `version` are in it (0: it has never been loaded).  `generation` grows whenever changes have been
    applied, for callers that compile `exclusions` into something else.
    """

    def __init__(
        self,
        directory: Path,
        role: str,
        tables: Collection[str] = tuple(TABLES_BY_NAME),
        owner: Collection[str] = (),
    ) -> None:
        """Open the first free file of `role` in `directory`; raises `SettingsError` if it can't be written.

        `tables`: those that the process needs; the others are not fetched.  `owner`: see `claim`.
        """
        self.tables = tables
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path, self._lock = claim(directory, role, owner)
            self._reader = open_replica(self.path)
            self._writer = connect(self.path)
        except OSError as error:
            raise SettingsError(f"HITLINE_STATE_DIR: {directory} can't be written: {error.strerror}") from None
        except sqlite3.Error as error:
            raise SettingsError(f"HITLINE_STATE_DIR: {directory}: {error}") from None
        self._rule_log = RuleLog()
        self.version = self._read_version()
        #: One object a site for all of its names, as long as one of them is remembered.
        self._sites: WeakValueDictionary[bytes, Site] = WeakValueDictionary()
        self.find_site = Cache(_NAMES, self._find_site)
        self._is_listed = Cache(_NAMES, self._find_any_listing)
        self.find_client = Cache(_CLIENTS, self._find_client)
        self._granted = Cache(_GRANTS, self._find_grant)
        self._grants_at_all = Cache(_CLIENTS, self._find_any_grant)

    def apply(self, changes: Iterable[Change]) -> tuple[int, Touched]:
        """Write `changes` (on any thread); returns how many were new, and what to give to `refreshed` afterwards."""
        return apply(self._writer, changes)

    def load_grants(self, packed: Sequence[tuple[bytes, str, bytes, Sequence[int]]]) -> tuple[int, Touched]:
        """Write many grants (on any thread), as `apply_grants.load` takes them; the same as `apply` otherwise."""
        new = apply_grants.load(self._writer, packed)
        return new, Touched(grantees={client_id for client_id, *_ in packed} if new else set())

    def clear(self, table: str) -> None:
        """Empty a table (on any thread) before all of it is loaded."""
        clear(self._writer, table)

    def complete(self, version: int) -> None:
        """Note that all changes up to `version` have been applied (on any thread); call `refreshed` afterwards.

        Call it only then: after an interrupted load, what is missing would otherwise never be fetched.
        """
        self._writer.execute("UPDATE state SET version = max(version, ?)", (version,))

    def refreshed(self, touched: Touched | None = None) -> None:
        """Forget cached answers that a change concerns, on the readers' thread; None: only `version` has changed."""
        self.version = self._read_version()
        if touched is None:
            return
        touched.bound()
        self._rule_log.add(touched)
        if touched.all:
            self.find_site.clear()
            self._is_listed.clear()
            self.find_client.clear()
            self._granted.clear()
            self._grants_at_all.clear()
            return
        self._forget_sites(touched)
        self.find_client.drop(touched.tokens)
        if touched.grantees:
            self._granted.drop_among(lambda keys: [key for key in keys if key[0] in touched.grantees])
            self._grants_at_all.drop(touched.grantees)

    def _forget_sites(self, touched: Touched) -> None:
        if not touched.sites:
            return
        self._is_listed.drop(touched.hostnames)
        wildcards = touched.wildcards
        if len(wildcards) > _MOST_WILDCARDS:
            self.find_site.clear()
            return
        self.find_site.drop(touched.hostnames)
        sites = touched.sites
        self.find_site.drop_among(
            lambda names: [name for name, site in names.items() if site is not None and site.site_id in sites]
        )
        if wildcards:
            self.find_site.drop_among(lambda names: [name for name in names if name.endswith(wildcards)])

    def rules_since(self, generation: int) -> RuleChanges | None:
        """Return which exclusion rules have changed after a generation (on any thread); None: too many to tell."""
        return self._rule_log.since(generation)

    @property
    def generation(self) -> int:
        """Grows with every change."""
        return self._rule_log.generation

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
        found = read_site(row)
        known = self._sites.get(found.site_id)
        if known == found:
            return known
        self._sites[found.site_id] = found
        return found

    def lists(self, site: Site, host: str) -> bool:
        """Return whether a normalised host is one of the site's or below one; `*.domain` counts as `domain`."""
        names = [name for parent in (host, *parents(host)) for name in (parent, f"*.{parent}")]
        # Most hosts that visitors come from are no site's: known without a look-up for each of many sites.
        return any(
            self._is_listed(name) and self._reader.execute(_LISTS, (name, site.site_id)).fetchone() for name in names
        )

    def _find_any_listing(self, name: str) -> bool:
        """Return whether any site lists a name; one that none lists any more may be told as listed."""
        return self._reader.execute(_IS_LISTED, (name,)).fetchone() is not None

    def may(self, client: Client, permission: str, site: Site) -> bool:
        """Return whether the client holds `permission` on `site`."""
        # A client that may for every site is known by one answer, however many sites it posts for.
        every = self._granted((client.client_id, permission, EVERY_SITE_ID))
        return every or self._granted((client.client_id, permission, site.site_id))

    def has_grants(self, client: Client) -> bool:
        """Return whether the client holds any permission on any site."""
        return self._grants_at_all(client.client_id)

    def _find_grant(self, key: tuple[bytes, str, bytes]) -> bool:
        return self._reader.execute(_FIND_GRANT, key).fetchone() is not None

    def _find_any_grant(self, client_id: bytes) -> bool:
        return self._reader.execute(_ANY_GRANT, (client_id,)).fetchone() is not None

    def _find_client(self, token_sha256: str) -> Client | None:
        row = self._reader.execute(_FIND_CLIENT, (token_sha256,)).fetchone()
        return Client(*row) if row else None

    def exclusions(self) -> list[Exclusion]:
        """Return all exclusion rules in force; on any thread, since there may be 100,000 of them.

        It uses a separate connection, since a long read would keep the readers' connection on an old snapshot.
        """
        with closing(connect(self.path)) as connection:
            return [Exclusion(*row) for row in connection.execute(_EXCLUSIONS)]

    def exclusions_of(self, owner: bytes | None) -> list[Exclusion]:
        """Return the rules in force of a site, or with None of the instance; on any thread."""
        with closing(connect(self.path)) as connection:
            return [Exclusion(*row) for row in connection.execute(_OF_OWNER, (owner,))]

    def holds(self, rules: Iterable[Rule]) -> set[Rule]:
        """Return those of `rules` that are in force; on any thread."""
        with closing(connect(self.path)) as connection:
            return {rule for rule in rules if connection.execute(_HOLDS, rule).fetchone()}

    def close(self) -> None:
        """Close the file and release its name."""
        self._reader.close()
        self._writer.close()
        self._lock.close()
