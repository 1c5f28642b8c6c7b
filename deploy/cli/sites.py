"""Sites as commands name them where stored pageviews are meant: removed ones as well, or by id."""

from __future__ import annotations

from uuid import UUID

from deploy.cli.support import CommandError
from deploy.control import Site
from shared.clickhouse import ClickHouse
from shared.hostnames import BadHostname, normalise


async def stored_site(clickhouse: ClickHouse, name: str) -> Site:
    """Return the site with this name or id, the one in force before one that was removed.

    Raises `CommandError` where there never was one.
    """
    try:
        site_id, host = str(UUID(name)), ""
    except ValueError:
        site_id, host = str(UUID(int=0)), _normal(name)
    result = await clickhouse.query(
        "SELECT site_id, name, hostnames, timezone, retention_days, created_at FROM"
        " (SELECT * FROM hitline_control.sites ORDER BY version DESC LIMIT 1 BY site_id)"
        " WHERE name = {host:String} OR site_id = {site_id:UUID} ORDER BY removed, created_at DESC LIMIT 1",
        {"host": host, "site_id": site_id},
    )
    if not result.result_rows:
        raise CommandError(f"there is no site {name}: see `hitline site list`")
    row = result.result_rows[0]
    return Site(row[0], row[1], tuple(row[2]), row[3], row[4], row[5])


def _normal(name: str) -> str:
    try:
        return normalise(name)
    except BadHostname:
        return name
