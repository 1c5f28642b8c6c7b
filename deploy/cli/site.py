"""`hitline site`: the sites that pageviews are accepted for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import click

from deploy.cli.hostname_owners import check_timezone, current_owners, first_listing, new_owners, site_by_name
from deploy.cli.hostnames import parse_hostname, parse_hostnames
from deploy.cli.site_change import change, warn_of_new_owners
from deploy.cli.site_options import SiteOptions, as_dict, described, site_options
from deploy.cli.support import CommandError, connected, load_settings, print_json, print_table, run, warn
from deploy.cli.update import end
from deploy.erasure.retention import MAX_RETENTION_DAYS
from shared.registry import Site, store


@click.group
def site() -> None:
    """Add, list, change and remove sites."""


site.add_command(change)


@site.command
@click.argument("host")
@click.option("--hostname", "aliases", multiple=True, metavar="ALIAS", help="Another hostname, or *.domain.")
@click.option("--timezone", default="UTC", show_default=True, help="For reports, such as Europe/Berlin.")
@click.option(
    "--retention-days",
    type=click.IntRange(0, MAX_RETENTION_DAYS),
    default=0,
    help="Drop older pageviews; 0: the instance's retention.",
)
@site_options
@click.option("--json", "as_json", is_flag=True, help="Print the site as JSON.")
def add(host: str, aliases: tuple[str, ...], timezone: str, retention_days: int, as_json: bool, **options: Any) -> None:
    """Accept pageviews for HOST, a hostname or *.domain; a leading www. is dropped, and IDNs work."""
    hostnames = parse_hostnames([host, *aliases])
    new = SiteOptions.read(options).apply(Site(uuid4().bytes, hostnames[0], hostnames, timezone, retention_days))
    run(_add(load_settings().clickhouse_url, new))
    if as_json:
        print_json(_as_dict(new))
    else:
        click.echo("; ".join(filter(None, (f"site {new.name} added: {', '.join(new.hostnames)}", described(new)))))


async def _add(url: str, new: Site) -> None:
    async with connected(url) as clickhouse:
        await check_timezone(clickhouse, new.timezone)
        others = await store.sites_named(clickhouse, new.hostnames)
        _refuse_existing(new, others)
        await store.put(clickhouse, new)
        # Another `site add` may have run at the same time: the older of the two sites stays, and both agree on that.
        after = await store.sites_named(clickhouse, new.hostnames)
        older = after[: next((number for number, found in enumerate(after) if found.site_id == new.site_id), 0)]
        try:
            _refuse_existing(new, older)
        except CommandError:
            await store.remove(clickhouse, new)
            raise
        owners = await current_owners(clickhouse, new, new.hostnames)
    for hostname, owner in owners.items():
        warn(f"hostname {hostname} stays with site {owner}, which is older")


def _refuse_existing(new: Site, others: Sequence[Site]) -> None:
    """Raise if a site with this name exists, or another site lists this name as a hostname."""
    owner = first_listing(others, new.name)
    if owner is None:
        return
    if owner.name == new.name:
        raise CommandError(f"site {new.name} exists already, with {', '.join(owner.hostnames)}")
    raise CommandError(
        f"{new.name} is a hostname of site {owner.name}, which keeps it: remove that site first, or choose another name"
    )


@site.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the sites as JSON.")
def list_(as_json: bool) -> None:
    """List all sites."""
    found = run(_list(load_settings().clickhouse_url))
    if as_json:
        print_json([_as_dict(each) for each in found])
    elif found:
        rows = [
            [
                each.name,
                " ".join(each.hostnames),
                each.timezone,
                _days(each),
                str(UUID(bytes=each.site_id)),
                described(each),
            ]
            for each in found
        ]
        print_table(["SITE", "HOSTNAMES", "TIMEZONE", "RETENTION", "ID", "OPTIONS"], rows)
    else:
        click.echo("no sites yet: add one with `hitline site add HOST`", err=True)


async def _list(url: str) -> list[Site]:
    async with connected(url) as clickhouse:
        return await store.sites(clickhouse)


@site.command
@click.argument("host")
def remove(host: str) -> None:
    """Stop accepting pageviews for a site; stored ones stay, and grants on the site end."""
    name = parse_hostname(host)
    owners = run(_remove(load_settings().clickhouse_url, name))
    click.echo(f"site {name} removed; its stored pageviews stay")
    warn_of_new_owners(owners)


async def _remove(url: str, name: str) -> dict[str, str]:
    """Remove a site; returns those of its hostnames that other sites own now, with those sites' names."""
    async with connected(url) as clickhouse:
        first = await site_by_name(clickhouse, name)
        named = [site for site in await store.sites_named(clickhouse, [name]) if site.name == first.name]
        for each in named:
            await end(clickhouse, each)
        return await new_owners(clickhouse, [hostname for each in named for hostname in each.hostnames])


def _days(site: Site) -> str:
    return f"{site.retention_days} days" if site.retention_days else "-"


def _as_dict(site: Site) -> dict[str, object]:
    return {
        "site_id": UUID(bytes=site.site_id),
        "name": site.name,
        "hostnames": list(site.hostnames),
        "timezone": site.timezone,
        "retention_days": site.retention_days,
        **as_dict(site),
    }
