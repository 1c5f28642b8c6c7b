"""`hitline erase`: deleting pageviews of a site, a session, a path or a time for good."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import click

from deploy.cli.retain import rewrite_erased
from deploy.cli.sites import stored_sites
from deploy.cli.support import CommandError, as_text, connected, load_settings, print_table, run
from deploy.erasure import derived, record, request
from deploy.erasure.conditions import Erasure
from deploy.erasure.request import NotErased
from shared.clickhouse import ClickHouse

_READ_SECONDS = 3600.0
#: The range of ClickHouse's DateTime64.
_FIRST = datetime(1900, 1, 1, tzinfo=UTC)
_LAST = datetime(2299, 12, 31, tzinfo=UTC)


class _Time(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read a date or a time in ISO 8601; without a zone it is in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"invalid time {value!r}; use one like 2026-01-31 or 2026-01-31T12:00:00Z", param, ctx)
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        # No stored pageview is outside this range.
        return _FIRST if time < _FIRST else _LAST if time > _LAST else time.astimezone(UTC)


@click.command
@click.option("--site", "host", metavar="HOST", help="All sites with this name, including removed ones, or one by id.")
@click.option("--session", "session_id", type=click.UUID, help="A session.")
@click.option("--path", help="A path; /a* matches every path that begins with /a.")
@click.option("--from", "time_from", type=_Time(), help="From this time on (UTC unless it has a zone).")
@click.option("--to", "time_to", type=_Time(), help="Before this time.")
@click.option("--dry-run", is_flag=True, help="Change nothing; print how many would be erased.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--reference", default="", metavar="TEXT", help="What you call the request; it stays in the record.")
@click.option("--now", is_flag=True, help="Off the disk at once, with all that waits; alone: only that.")
@click.option("--resume", is_flag=True, help="Complete interrupted erasures.")
@click.option("--list", "list_all", is_flag=True, help="Show the record: what was requested, unreadable, gone when.")
def erase(
    host: str | None,
    session_id: UUID | None,
    path: str | None,
    time_from: datetime | None,
    time_to: datetime | None,
    dry_run: bool,
    yes: bool,
    reference: str,
    now: bool,
    resume: bool,
    list_all: bool,
) -> None:
    """Erase stored pageviews for good, and from the rollups; it can't be undone.

    It erases the pageviews that match all options given, and verifies that no reader finds one any more.  The daily
    work of `hitline retain` then takes them off the disk.  Pageviews that are still in the queue or among the dead
    letters are stored later: run it again after those.
    """
    url = load_settings().clickhouse_url
    try:
        if list_all:
            run(_list(url))
            return
        if resume:
            run(_resume(url, now))
            return
        if now and not (host or session_id or path or time_from or time_to):
            run(_rewrite(url))
            return
        _refuse_empty(host, path)
        if not (host or session_id or path or time_from or time_to):
            raise CommandError("nothing to erase: use --site, --session, --path, --from or --to")
        if time_from and time_to and time_from >= time_to:
            raise CommandError("--from must be before --to")
        wanted = Erasure(session_id=session_id, path=path, time_from=time_from, time_to=time_to)
        run(_erase(url, wanted, host, dry_run, yes, reference, now))
    except NotErased as error:
        raise CommandError(str(error)) from None


def _refuse_empty(host: str | None, path: str | None) -> None:
    """Refuse an empty option, such as an unset shell variable: ignoring it would erase more than intended."""
    for name, value in (("--site", host), ("--path", path)):
        if value is not None and not value.strip():
            raise CommandError(f"{name} is empty; omit it to erase every {name[2:]}")
    if path == "*":
        raise CommandError("--path '*' matches every path: omit it and use --site, --session, --from or --to")


async def _erase(
    url: str, wanted: Erasure, host: str | None, dry_run: bool, yes: bool, reference: str, now: bool
) -> None:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        if host:
            named = await stored_sites(clickhouse, host)
            wanted = replace(wanted, sites=tuple(UUID(bytes=each.site.site_id) for each in named))
            if len(named) > 1:
                removed = sum(each.removed for each in named)
                click.echo(f"--site {host} covers {len(named)} sites of that name, {removed} of them removed", err=True)
        wanted = await derived.resolved(clickhouse, wanted)
        count, days, sites, *_ = await request.look(clickhouse, wanted)
        if dry_run:
            click.echo(f"{count} pageviews on {days} days of {sites} sites would be erased")
            return
        if not yes:
            click.confirm(f"Erase {count} pageviews on {days} days of {sites} sites for good?", abort=True)
        entry = await request.erase(clickhouse, wanted, reference, partial(click.echo, err=True))
        click.echo(f"{entry.pageviews} pageviews erased, none left; rollups of {days} days corrected and verified")
        await _end(clickhouse, entry, now)


async def _end(clickhouse: ClickHouse, entry: record.Entry, now: bool) -> None:
    if now:
        await rewrite_erased(clickhouse)
    else:
        click.echo(f"erasure {entry.erasure_id}: the daily rewrite takes them off the disk, or `hitline erase --now`")


async def _rewrite(url: str) -> None:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        await rewrite_erased(clickhouse)
    click.echo("nothing that was erased is on the disk any more")


async def _resume(url: str, now: bool) -> None:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        begun = await record.unfinished(clickhouse)
        for wanted in begun:
            await request.erase(clickhouse, wanted)
        if now:
            await rewrite_erased(clickhouse)
    click.echo(f"{len(begun)} interrupted erasures completed" if begun else "there is no interrupted erasure")


async def _list(url: str) -> None:
    async with connected(url) as clickhouse:
        entries = await record.entries(clickhouse)
    rows = [
        [
            str(each.erasure_id),
            each.kind,
            each.reference,
            str(each.pageviews),
            *("-" if time is None else as_text(time) for time in (each.requested_at, each.unreadable_at, each.gone_at)),
        ]
        for each in entries
    ]
    print_table(["id", "kind", "reference", "pageviews", "requested", "unreadable", "off the disk"], rows)
