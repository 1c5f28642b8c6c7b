"""A process's own copy of the registry: an SQLite file behind small caches.

One file serves three purposes: the last known good registry at a start without ClickHouse, a memory footprint that does
not grow with a million sites (but by pages of the file, which the system may take back), and look-ups of about 10 µs on
a cache miss.  Each process has its own file; `poll` writes to it on a thread while the event loop reads (SQLite's
write-ahead log allows both at once).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final
from weakref import WeakValueDictionary

from shared.registry import apply_grants, queries
from shared.registry.apply import apply, clear, read_site
from shared.registry.cache import Cache
from shared.registry.owners import covering, find_owner
from shared.registry.reader import Reader
from shared.registry.records import EVERY_SITE_ID, TABLES_BY_NAME, Change, Client, Exclusion, Site
from shared.registry.replica_file import claim, connect
from shared.registry.rule_log import RuleChanges, RuleLog
from shared.registry.touched import Rule, Touched
from shared.registry.window import Window
from shared.settings import SettingsError

_NAMES: Final = 100_000
#: Names of hosts that visitors came from.
_LISTED: Final = 50_000
_CLIENTS: Final = 10_000
_GRANTS: Final = 50_000
#: With more new wildcards than these, looking through the names costs more than forgetting them.
_MOST_WILDCARDS: Final = 20


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
            self._reader = Reader(self.path)
            self._writer = connect(self.path)
        except OSError as error:
            raise SettingsError(f"HITLINE_STATE_DIR: {directory} can't be written: {error.strerror}") from None
        except sqlite3.Error as error:
            raise SettingsError(f"HITLINE_STATE_DIR: {directory}: {error}") from None
        self._rule_log = RuleLog()
        self.version = self._read_version()
        #: One object a site for all of its names, as long as one of them is remembered.
        self._sites: WeakValueDictionary[bytes, Site] = WeakValueDictionary()
        #: Sites that were read in a newer state than names have that are remembered, before `refreshed` is told.
        self._outdated: set[bytes] = set()
        self.find_site = Cache(_NAMES, self._find_site)
        self._is_listed: Cache[str, bool] = Cache(_LISTED, lambda name: self._exists(queries.IS_LISTED, (name,)))
        self._listed_names = Cache(_LISTED, self._find_listed_names)
        self.find_client = Cache(_CLIENTS, self._find_client)
        self._granted = Cache(_GRANTS, partial(self._exists, queries.FIND_GRANT))
        self._grants_at_all: Cache[bytes, bool] = Cache(
            _CLIENTS, lambda client_id: self._exists(queries.ANY_GRANT, (client_id,))
        )

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

    def complete(self, version: int, windows: Mapping[str, Window] = MappingProxyType({})) -> None:
        """Note that all changes up to `version` have been applied (on any thread); call `refreshed` afterwards.

        Call it only then: after an interrupted load, what is missing would otherwise never be fetched.  `windows`, by
        table: what was compared with ClickHouse, so that a process that is started again need not fetch it again.
        """
        with self._writer:  # commits, or rolls back
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("UPDATE state SET version = max(version, ?)", (version,))
            for name, (newest, rows) in windows.items():  # as text: a hash is of 64 bits without a sign
                self._writer.execute("INSERT OR REPLACE INTO windows VALUES (?, ?, ?)", (name, newest, str(rows)))

    def windows(self) -> dict[str, Window]:
        """Return what `complete` was told last, by table."""
        found = self._writer.execute("SELECT name, newest, rows FROM windows")
        return {name: Window(newest, int(rows)) for name, newest, rows in found}

    def refreshed(self, touched: Touched | None = None) -> None:
        """Forget cached answers that a change concerns, on the readers' thread; None: only `version` has changed."""
        self.version = self._read_version()
        if touched is None:
            return
        touched.bound()
        self._rule_log.add(touched)
        if touched.all:
            self.find_site.clear()
            self._outdated.clear()
            self._is_listed.clear()
            self._listed_names.clear()
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
        if touched.hostnames:  # which hosts are below them would have to be looked for
            self._listed_names.clear()
        wildcards = touched.wildcards
        if len(wildcards) > _MOST_WILDCARDS:
            self.find_site.clear()
            return
        self.find_site.drop(touched.hostnames)
        # Of most sites that change nothing is remembered, and no name has to be looked for.
        if sites := {site for site in touched.sites if site in self._sites or site in self._outdated}:
            self._outdated -= sites
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
        row = self._reader.newest("SELECT at_s FROM polled")
        return float(row[0]) if row else self.version / 1e6

    def _read_version(self) -> int:
        version: int = self._reader.newest("SELECT version FROM state")[0]
        return version

    def _find_site(self, hostname: str) -> Site | None:
        """Return the site that owns a normalised hostname."""
        return find_owner(hostname, self._find_listing)

    def _find_listing(self, hostname: str) -> Site | None:
        row = self._reader.find(queries.FIND_SITE, (hostname,))
        if row is None:
            return None
        found = read_site(row)
        known = self._sites.get(found.site_id)
        if known == found:
            return known
        if known is not None:  # a change that `refreshed` has not been told yet: other names may still have the old one
            self._outdated.add(found.site_id)
        self._sites[found.site_id] = found
        return found

    def lists(self, site: Site, host: str) -> bool:
        """Return whether a normalised host is one of the site's or below one; `*.domain` counts as `domain`."""
        return any(self._reader.find(queries.LISTS, (name, site.site_id)) for name in self._listed_names(host))

    def is_listed(self, host: str) -> bool:
        """Return whether any site lists a normalised host, or a name above it; one that none does any more may be."""
        return bool(self._listed_names(host))

    def _find_listed_names(self, host: str) -> tuple[str, ...]:
        return tuple(name for name in covering(host) if self._is_listed(name))

    def _exists(self, sql: str, parameters: tuple[object, ...]) -> bool:
        return self._reader.find(sql, parameters) is not None

    def may(self, client: Client, permission: str, site: Site) -> bool:
        """Return whether the client holds `permission` on `site`."""
        # A client that may for every site is known by one answer, however many sites it posts for.
        every = self._granted((client.client_id, permission, EVERY_SITE_ID))
        return every or self._granted((client.client_id, permission, site.site_id))

    def has_grants(self, client: Client) -> bool:
        """Return whether the client holds any permission on any site."""
        return self._grants_at_all(client.client_id)

    def _find_client(self, token_sha256: str) -> Client | None:
        row = self._reader.find(queries.FIND_CLIENT, (token_sha256,))
        return Client(*row) if row else None

    def exclusions(self) -> list[Exclusion]:
        """Return all exclusion rules in force; on any thread, since there may be 100,000 of them.

        It uses a separate connection, since a long read would keep the readers' connection on an old snapshot.
        """
        with closing(connect(self.path)) as connection:
            return [Exclusion(*row) for row in connection.execute(queries.EXCLUSIONS_IN_FORCE)]

    def exclusions_of(self, owner: bytes | None) -> list[Exclusion]:
        """Return the rules in force of a site, or with None of the instance; on any thread."""
        with closing(connect(self.path)) as connection:
            return [Exclusion(*row) for row in connection.execute(queries.EXCLUSIONS_OF_OWNER, (owner,))]

    def holds(self, rules: Iterable[Rule]) -> set[Rule]:
        """Return those of `rules` that are in force; on any thread."""
        with closing(connect(self.path)) as connection:
            return {rule for rule in rules if connection.execute(queries.HOLDS, rule).fetchone()}

    def close(self) -> None:
        """Close the file and release its name."""
        self._reader.close()
        self._writer.close()
        self._lock.close()
