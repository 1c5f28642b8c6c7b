"""`hitline site change`: a site's hostnames, time zone, retention and options, under the same id."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import click

from deploy.cli.hostname_owners import check_timezone, current_owners, new_owners, site_by_name
from deploy.cli.hostnames import parse_hostname, parse_hostnames
from deploy.cli.site_options import SiteOptions, described, site_options
from deploy.cli.support import CommandError, connected, load_settings, run, warn
from deploy.cli.update import update
from deploy.erasure.retention import MAX_RETENTION_DAYS
from shared.registry import Site


class Changes(NamedTuple):
    """What to change; None or an empty tuple leaves it as it is."""

    added: tuple[str, ...]
    dropped: tuple[str, ...]
    timezone: str | None
    retention_days: int | None
    options: SiteOptions


@click.command
@click.argument("host")
@click.option("--hostname", "added", multiple=True, metavar="ALIAS", help="Another hostname, or *.domain.")
@click.option("--without", "dropped", multiple=True, metavar="ALIAS", help="A hostname to remove from it.")
@click.option("--timezone", help="For reports; rollups are recomputed.")
@click.option(
    "--retention-days",
    type=click.IntRange(0, MAX_RETENTION_DAYS),
    help="Drop older pageviews; 0: the instance's retention.",
)
@site_options
def change(
    host: str,
    added: tuple[str, ...],
    dropped: tuple[str, ...],
    timezone: str | None,
    retention_days: int | None,
    **options: Any,
) -> None:
    """Change a site; everything not given stays, as do its id, its grants and its pageviews."""
    given = SiteOptions.read(options)
    changes = Changes(parse_hostnames(added), parse_hostnames(dropped), timezone, retention_days, given)
    if not added and not dropped and all(each is None for each in (timezone, retention_days, *given)):
        raise CommandError(
            "nothing to change: use --hostname, --without, --timezone, --retention-days or one of the options"
        )
    run(_change(load_settings().clickhouse_url, parse_hostname(host), changes))


async def _change(url: str, name: str, changes: Changes) -> None:
    async with connected(url) as clickhouse:
        site = await site_by_name(clickhouse, name)
        _check_dropped(site, changes.dropped)
        if changes.timezone is not None:
            await check_timezone(clickhouse, changes.timezone)
        changed = await update(clickhouse, site, partial(_changed, changes=changes))
        owners = await current_owners(clickhouse, changed, changes.added)
        others = await new_owners(clickhouse, changes.dropped)
    retention = f"{changed.retention_days} days" if changed.retention_days else "the instance's"
    said = f"site {changed.name}: {', '.join(changed.hostnames)}; {changed.timezone}; retention: {retention}"
    click.echo("; ".join(filter(None, (said, described(changed)))))
    for hostname, owner in owners.items():
        warn(f"hostname {hostname} stays with site {owner}, which is older")
    warn_of_new_owners(others)


def warn_of_new_owners(owners: Mapping[str, str]) -> None:
    """Warn of hostnames that now belong to another site, given with that site's name."""
    for hostname, owner in owners.items():
        warn(f"hostname {hostname} now belongs to site {owner}, which lists it: its pageviews go there")


def _changed(site: Site, changes: Changes) -> Site:
    left = [hostname for hostname in site.hostnames if hostname not in changes.dropped]
    return dataclasses.replace(
        changes.options.apply(site),
        hostnames=tuple(dict.fromkeys([*left, *changes.added])),
        timezone=site.timezone if changes.timezone is None else changes.timezone,
        retention_days=site.retention_days if changes.retention_days is None else changes.retention_days,
    )


def _check_dropped(site: Site, dropped: Sequence[str]) -> None:
    for hostname in dropped:
        if hostname == site.name:
            raise CommandError(
                f"{hostname} is the site's name and can't be removed: add another site and remove this one"
            )
        if hostname not in site.hostnames:
            raise CommandError(f"site {site.name} has no hostname {hostname}: see `hitline site list`")
