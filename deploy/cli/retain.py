"""`hitline retain`: erasing what is past its retention, and taking off the disk what was erased by whatever command."""

from __future__ import annotations

from typing import Annotated

import click
from pydantic import Field

from deploy.cli.support import CommandError, as_text, connected, run, warn
from deploy.erasure import cutoffs, daily, months, retention
from deploy.erasure.record import Entry
from deploy.erasure.request import NotErased
from deploy.erasure.retention import MAX_RETENTION_DAYS, Expired
from deploy.erasure.rewrite import rewrite
from shared import logs
from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import failure_of
from shared.settings import Settings, load

#: As long as the largest month may take.
_READ_SECONDS = 86_400.0


class RetentionSettings(Settings):
    """What retention needs."""

    retention_days: Annotated[int, Field(ge=0, le=MAX_RETENTION_DAYS)] = 0
    admin_host: str = "127.0.0.1"
    admin_port: Annotated[int, Field(ge=0, le=65535)] = 9082


@click.command
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would be erased.")
@click.option("--idle", is_flag=True, help="The clocks are right, although no pageviews have arrived for days.")
def retain(dry_run: bool, idle: bool) -> None:
    """Erase pageviews older than their site's retention, else HITLINE_RETENTION_DAYS, from the rollups as well.

    Then each month with erased pageviews, also by `hitline erase`, is rewritten without them.
    """
    logs.set_up()
    settings = load(RetentionSettings)
    try:
        run(_retain(settings, dry_run, idle))
    except NotErased as error:
        raise CommandError(str(error)) from None


async def _retain(settings: RetentionSettings, dry_run: bool, idle: bool) -> None:
    async with connected(settings.clickhouse_url, read_s=_READ_SECONDS) as clickhouse:
        if dry_run:
            _tell(await retention.due(clickhouse, settings.retention_days, idle=idle), "would be erased")
        else:
            await daily_work(clickhouse, settings.retention_days, idle=idle)


async def daily_work(clickhouse: ClickHouse, instance_days: int, *, idle: bool = False) -> None:
    """Apply retention and take off the disk what was erased since the last time; raises `NotErased`."""
    if waiting := await cutoffs.moving(clickhouse, instance_days):
        warn(f"retention of {waiting} sites waits for `hitline rollup`: their time zone has changed")
    try:
        _tell(await retention.apply(clickhouse, instance_days, idle=idle), "erased")
    finally:  # what was asked for goes off the disk, also where a clock keeps retention from being applied
        await _merge_months(clickhouse)  # first, since that leaves out what was erased as well
        await rewrite_erased(clickhouse)
    await daily.finished(clickhouse, daily.RETENTION)


async def _merge_months(clickhouse: ClickHouse) -> None:
    plan = await months.plan(clickhouse)
    for month in plan.months:
        click.echo(f"merging {month.partition} ({month.parts} parts, {month.bytes_on_disk / 2**20:.1f} MiB)")
        try:
            await months.merge(clickhouse, month)
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            # It is read more slowly until another day.
            warn(f"{month.partition} was not merged ({failure.name or 'no answer'}): is there room on the disk for it?")
    if plan.months or not plan.waiting:
        await daily.finished(clickhouse, daily.MERGING)


async def rewrite_erased(clickhouse: ClickHouse) -> None:
    """Take off the disk what was erased, and tell about it."""
    announced: tuple[str, str] | None = None
    async for each in rewrite(clickhouse):
        if isinstance(each, Entry):
            if each.kind == "request":
                click.echo(f"erasure {each.erasure_id} is off the disk")
        elif (each.table, each.partition) != announced:
            announced = (each.table, each.partition)
            click.echo(
                f"rewriting {each.table} {each.partition} ({each.number} of {each.partitions},"
                f" {each.bytes_left / 2**20:.1f} MiB)"
            )


def _tell(expired: list[Expired], what: str) -> None:
    for each in expired:
        before = as_text(each.before)
        click.echo(f"retention of {each.retention_days} days: {each.pageviews} pageviews before {before} {what}")
