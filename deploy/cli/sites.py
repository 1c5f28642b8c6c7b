"""Finding the sites of stored pageviews, by name or id, including removed ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from deploy.cli.support import CommandError
from shared.clickhouse import ClickHouse
from shared.hostnames import BadHostname, normalise
from shared.registry import Site, store

_NIL: Final = bytes(16)


@dataclass(frozen=True, slots=True)
class StoredSite:
    """A site that pageviews may be stored for; a removed one accepts no more."""

    site: Site
    removed: bool


async def stored_sites(clickhouse: ClickHouse, name: str) -> list[StoredSite]:
    """Return all sites that have or had this name or id: active ones first, then removed ones; each newest first.

    Raises `CommandError` if there never was one.
    """
    try:
        site_id, host = UUID(name).bytes, ""
    except ValueError:
        site_id, host = _NIL, canonical(name)
    found = [StoredSite(*each) for each in await store.site_history(clickhouse, host, site_id)]
    if not found:
        raise CommandError(f"there is no site {name}: see `hitline site list`")
    return sorted(found, key=lambda each: (each.removed, -(each.site.created_us or 0), each.site.site_id))


def canonical(name: str) -> str:
    """Return a hostname in the form that sites are stored with, and anything else unchanged."""
    try:
        return normalise(name)
    except BadHostname:
        return name
