"""Sites as commands name them where stored pageviews are meant: removed ones as well, or by id."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from deploy.cli.support import CommandError
from deploy.control import Site
from shared.clickhouse import ClickHouse
from shared.hostnames import BadHostname, normalise


@dataclass(frozen=True, slots=True)
class StoredSite:
    """A site of which pageviews may be stored; a removed one takes no more."""

    site: Site
    removed: bool


async def stored_sites(clickhouse: ClickHouse, name: str) -> list[StoredSite]:
    """Return all sites that have or had this name or id: those in force first, then the newest removed one first.

    Raises `CommandError` where there never was one.
    """
    try:
        site_id, host = str(UUID(name)), ""
    except ValueError:
        site_id, host = str(UUID(int=0)), normal(name)
    result = await clickhouse.query(
        "SELECT site_id, name, hostnames, timezone, retention_days, created_at, removed FROM"
        " (SELECT * FROM hitline_control.sites ORDER BY version DESC LIMIT 1 BY site_id)"
        " WHERE name = {host:String} OR site_id = {site_id:UUID} ORDER BY removed, created_at DESC, site_id",
        {"host": host, "site_id": site_id},
    )
    if not result.result_rows:
        raise CommandError(f"there is no site {name}: see `hitline site list`")
    return [
        StoredSite(Site(row[0], row[1], tuple(row[2]), row[3], row[4], row[5]), row[6]) for row in result.result_rows
    ]


def normal(name: str) -> str:
    """Return a hostname in the form that sites are stored with, anything else as it is."""
    try:
        return normalise(name)
    except BadHostname:
        return name
