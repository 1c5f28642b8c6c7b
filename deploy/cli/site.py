"""`hitline site`: which hostnames pageviews are taken for."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import click

from deploy import control
from deploy.cli.hostnames import parse_hostname, parse_hostnames
from deploy.cli.support import CommandError, connected, load_settings, print_json, print_table, run, warn
from deploy.retention import MAX_RETENTION_DAYS
from shared.clickhouse import ClickHouse
from shared.hostnames import parents


@click.group
def site() -> None:
    """Add, list and remove sites."""


@site.command
@click.argument("host")
@click.option("--hostname", "aliases", multiple=True, metavar="ALIAS", help="A further hostname, or *.domain.")
@click.option("--timezone", default="UTC", show_default=True, help="For reports, such as Europe/Berlin.")
@click.option(
    "--retention-days",
    type=click.IntRange(0, MAX_RETENTION_DAYS),
    default=0,
    help="Drop older pageviews; 0: as the instance.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the site as JSON.")
def add(host: str, aliases: tuple[str, ...], timezone: str, retention_days: int, as_json: bool) -> None:
    """Take pageviews for HOST, a hostname or *.domain; a leading www. is left out, IDN is welcome."""
    hostnames = parse_hostnames([host, *aliases])
    new = control.Site(uuid.uuid4(), hostnames[0], hostnames, timezone, retention_days)
    run(_add(load_settings().clickhouse_url, new))
    if as_json:
        print_json(_as_dict(new))
    else:
        click.echo(f"site {new.name} added: {', '.join(new.hostnames)}")


async def _add(url: str, new: control.Site) -> None:
    async with connected(url) as clickhouse:
        await _check_timezone(clickhouse, new.timezone)
        others = await control.sites_named(clickhouse, new.hostnames)
        _refuse_known(new, others)
        await control.put(clickhouse, new)
        # Another `site add` may have run at the same time: the older of the two stays, and both see it so.
        after = await control.sites_named(clickhouse, new.hostnames)
        older = after[: next((place for place, found in enumerate(after) if found.site_id == new.site_id), 0)]
        try:
            _refuse_known(new, older)
        except CommandError:
            await control.remove(clickhouse, new)
            raise
    for hostname in new.hostnames:
        if keeper := _owner(older, hostname):
            warn(f"hostname {hostname} stays with site {keeper.name}, which is older")


async def _check_timezone(clickhouse: ClickHouse, name: str) -> None:
    """Ask ClickHouse, which is where analysts will use it."""
    known = await clickhouse.query(
        "SELECT count() FROM system.time_zones WHERE time_zone = {name:String}", {"name": name}
    )
    if not known.result_rows[0][0]:
        raise CommandError(f"{name!r} is no time zone; one looks like Europe/Berlin")


def _refuse_known(new: control.Site, others: Sequence[control.Site]) -> None:
    """Raise where a site of this name exists, or where another's hostname is this site's very name."""
    owner = _owner(others, new.name)
    if owner is None:
        return
    if owner.name == new.name:
        raise CommandError(f"site {new.name} exists already, with {', '.join(owner.hostnames)}")
    raise CommandError(f"{new.name} is a hostname of site {owner.name}, which keeps it: remove that site first")


def _owner(sites: Sequence[control.Site], hostname: str) -> control.Site | None:
    return next((site for site in sites if hostname in (site.name, *site.hostnames)), None)


@site.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the sites as JSON.")
def list_(as_json: bool) -> None:
    """List all sites."""
    found = run(_list(load_settings().clickhouse_url))
    if as_json:
        print_json([_as_dict(each) for each in found])
    elif found:
        rows = [[each.name, " ".join(each.hostnames), each.timezone, _days(each), str(each.site_id)] for each in found]
        print_table(["SITE", "HOSTNAMES", "TIMEZONE", "RETENTION", "ID"], rows)
    else:
        click.echo("no sites yet: add one with `hitline site add HOST`", err=True)


async def _list(url: str) -> list[control.Site]:
    async with connected(url) as clickhouse:
        return await control.sites(clickhouse)


@site.command
@click.argument("host")
def remove(host: str) -> None:
    """Take no more pageviews for a site; what is stored stays, grants on it end."""
    name = parse_hostname(host)
    heirs = run(_remove(load_settings().clickhouse_url, name))
    click.echo(f"site {name} removed; its stored pageviews stay")
    for hostname, heir in heirs.items():
        warn(f"hostname {hostname} now falls to site {heir}, which claims it: its pageviews are taken there")


async def _remove(url: str, name: str) -> dict[str, str]:
    """Remove a site; returns the hostnames that other sites get by it, with those sites' names."""
    async with connected(url) as clickhouse:
        found = await control.sites_named(clickhouse, [name])
        named = [site for site in found if site.name == name]
        if not named and found:
            raise CommandError(f"{name} is a hostname of site {found[0].name}: remove it by that name")
        if not named:
            raise CommandError(f"there is no site {name}: see `hitline site list`")
        for each in named:
            await control.remove(clickhouse, each)
        hostnames = [hostname for each in named for hostname in each.hostnames]
        claims = {
            hostname: [hostname, *(f"*.{parent}" for parent in parents(hostname.removeprefix("*.")))]
            for hostname in hostnames
        }
        left = await control.sites_named(clickhouse, [claim for each in claims.values() for claim in each])
    heirs = {
        hostname: next((heir.name for claim in each if (heir := _owner(left, claim))), "")
        for hostname, each in claims.items()
    }
    return {hostname: heir for hostname, heir in heirs.items() if heir}


def _days(site: control.Site) -> str:
    return f"{site.retention_days} days" if site.retention_days else "-"


def _as_dict(site: control.Site) -> dict[str, object]:
    return {
        "site_id": site.site_id,
        "name": site.name,
        "hostnames": list(site.hostnames),
        "timezone": site.timezone,
        "retention_days": site.retention_days,
    }
