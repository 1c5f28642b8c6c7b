"""Whose a hostname is when several sites claim it, for the commands that change claims."""

from __future__ import annotations

from collections.abc import Sequence

from deploy import control
from deploy.cli.support import CommandError
from shared.clickhouse import ClickHouse
from shared.hostnames import parents


async def site_by_name(clickhouse: ClickHouse, name: str) -> control.Site:
    """Return the site of this very name, the oldest; raises `CommandError` for none."""
    found = await control.sites_named(clickhouse, [name])
    named = [site for site in found if site.name == name]
    if not named and found:
        raise CommandError(f"{name} is a hostname of site {found[0].name}: call it by that name")
    if not named:
        raise CommandError(f"there is no site {name}: see `hitline site list`")
    return named[0]


def owner_of(sites: Sequence[control.Site], hostname: str) -> control.Site | None:
    """Return the first of `sites` that claims a hostname."""
    return next((site for site in sites if hostname in (site.name, *site.hostnames)), None)


async def keepers_of(clickhouse: ClickHouse, site: control.Site, hostnames: Sequence[str]) -> dict[str, str]:
    """Return which of a site's hostnames older sites keep, with those sites' names."""
    claiming = await control.sites_named(clickhouse, hostnames)
    place = next((place for place, found in enumerate(claiming) if found.site_id == site.site_id), len(claiming))
    keepers = {hostname: owner_of(claiming[:place], hostname) for hostname in hostnames}
    return {hostname: keeper.name for hostname, keeper in keepers.items() if keeper}


async def heirs_of(clickhouse: ClickHouse, hostnames: Sequence[str]) -> dict[str, str]:
    """Return which hostnames that were given up fall to other sites now, with those sites' names."""
    claims = {
        hostname: [hostname, *(f"*.{parent}" for parent in parents(hostname.removeprefix("*.")))]
        for hostname in hostnames
    }
    left = await control.sites_named(clickhouse, [claim for each in claims.values() for claim in each])
    heirs = {
        hostname: next((heir.name for claim in each if (heir := owner_of(left, claim))), "")
        for hostname, each in claims.items()
    }
    return {hostname: heir for hostname, heir in heirs.items() if heir}


async def check_timezone(clickhouse: ClickHouse, name: str) -> None:
    """Raise `CommandError` for no time zone; asks ClickHouse, which is where analysts will use it."""
    known = await clickhouse.query(
        "SELECT count() FROM system.time_zones WHERE time_zone = {name:String}", {"name": name}
    )
    if not known.result_rows[0][0]:
        raise CommandError(f"{name!r} is no time zone; one looks like Europe/Berlin")
