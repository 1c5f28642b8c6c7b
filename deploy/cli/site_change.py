"""`hitline site change`: a site's hostnames, time zone and retention, under the same id."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import click

from deploy import control
from deploy.cli.hostnames import parse_hostname, parse_hostnames
from deploy.cli.site_claims import check_timezone, heirs_of, keepers_of, site_by_name
from deploy.cli.support import CommandError, connected, load_settings, run, warn
from deploy.erasure.retention import MAX_RETENTION_DAYS


class Changes(NamedTuple):
    """What is to be another; None and nothing: as it is."""

    added: tuple[str, ...]
    given_up: tuple[str, ...]
    timezone: str | None
    retention_days: int | None


@click.command
@click.argument("host")
@click.option("--hostname", "added", multiple=True, metavar="ALIAS", help="A further hostname, or *.domain.")
@click.option("--without", "given_up", multiple=True, metavar="ALIAS", help="A hostname that it gives up.")
@click.option("--timezone", help="For reports; rollups are computed anew.")
@click.option(
    "--retention-days", type=click.IntRange(0, MAX_RETENTION_DAYS), help="Drop older pageviews; 0: as the instance."
)
def change(
    host: str, added: tuple[str, ...], given_up: tuple[str, ...], timezone: str | None, retention_days: int | None
) -> None:
    """Change a site; what is not named stays, and so do its id, its grants and its pageviews."""
    changes = Changes(parse_hostnames(added), parse_hostnames(given_up), timezone, retention_days)
    if not added and not given_up and timezone is None and retention_days is None:
        raise CommandError("say what: --hostname, --without, --timezone, --retention-days")
    run(_change(load_settings().clickhouse_url, parse_hostname(host), changes))


async def _change(url: str, name: str, changes: Changes) -> None:
    async with connected(url) as clickhouse:
        site = await site_by_name(clickhouse, name)
        changed = _changed(site, changes)
        await check_timezone(clickhouse, changed.timezone)
        await control.put(clickhouse, changed)
        keepers = await keepers_of(clickhouse, changed, changes.added)
        heirs = await heirs_of(clickhouse, changes.given_up)
    retention = f"{changed.retention_days} days" if changed.retention_days else "as the instance"
    click.echo(f"site {changed.name}: {', '.join(changed.hostnames)}; {changed.timezone}; kept: {retention}")
    for hostname, keeper in keepers.items():
        warn(f"hostname {hostname} stays with site {keeper}, which is older")
    for hostname, heir in heirs.items():
        warn(f"hostname {hostname} now falls to site {heir}, which claims it: its pageviews are taken there")


def _changed(site: control.Site, changes: Changes) -> control.Site:
    return dataclasses.replace(
        site,
        hostnames=_hostnames(site, changes.added, changes.given_up),
        timezone=site.timezone if changes.timezone is None else changes.timezone,
        retention_days=site.retention_days if changes.retention_days is None else changes.retention_days,
    )


def _hostnames(site: control.Site, added: Sequence[str], given_up: Sequence[str]) -> tuple[str, ...]:
    for hostname in given_up:
        if hostname == site.name:
            raise CommandError(
                f"{hostname} is the site's name, which it can't give up: add another site and remove this"
            )
        if hostname not in site.hostnames:
            raise CommandError(f"{hostname} is no hostname of site {site.name}")
    left = [hostname for hostname in site.hostnames if hostname not in given_up]
    return tuple(dict.fromkeys([*left, *added]))
