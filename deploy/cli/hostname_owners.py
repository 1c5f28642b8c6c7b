"""Which site owns a hostname when several list it, for the commands that change what sites list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from deploy.cli.support import CommandError
from shared.clickhouse import ClickHouse
from shared.registry import Site, store
from shared.registry.owners import candidates, find_owner


async def site_by_name(clickhouse: ClickHouse, name: str) -> Site:
    """Return the oldest site with exactly this name; raises `CommandError` if there is none."""
    found = await store.sites_named(clickhouse, [name])
    named = [site for site in found if site.name == name]
    if not named and found:
        raise CommandError(f"{name} is a hostname of site {found[0].name}: use that name instead")
    if not named:
        raise CommandError(f"there is no site {name}: see `hitline site list`")
    return named[0]


def first_listing(sites: Sequence[Site], hostname: str) -> Site | None:
    """Return the first of `sites` that lists a hostname or is named by it."""
    return next((site for site in sites if hostname in (site.name, *site.hostnames)), None)


async def current_owners(clickhouse: ClickHouse, site: Site, hostnames: Sequence[str]) -> dict[str, str]:
    """Return which of a site's hostnames belong to older sites, with those sites' names."""
    listing = await store.sites_named(clickhouse, hostnames)
    position = next((number for number, found in enumerate(listing) if found.site_id == site.site_id), len(listing))
    owners = {hostname: first_listing(listing[:position], hostname) for hostname in hostnames}
    return {hostname: owner.name for hostname, owner in owners.items() if owner}


async def new_owners(clickhouse: ClickHouse, hostnames: Sequence[str]) -> dict[str, str]:
    """Return which hostnames that a site no longer lists now belong to other sites, with those sites' names."""
    names = [candidate for hostname in hostnames for candidate in candidates(hostname)]
    listing = await store.sites_named(clickhouse, names)
    owners = {hostname: find_owner(hostname, partial(first_listing, listing)) for hostname in hostnames}
    return {hostname: owner.name for hostname, owner in owners.items() if owner}


async def check_timezone(clickhouse: ClickHouse, name: str) -> None:
    """Raise `CommandError` unless ClickHouse, where analysts use it, knows this time zone."""
    known = await clickhouse.query(
        "SELECT count() FROM system.time_zones WHERE time_zone = {name:String}", {"name": name}
    )
    if not known.result_rows[0][0]:
        raise CommandError(f"unknown time zone {name!r}; use a name like Europe/Berlin")
