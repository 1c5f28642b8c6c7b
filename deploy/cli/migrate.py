"""`hitline migrate`: bringing the schema and the broker's topology up to date; safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence

import click

from deploy.cli.support import CommandError, connected, load_settings, run, warn
from deploy.schema import migrations
from deploy.schema.differences import differences
from deploy.schema.migrations import Migration, MigrationError
from deploy.schema.render import render
from shared.clickhouse import ClickHouse

#: A statement on a large table may take long.
_READ_SECONDS = 3600.0


@click.command
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if anything is left to do.")
@click.option("--dry-run", is_flag=True, help="Change nothing; print the SQL that would run.")
@click.option("--repair", is_flag=True, help="Restore tables, views and columns that are missing; new ones are empty.")
@click.option("--no-clickhouse", is_flag=True, help="Skip ClickHouse.")
@click.option("--no-broker", is_flag=True, help="Skip the broker.")
def migrate(check: bool, dry_run: bool, repair: bool, no_clickhouse: bool, no_broker: bool) -> None:
    """Bring ClickHouse's schema and the broker's queues up to date.

    It can be run at any time, even on several hosts at once, while everything is running.
    """
    settings = load_settings()
    try:
        url = settings.clickhouse_url
        left = 0 if no_clickhouse else run(_migrate_clickhouse(url, check or dry_run, dry_run, repair))
    except MigrationError as error:
        raise CommandError(str(error)) from None
    if not no_broker:
        left += run(_migrate_broker(settings.amqp_url, check or dry_run))
    if check and left:
        raise CommandError("not up to date: run `hitline migrate`")


async def _migrate_clickhouse(url: str, look_only: bool, show_sql: bool, repair: bool) -> int:
    """Apply pending migrations, or only report them; returns how many are left, missing things included."""
    files = migrations.read()
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        records = await migrations.applied(clickhouse)
        for name in migrations.unknown(files, records):
            warn(f"ClickHouse has {name}, which this version of Hitline does not know: a newer version applied it")
        left = migrations.pending(files, records)
        if look_only:
            _report(left, show_sql, clickhouse.cluster)
            applied = [file for file in files if file.number in records]
            return len(left) + await _compare(clickhouse, applied, repair=False, show_sql=show_sql)
        await _apply(clickhouse, files)
        missing = await _compare(clickhouse, files, repair=repair, show_sql=False)
    if missing:
        raise CommandError(f"clickhouse: {missing} missing: restore a backup, or run `hitline migrate --repair`")
    return 0


async def _compare(clickhouse: ClickHouse, applied: Sequence[Migration], *, repair: bool, show_sql: bool) -> int:
    """Name what is not as it was made, and with `repair` restore what is missing; returns how many things still are."""
    missing = 0
    for text, statements in await differences(clickhouse, applied):
        if repair and statements:
            for statement in statements:
                await migrations.execute(clickhouse, statement)
            click.echo(f"clickhouse: {text}: restored" + ("" if " on replica " in text else ", empty"))
            continue
        missing += bool(statements)
        click.echo(f"clickhouse: {text}")
        if show_sql:
            click.echo("".join(f"\n{statement};\n" for statement in statements))
    return missing


async def _apply(clickhouse: ClickHouse, files: Sequence[Migration]) -> None:
    count = 0
    async for file in migrations.migrate(clickhouse, files):
        click.echo(f"clickhouse: {file.name} applied")
        count += 1
    if not count:
        click.echo(f"clickhouse: up to date ({len(files)} migrations)")


def _report(left: Sequence[Migration], show_sql: bool, cluster: str) -> None:
    if not left:
        click.echo("clickhouse: up to date")
    for file in left:
        click.echo(f"clickhouse: {file.name} is pending")
        if show_sql:
            click.echo("".join(f"\n{render(statement, cluster)};\n" for statement in file.statements))


async def _migrate_broker(urls: Sequence[str], look_only: bool) -> int:
    from deploy.queue import topology
    from deploy.queue.connection import connect

    connection = await connect(urls, "hitline migrate")
    async with connection:
        if look_only:
            names = await topology.missing(connection)
            click.echo(f"broker: to be declared: {', '.join(names)}" if names else "broker: up to date")
            return len(names)
        differences = await topology.declare(connection)
    for difference in differences:
        warn(difference)
    click.echo("broker: exchange, queues and bindings exist")
    return 0
