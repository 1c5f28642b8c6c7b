"""`hitline backup` and `hitline restore`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import click

from deploy.backup import ledger, manifest, tables
from deploy.backup.manifest import BadBackup, Manifest
from deploy.cli.support import CommandError, connected, run, warn
from deploy.schema import migrations
from gateway.settings import GatewaySettings
from shared import logs
from shared.clickhouse import ClickHouse
from shared.settings import load

_READ_SECONDS = 3600.0
_LEDGER = "ledger.ndjson.gz"
_SHOWN = 20


@click.command
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def backup(directory: Path) -> None:
    """Write registry, erasures and a ledger of the pageviews to DIRECTORY, which is made and must not exist.

    The pageviews themselves are ClickHouse's: `BACKUP DATABASE hitline TO ...` right after this. Keys and secrets are
    not in it. Run it with a gateway's settings.
    """
    settings = _settings()
    try:
        directory.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise CommandError(f"{directory} exists: name a new directory") from None
    saved = run(_backup(settings, directory))
    click.echo(f"{directory}: registry, and a ledger of {saved.pageviews:,} pageviews")


def _settings() -> GatewaySettings:
    logs.set_up(level=logging.WARNING)
    return load(GatewaySettings)


async def _backup(settings: GatewaySettings, directory: Path) -> Manifest:
    async with connected(settings.clickhouse_url, read_s=_READ_SECONDS) as clickhouse:
        applied = await migrations.applied(clickhouse)
        if not applied:
            raise CommandError("ClickHouse has no Hitline tables: there is nothing to back up")
        for table in tables.TABLES:
            click.echo(f"saving {table}")
            await tables.save(clickhouse, table, tables.file_of(directory, table))
        click.echo("counting pageviews")
        pageviews = await ledger.save(clickhouse, directory / _LEDGER)
    files = [*(tables.file_of(directory, table) for table in tables.TABLES), directory / _LEDGER]
    saved = Manifest(
        form=manifest.FORM,
        created_at=datetime.now(UTC),
        migrations={number: checksum for number, (_, checksum) in applied.items()},
        queue_key_ids=manifest.ids_of_keys(settings.queue_keys),
        id_secret_id=manifest.id_of_secret(settings.id_secret),
        pageviews=pageviews,
        files={path.name: tables.digest(path) for path in files},
    )
    saved.save(directory)
    return saved


@click.command
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--verify-only", is_flag=True, help="Change nothing; compare what is there with the backup's ledger.")
def restore(directory: Path, verify_only: bool) -> None:
    """Bring the registry back from DIRECTORY, and compare the pageviews with its ledger.

    Into a new instance, after `hitline migrate` and `RESTORE DATABASE hitline FROM ...`. Exits 1 if pageviews are
    missing.
    """
    settings = _settings()
    try:
        saved = manifest.read(directory)
    except BadBackup as error:
        raise CommandError(str(error)) from None
    _compare_keys(saved, settings)
    missing = run(_restore(settings.clickhouse_url, saved, directory, verify_only))
    if missing:
        raise CommandError(f"{missing:,} pageviews of the backup's ledger are not there as they were")
    click.echo(f"all {saved.pageviews:,} pageviews of the backup are there")


def _compare_keys(saved: Manifest, settings: GatewaySettings) -> None:
    lost = set(saved.queue_key_ids) - set(manifest.ids_of_keys(settings.queue_keys))
    if lost:
        warn(f"{len(lost)} of the keys are not in HITLINE_QUEUE_KEYS: messages sealed with them can't be opened")
    if saved.id_secret_id != manifest.id_of_secret(settings.id_secret):
        warn("HITLINE_ID_SECRET is another one: what clients repeat gets other ids, and is stored again")


async def _restore(url: str, saved: Manifest, directory: Path, verify_only: bool) -> int:
    """Load the registry unless told not to; returns how many pageviews are missing or differ."""
    async with connected(url, read_s=_READ_SECONDS) as clickhouse:
        if not verify_only:
            await _check_target(clickhouse, saved)
            for table in tables.TABLES:
                click.echo(f"loading {table}")
                await tables.load(clickhouse, table, tables.file_of(directory, table))
        click.echo("counting pageviews")
        differences = await ledger.compare(clickhouse, directory / _LEDGER)
    for difference in differences[:_SHOWN]:
        month = f"{difference.month // 100:04}-{difference.month % 100:02}"
        click.echo(f"site {difference.site_id}, {month}: {difference.before:,} pageviews then, {difference.now:,} now")
    if len(differences) > _SHOWN:
        click.echo(f"... and {len(differences) - _SHOWN:,} more")
    return sum(max(1, difference.before - difference.now) for difference in differences)


async def _check_target(clickhouse: ClickHouse, saved: Manifest) -> None:
    applied = {number: checksum for number, (_, checksum) in (await migrations.applied(clickhouse)).items()}
    if applied != saved.migrations:
        newest = max(saved.migrations)
        raise CommandError(
            f"the tables are not those of the backup (up to migration {newest:04}): run `hitline migrate` of the"
            " version that made the backup, restore, and upgrade then"
        )
    for table in tables.TABLES:
        if await tables.count(clickhouse, table):
            raise CommandError(f"hitline_control.{table} is not empty: a backup is restored into a new instance only")
