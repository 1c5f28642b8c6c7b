"""The registry's records and the columns they are stored in, defined once for ClickHouse, the replica and the commands.

Ids are 16 bytes everywhere, as in messages (shared/pageview.py); `store` converts them to UUIDs and back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Site:
    """A site; `hostnames` are normalised, and `*.domain` stands for all subdomains of `domain`.

    A replica keeps the hostnames apart, since a site may have ten thousand: there `hostnames` is empty, and
    `Replica.lists` tells whether the site has one.
    """

    site_id: bytes
    name: str
    hostnames: tuple[str, ...]
    timezone: str = "UTC"
    #: 0: the instance's own retention.
    retention_days: int = 0
    #: Patterns of the names of query parameters that are stored; empty: all that `query_drop` does not match.
    query_keep: tuple[str, ...] = ()
    query_drop: tuple[str, ...] = ()
    #: A fragment that begins with `/` or `!/` belongs to the path.
    hash_paths: bool = False
    #: A pageview without a session gets the one of its visitor on that day.
    derived_sessions: bool = False
    #: Microseconds since the epoch; None: not stored yet, or not known to this copy.
    created_us: int | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """An API client; only the hash of its token is known."""

    client_id: bytes
    name: str
    #: Such as `600/second`; empty: the gateway's default.
    rate: str = ""
    token_sha256: str = ""
    #: Pageviews that it may send at once; 0: what the gateway gives a client of its rate.
    burst: int = 0
    #: Grants as gateways before migration 0011 read them, `(site or "*", permission)`; only commands know them.
    old_grants: tuple[tuple[str, str], ...] = ()
    created_us: int | None = None


#: Stands for every site where a site is written as text.
EVERY_SITE: Final = "*"
#: And where it is an id.
EVERY_SITE_ID: Final = bytes(16)


@dataclass(frozen=True, slots=True)
class Grant:
    """A client's permission on one site, or with `EVERY_SITE_ID` on every site, those added later included."""

    client_id: bytes
    permission: str
    site_id: bytes = EVERY_SITE_ID
    created_us: int | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A rule that excludes pageviews; with `site_id` None it applies to every site.

    `kind` is one of `cidr`, `country`, `path`, `user_agent`.
    """

    exclusion_id: bytes
    kind: str
    value: str
    site_id: bytes | None = None
    created_us: int | None = None


Record = Site | Client | Grant | Exclusion


class Change(NamedTuple):
    """A record's state from `version` (microseconds since the epoch) on; `removed`: it is no longer in force."""

    record: Record
    version: int
    removed: bool = False


class Table(NamedTuple):
    """A table of the registry; in ClickHouse each also has `created_at`, `removed` and `version`."""

    name: str
    #: ClickHouse type by column, named like the record's fields and in their order, the key's first.
    columns: Mapping[str, str]
    #: The columns that identify a record.
    key: tuple[str, ...]
    #: Columns that only commands read, and replicas do without.
    not_copied: frozenset[str] = frozenset()


SITES: Final = Table(
    "sites",
    {
        "site_id": "UUID",
        "name": "String",
        "hostnames": "Array(String)",
        "timezone": "String",
        "retention_days": "UInt32",
        "query_keep": "Array(String)",
        "query_drop": "Array(String)",
        "hash_paths": "Bool",
        "derived_sessions": "Bool",
    },
    ("site_id",),
)
CLIENTS: Final = Table(
    "clients",
    {
        "client_id": "UUID",
        "name": "String",
        "rate": "String",
        "token_sha256": "String",
        "burst": "UInt32",
        "grants": "Array(Tuple(String, String))",
    },
    ("client_id",),
    frozenset({"grants"}),
)
GRANTS: Final = Table(
    "grants",
    {"client_id": "UUID", "permission": "String", "site_id": "UUID"},
    ("client_id", "permission", "site_id"),
)
EXCLUSIONS: Final = Table(
    "exclusions",
    {"exclusion_id": "UUID", "kind": "String", "value": "String", "site_id": "Nullable(UUID)"},
    ("exclusion_id",),
)
TABLES: Final[Mapping[type[Record], Table]] = {Site: SITES, Client: CLIENTS, Grant: GRANTS, Exclusion: EXCLUSIONS}
TABLES_BY_NAME: Final[Mapping[str, Table]] = {table.name: table for table in TABLES.values()}


def token_hash(token: str) -> str:
    """Return the form in which tokens are stored: SHA-256 in hex (tokens are random, so no slow hash is needed)."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
