"""`hitline rollup`: keeping up rollups and outcomes; with --every also the daily work of `hitline retain`."""

from __future__ import annotations

import asyncio
import logging
import time

import click

from deploy.cli.retain import RetentionSettings, daily_work
from deploy.cli.support import as_click_error, as_text, connected, run, warn
from deploy.erasure import daily, record
from deploy.erasure.request import NotErased
from deploy.outcomes.fold import Folded, fold
from deploy.rollups.run import Summary, roll_up
from shared import logs, metrics
from shared.admin import Admin
from shared.settings import SettingsError, load

log = logging.getLogger(__name__)

_READ_SECONDS = 3600.0
#: As long as rewriting the largest month may take.
_DAILY_READ_SECONDS = 86_400.0
#: How often it is looked whether the daily work is due, and tried again after a failure.
_LOOK_S = 60.0
_FOLD_EVERY_S = 3_600.0


@click.command
@click.option("--every", type=click.FloatRange(min=1), metavar="SECONDS", help="Repeat forever at this interval.")
@click.option("--all", "everything", is_flag=True, help="Recompute every day, not only what has changed.")
def rollup(every: float | None, everything: bool) -> None:
    """Compute hitline.daily and hitline.hourly for every day of a site that has changed.

    It also folds outcomes of messages that can't return into sums by the minute.  With --every it keeps all of this up
    to date, and once a day does what `hitline retain` does, beside the rollups.  Running it twice does no harm.
    """
    logs.set_up()
    settings = load(RetentionSettings)
    if every is None:
        run(_once(settings.clickhouse_url, everything))
    else:
        run(_for_ever(settings, every, everything))


async def _once(url: str, everything: bool) -> None:
    await _roll_up(url, everything)
    await _fold(url)


async def _roll_up(url: str, everything: bool) -> None:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        _report(await roll_up(clickhouse, everything=everything))


async def _fold(url: str) -> None:
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        _report_folded(await fold(clickhouse))


async def _for_ever(settings: RetentionSettings, every_s: float, everything: bool) -> None:
    admin = await _metrics_port(settings)
    try:
        await _work_for_ever(settings, every_s, everything)
    finally:
        await admin.stop()


async def _metrics_port(settings: RetentionSettings) -> Admin:
    """Serve the metrics; a second process on this host works without."""
    metrics.PROCESS.labels("rollup").set(1)
    admin = Admin(settings.admin_host, settings.admin_port, lambda: None, lambda: None, metrics.OF_ROLLUP)
    try:
        await admin.start()
        log.info("admin port %d", admin.port)
    except SettingsError as error:
        warn(f"no metrics: {error}")
    return admin


async def _work_for_ever(settings: RetentionSettings, every_s: float, everything: bool) -> None:
    async with asyncio.TaskGroup() as tasks:  # rollups wait for none of the others
        tasks.create_task(_fold_for_ever(settings.clickhouse_url))
        tasks.create_task(_keep_up(settings.clickhouse_url, every_s, everything))
        tasks.create_task(_do_daily_work(settings))


async def _keep_up(url: str, every_s: float, everything: bool) -> None:
    while True:
        began = time.monotonic()
        try:
            await _roll_up(url, everything)
            everything = False
        except Exception as error:  # noqa: BLE001 - reported and retried: what is due stays due
            warn(f"rollups are not up to date: {as_click_error(error).message}")
        await asyncio.sleep(max(1.0, every_s - (time.monotonic() - began)))


async def _fold_for_ever(url: str) -> None:
    while True:
        try:
            await _fold(url)
        except Exception as error:  # noqa: BLE001 - as above
            warn(f"outcomes are not folded: {as_click_error(error).message}")
        await asyncio.sleep(_FOLD_EVERY_S)


async def _do_daily_work(settings: RetentionSettings) -> None:
    while True:
        try:
            async with connected(settings.clickhouse_url, read_s=_DAILY_READ_SECONDS) as clickhouse:
                metrics.ERASURE_WAITING.set(await record.waiting_s(clickhouse))
                if await daily.is_due(clickhouse, daily.RETENTION):
                    await daily_work(clickhouse, settings.retention_days)
            metrics.RETENTION_REFUSED.set(0)
        except Exception as error:  # noqa: BLE001 - as above
            metrics.RETENTION_REFUSED.set(1)
            warn(str(error) if isinstance(error, NotErased) else f"daily work: {as_click_error(error).message}")
        await asyncio.sleep(_LOOK_S)


def _report_folded(folded: Folded) -> None:
    if folded.messages:
        click.echo(f"outcomes: {folded.messages} messages of {folded.days} days are folded into sums by the minute")


def _report(summary: Summary) -> None:
    metrics.ROLLUPS_COMPLETE.set(summary.complete_to.timestamp())
    click.echo(
        f"rollups: complete up to {as_text(summary.complete_to)};"
        f" {summary.sessions} sessions on {summary.site_days} days of sites have changed"
    )
    if summary.clock_was_ahead:
        warn(
            "a clock had been ahead when rollups were last computed; what was stored since is counted now. Keep the"
            " clocks of ClickHouse and this machine right (NTP)"
        )
    if summary.new_rules:
        click.echo(
            f"rollups: the rules of {', '.join(summary.new_rules)} have changed; sites there were computed again"
        )
    if summary.drifted:
        warn(f"{summary.drifted} numbers of days that are over had drifted from the pageviews, and are mended")
    if summary.unfinished_erasures:
        warn("an erasure was interrupted: run `hitline erase --resume`")
