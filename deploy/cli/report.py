"""`hitline report`: figures of sites in a period, in the terminal or as JSON, CSV or an HTML file."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from deploy.cli import report_forms, report_sites
from deploy.cli.listing import Progress
from deploy.cli.report_forms import Form, Printed
from deploy.cli.support import CommandError, connected, load_settings, run
from deploy.report.collect import collect
from deploy.report.figures import Period, Report
from deploy.report.many import Site, collect_many
from shared.clickhouse import ClickHouse

if TYPE_CHECKING:
    from deploy.report.page.document import Document

#: A large site over years, from exact rows.
_READ_SECONDS = 300.0
_DAY = click.DateTime(["%Y-%m-%d"])


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The sites (none: all) and what of them."""

    sites: tuple[str, ...]
    first: date | None
    last: date | None
    days: int
    top: int
    with_bots: bool

    def period(self, zone: str) -> Period:
        """Return the period in a site's time zone."""
        end = self.last or datetime.now(UTC).astimezone(ZoneInfo(zone)).date()
        start = self.first or end - timedelta(self.days - 1)
        if start > end:
            raise CommandError("--from must not be after --to")
        return Period(start, end, zone)


@click.command
@click.argument("sites", metavar="[SITE]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Report all sites with pageviews in the period, in place of SITE.")
@click.option("--from", "first", type=_DAY, help="First day, in each site's time zone.")
@click.option("--to", "last", type=_DAY, help="Last day, included; without it, today.")
@click.option(
    "--days",
    type=click.IntRange(1, 36_600),
    default=30,
    show_default=True,
    help="Length of the period, without --from.",
)
@click.option("--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Length of the rankings.")
@click.option("--bots", "with_bots", is_flag=True, help="Count bots like people.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; of several sites, an array.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write all sites into one HTML file.")
def report(
    sites: tuple[str, ...],
    every: bool,
    first: datetime | None,
    last: datetime | None,
    days: int,
    top: int,
    with_bots: bool,
    as_json: bool,
    as_csv: bool,
    html: Path | None,
) -> None:
    """Show the traffic of each SITE (a name or an id), with the change to the period before.

    The numbers are those of hitline.pageviews at this moment: rollups are read where they are complete, exact rows for
    the rest.
    """
    if as_json and as_csv:
        raise CommandError("use --json or --csv, not both")
    if bool(sites) == every:
        raise CommandError("name the sites, or use --all")
    wanted = _Wanted(sites, first.date() if first else None, last.date() if last else None, days, top, with_bots)
    run(_report(wanted, _form(as_json, as_csv, len(sites) == 1, html), html))


def _form(as_json: bool, as_csv: bool, is_single: bool, html: Path | None) -> Form | None:
    """Return what is printed; None: nothing, since there is a file."""
    if as_json:
        return report_forms.as_json(is_single=is_single)
    if as_csv:
        return report_forms.as_csv()
    return None if html else report_forms.in_terminal()


async def _report(wanted: _Wanted, form: Form | None, html: Path | None) -> None:
    """Collect site by site, or many small ones together, and keep them on disk; a `form` is printed."""
    from deploy.report.page.document import Document

    document = Document(is_single=len(wanted.sites) == 1) if html else None
    printed = Printed(form) if form else None
    async with connected(load_settings().clickhouse_url, read_s=_READ_SECONDS) as clickhouse:
        async for found, key in _collect(clickhouse, wanted):
            for output in (document, printed):
                if output:
                    _keep(output, found, key)
    if document and html:
        document.write(html)
        click.echo(f"{html} written", err=True)
    if printed:
        printed.end()


def _keep(output: Document | Printed, report: Report, key: str) -> None:
    try:
        output.add(report, key)
    except OSError as error:
        directory = tempfile.gettempdir()
        problem = f"{directory}, where reports wait until all are there, can't be written: {error.strerror}"
        raise CommandError(f"{problem}; set TMPDIR to a directory with more room") from None


async def _collect(clickhouse: ClickHouse, wanted: _Wanted) -> AsyncIterator[tuple[Report, str]]:
    """Yield reports, each with the key by which it is shown: named sites as they are named, all by name and id."""
    try:
        collected = _collect_named(clickhouse, wanted) if wanted.sites else _collect_all(clickhouse, wanted)
        async for found in collected:
            yield found
    except OverflowError:
        raise CommandError("--from, --to or --days is out of range (the period before is needed, too)") from None


async def _collect_named(clickhouse: ClickHouse, wanted: _Wanted) -> AsyncIterator[tuple[Report, str]]:
    for site in [await report_sites.named(clickhouse, name) for name in wanted.sites]:
        period = wanted.period(site.zone)
        found = await collect(clickhouse, site.name, site.site_id, period, with_bots=wanted.with_bots, top=wanted.top)
        yield found, ""


async def _collect_all(clickhouse: ClickHouse, wanted: _Wanted) -> AsyncIterator[tuple[Report, str]]:
    around = wanted.period("UTC")
    stored = await report_sites.every(clickhouse, around.before().first, around.first, around.last)
    sites = [
        Site(each.site.site_id, each.site.name, wanted.period(each.site.zone), each.pageviews, each.derives)
        for each in stored
    ]
    progress = Progress(f"of {len(sites):,} sites")
    async for site, found in collect_many(clickhouse, sites, with_bots=wanted.with_bots, top=wanted.top):
        progress.add(1)
        yield found, f"{site.name} {site.site_id}"
