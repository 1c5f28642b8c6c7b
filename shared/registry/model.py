"""What the registry holds: sites, API clients and exclusions, as immutable values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

#: In a grant: every site, those added later included.
ALL_SITES: Final = "*"


@dataclass(frozen=True, slots=True)
class Site:
    """A site; `site_id` is its UUID's 16 bytes, `hostnames` are normalised (`*.domain` stands for subdomains)."""

    site_id: bytes
    name: str
    hostnames: tuple[str, ...]
    timezone: str = "UTC"
    #: 0: the instance's own retention.
    retention_days: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """An API client; `grants` holds (site id in hex or `ALL_SITES`, permission) pairs."""

    client_id: bytes
    name: str
    grants: frozenset[tuple[str, str]]
    #: Such as `600/second`; empty: the gateway's default.
    rate: str = ""

    def may(self, permission: str, site: Site) -> bool:
        """Tell whether the client holds `permission` on `site`."""
        return (site.site_id.hex(), permission) in self.grants or (ALL_SITES, permission) in self.grants


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A rule that keeps pageviews out; without `site_id` it holds for every site.

    `kind` is one of `cidr`, `country`, `user_agent`, `path`.
    """

    exclusion_id: bytes
    kind: str
    value: str
    site_id: bytes | None = None


def token_hash(token: str) -> str:
    """Return the form in which tokens are kept: SHA-256 in hex (they are random, so no slow hash is needed)."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
