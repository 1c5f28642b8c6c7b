"""`hitline site`: which hostnames pageviews are taken for."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import click

from deploy import control
from deploy.cli.hostnames import parse_hostname, parse_hostnames
from deploy.cli.site_change import change
from deploy.cli.site_claims import check_timezone, heirs_of, keepers_of, owner_of, site_by_name
from deploy.cli.support import CommandError, connected, load_settings, print_json, print_table, run, warn
from deploy.erasure.retention import MAX_RETENTION_DAYS


@click.group
def site() -> None:
    """Add, list, change and remove sites."""


site.add_command(change)


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
        await check_timezone(clickhouse, new.timezone)
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
        keepers = await keepers_of(clickhouse, new, new.hostnames)
    for hostname, keeper in keepers.items():
        warn(f"hostname {hostname} stays with site {keeper}, which is older")


def _refuse_known(new: control.Site, others: Sequence[control.Site]) -> None:
    """Raise where a site of this name exists, or where another's hostname is this site's very name."""
    owner = owner_of(others, new.name)
    if owner is None:
        return
    if owner.name == new.name:
        raise CommandError(f"site {new.name} exists already, with {', '.join(owner.hostnames)}")
    raise CommandError(f"{new.name} is a hostname of site {owner.name}, which keeps it: remove that site first")


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
        first = await site_by_name(clickhouse, name)
        named = [site for site in await control.sites_named(clickhouse, [name]) if site.name == first.name]
        for each in named:
            await control.remove(clickhouse, each)
        return await heirs_of(clickhouse, [hostname for each in named for hostname in each.hostnames])


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
