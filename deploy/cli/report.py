"""`hitline report`: a site's figures in a period, in the terminal or as JSON, CSV or an HTML file."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import click

from deploy.cli.sites import StoredSite, canonical, stored_sites
from deploy.cli.support import CommandError, connected, load_settings, print_json, run, warn
from deploy.report import page, tables
from deploy.report.figures import Period, Report, collect
from shared.clickhouse import ClickHouse, failure_of
from shared.registry import Site, store

#: A large site over years.
_READ_SECONDS = 300.0
_DAY = click.DateTime(["%Y-%m-%d"])


@click.command
@click.argument("site")
@click.option("--from", "first", type=_DAY, help="First day, in the site's time zone.")
@click.option("--to", "last", type=_DAY, help="Last day, included; without it, today.")
@click.option(
    "--days",
    type=click.IntRange(1, 36_600),
    default=30,
    show_default=True,
    help="Length of the period, without --from.",
)
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Length of the rankings.")
@click.option("--bots", is_flag=True, help="Count bots as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML file with plots.")
def report(
    site: str,
    first: datetime | None,
    last: datetime | None,
    days: int,
    top: int,
    bots: bool,
    as_json: bool,
    as_csv: bool,
    html: Path | None,
) -> None:
    """Show SITE's traffic (a name or an id), with the change to the period before.

    The figures come from exact pageviews: they are what hitline.pageviews says at this moment.
    """
    if as_json and as_csv:
        raise CommandError("use --json or --csv, not both")
    found = run(_collect(load_settings().clickhouse_url, site, (first, last, days), bots, top))
    if html:
        html.write_text(page.render(found), "utf-8")
        click.echo(f"{html} written", err=True)
    if as_json:
        print_json(tables.to_json(found))
    elif as_csv:
        click.echo(tables.to_csv(found).encode(), nl=False)  # UTF-8 in every locale: visitors choose the characters
    elif not html:
        _show(found)


async def _collect(
    url: str, name: str, asked: tuple[datetime | None, datetime | None, int], bots: bool, top: int
) -> Report:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        site_id, site, zone = await _site(clickhouse, name)
        try:
            return await collect(clickhouse, site, site_id, _period(zone, *asked), bots=bots, top=top)
        except OverflowError:
            raise CommandError("--from, --to or --days is out of range (the period before is needed, too)") from None


async def _site(clickhouse: ClickHouse, name: str) -> tuple[UUID, str, str]:
    """Return id, name and time zone: of the site in force, else of the newest that was removed."""
    try:
        site = await _registered(clickhouse, name)
    except Exception as error:
        failure = failure_of(error)
        if failure is None or not failure.denied:
            raise
        return await _copied(clickhouse, name)
    return UUID(bytes=site.site_id), site.name, site.timezone or "UTC"


async def _registered(clickhouse: ClickHouse, name: str) -> Site:
    """Return the site by the registry; one in force that has it as a hostname comes before those that were removed."""
    if claiming := await store.sites_named(clickhouse, [canonical(name)]):
        named = [site for site in claiming if site.name == canonical(name)]
        site = (named or claiming)[0]
        found = await stored_sites(clickhouse, name) if named else []
    else:
        found = await stored_sites(clickhouse, name)
        site = found[0].site
    await _warn_of_others(clickhouse, name, [each for each in found if each.site.site_id != site.site_id])
    return site


async def _warn_of_others(clickhouse: ClickHouse, name: str, others: list[StoredSite]) -> None:
    """Warn of removed sites of this name whose pageviews the report leaves out."""
    removed = [str(UUID(bytes=each.site.site_id)) for each in others if each.removed]
    if not removed:
        return
    stored = await clickhouse.query(
        "SELECT DISTINCT toString(site_id) FROM hitline.pageviews_raw WHERE site_id IN {sites:Array(UUID)} ORDER BY 1",
        {"sites": removed},
    )
    if ids := [row[0] for row in stored.result_rows]:
        warn(
            f"pageviews of {len(ids)} older, removed sites named {name} are left out; report them by id:"
            f" {', '.join(ids)}"
        )


async def _copied(clickhouse: ClickHouse, name: str) -> tuple[UUID, str, str]:
    """Return the newest from the copy that rollups keep: analysts can read that, but not the registry."""
    known = await clickhouse.query(
        "SELECT site_id, name, timezone FROM hitline.sites_raw FINAL WHERE name = {name:String}"
        " OR has(hostnames, {name:String}) OR toString(site_id) = {name:String}"
        " ORDER BY name = {name:String} DESC, version DESC, site_id LIMIT 1",
        {"name": name.lower()},
    )
    if not known.result_rows:
        raise CommandError(
            f"there is no site {name} that this user may see; a new one shows after the next `hitline rollup`"
        )
    return tuple(known.result_rows[0])


def _period(zone: str, first: datetime | None, last: datetime | None, days: int) -> Period:
    end: date = last.date() if last else datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
    start = first.date() if first else end - timedelta(days - 1)
    if start > end:
        raise CommandError("--from must not be after --to")
    return Period(start, end, zone)


def _show(found: Report) -> None:
    from rich.console import Console

    from deploy.report.terminal import show

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a locale that is not UTF-8 can't write all paths
    console = Console(file=sys.stdout, highlight=False, emoji=False, markup=False)
    show(found, console)
