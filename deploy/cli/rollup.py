"""`hitline rollup` and `hitline retain`: keeping up rollups and outcomes, and erasing what is past its retention."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import click
from pydantic import Field

from deploy.cli.support import CommandError, as_click_error, as_text, connected, run, warn
from deploy.erasure import erasure, retention
from deploy.erasure.retention import MAX_RETENTION_DAYS
from deploy.outcomes.fold import Folded, fold
from deploy.rollups.run import Summary, roll_up
from shared import logs
from shared.clickhouse import ClickHouse
from shared.settings import Settings, load

_READ_SECONDS = 3600.0
_RETAIN_EVERY_S = 86_400.0
_FOLD_EVERY_S = 3_600.0


class RollupSettings(Settings):
    """What both commands need."""

    retention_days: Annotated[int, Field(ge=0, le=MAX_RETENTION_DAYS)] = 0


def _settings() -> RollupSettings:
    logs.set_up()
    return load(RollupSettings)


@click.command
@click.option("--every", type=click.FloatRange(min=1), metavar="SECONDS", help="Repeat forever at this interval.")
@click.option("--all", "everything", is_flag=True, help="Recompute every day, not only what has changed.")
def rollup(every: float | None, everything: bool) -> None:
    """Compute hitline.daily and hitline.hourly for every day of a site that has changed.

    It also folds outcomes of messages that can't return into sums by the minute.  With --every it keeps all of this up
    to date, and applies retention once a day.  Running it twice does no harm.
    """
    settings = _settings()
    if every is None:
        run(_once(settings.clickhouse_url, everything))
    else:
        run(_keep_up(settings, every, everything))


async def _once(url: str, everything: bool) -> None:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        _report(await roll_up(clickhouse, everything=everything))
        _report_folded(await fold(clickhouse))


async def _keep_up(settings: RollupSettings, every_s: float, everything: bool) -> None:
    async with asyncio.TaskGroup() as both:  # folding may take minutes, which rollups do not wait for
        both.create_task(_for_ever(settings, every_s, everything))
        both.create_task(_fold_for_ever(settings.clickhouse_url))


async def _fold_for_ever(url: str) -> None:
    while True:
        try:
            async with connected(url, read_s=_READ_SECONDS) as clickhouse:
                _report_folded(await fold(clickhouse))
        except Exception as error:  # noqa: BLE001 - as below
            warn(f"outcomes are not folded: {as_click_error(error).message}")
        await asyncio.sleep(_FOLD_EVERY_S)


def _report_folded(folded: Folded) -> None:
    if folded.messages:
        click.echo(f"outcomes: {folded.messages} messages of {folded.days} days are folded into sums by the minute")


async def _for_ever(settings: RollupSettings, every_s: float, everything: bool) -> None:
    retained_at = -_RETAIN_EVERY_S
    while True:
        began = time.monotonic()
        try:
            async with connected(settings.clickhouse_url, read_s=_READ_SECONDS) as clickhouse:
                _report(await roll_up(clickhouse, everything=everything))
                everything = False
                if began - retained_at >= _RETAIN_EVERY_S:
                    await _retain(clickhouse, settings.retention_days)
                    retained_at = began
        except erasure.NotErased as error:
            warn(str(error))
        except Exception as error:  # noqa: BLE001 - reported and retried: what is due stays due
            warn(f"rollups are not up to date: {as_click_error(error).message}")
        await asyncio.sleep(max(1.0, every_s - (time.monotonic() - began)))


def _report(summary: Summary) -> None:
    click.echo(
        f"rollups: complete up to {as_text(summary.complete_to)};"
        f" {summary.sessions} sessions on {summary.site_days} days of sites have changed"
    )
    if summary.drifted:
        warn(f"{summary.drifted} numbers of days that are over had drifted from the pageviews, and are mended")
    if summary.unfinished_erasures:
        warn("an erasure was interrupted: run `hitline erase --resume`")


@click.command
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would be erased.")
def retain(dry_run: bool) -> None:
    """Erase pageviews older than their site's retention, else HITLINE_RETENTION_DAYS, from the rollups as well."""
    settings = _settings()
    try:
        run(_retain_now(settings, dry_run))
    except erasure.NotErased as error:
        raise CommandError(str(error)) from None


async def _retain_now(settings: RollupSettings, dry_run: bool) -> None:
    async with connected(settings.clickhouse_url, read_s=_READ_SECONDS) as clickhouse:
        await _retain(clickhouse, settings.retention_days, dry_run=dry_run)


async def _retain(clickhouse: ClickHouse, instance_days: int, *, dry_run: bool = False) -> None:
    if dry_run:
        for days, wanted in await retention.due(clickhouse, instance_days):
            count = (await erasure.look(clickhouse, wanted)).pageviews
            click.echo(_line(days, wanted, count, "would be erased"))
        return
    async for days, wanted, count in retention.apply(clickhouse, instance_days):
        click.echo(_line(days, wanted, count, "erased"))


def _line(days: int, wanted: erasure.Erasure, count: int, what: str) -> str:
    assert wanted.time_to is not None  # noqa: S101 - retention always has one
    before = as_text(wanted.time_to)
    return f"retention of {days} days: {count} pageviews of {len(wanted.sites or ())} sites before {before} {what}"
