"""Which sites `hitline report` is about: by name or id, in force or removed, or all that have pageviews."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from deploy.cli.sites import StoredSite, canonical, stored_sites
from deploy.cli.support import CommandError, warn
from deploy.rollups.visitors import NIL
from shared.clickhouse import ClickHouse
from shared.clickhouse_errors import failure_of
from shared.registry import Site, store

#: The SQL of a table of all sites, with the names and time zones that they have now.
_REGISTERED: Final = (
    "(SELECT site_id, argMax(sites.name, version) AS name, argMax(sites.timezone, version) AS timezone"
    " FROM hitline_control.sites GROUP BY site_id)"
)


class Asked(NamedTuple):
    """A site to report."""

    site_id: UUID
    name: str
    zone: str


class Stored(NamedTuple):
    """A site that has pageviews: about how many in the period and in the one before, and if sessions are derived."""

    site: Asked
    pageviews: int
    derives: bool


async def named(clickhouse: ClickHouse, name: str) -> Asked:
    """Return the site in force, else the newest that was removed; raises `CommandError` if there never was one."""
    try:
        site = await _registered(clickhouse, name)
    except Exception as error:
        failure = failure_of(error)
        if failure is None or not failure.denied:
            raise
        return await _copied(clickhouse, name)
    return Asked(UUID(bytes=site.site_id), site.name, site.timezone or "UTC")


async def every(clickhouse: ClickHouse, before: date, first: date, last: date) -> list[Stored]:
    """Return the sites with pageviews from about `first` to about `last`, in ClickHouse's order of their ids.

    `before`: the first day of the period before.  Names and zones are those of the registry; for a user who may not
    read that, those that rollups know.
    """
    given = {"before": before - timedelta(1), "from": first - timedelta(1), "to": last + timedelta(2)}
    try:
        found = await clickhouse.query(_every(_REGISTERED), given)
    except Exception as error:
        failure = failure_of(error)
        if failure is None or not failure.denied:
            raise
        found = await clickhouse.query(_every("hitline.sites"), given)
    return [
        Stored(Asked(site_id, name, zone or "UTC"), pageviews, derives)
        for site_id, name, zone, pageviews, derives in found.result_rows
    ]


def _every(known: str) -> str:
    """Return the query for the sites that have pageviews; `known`: the SQL of a table of names and time zones."""
    return f"""
        SELECT site_id, name, timezone, pageviews, derives
        FROM
        (
            SELECT site_id, toInt64(count()) AS pageviews, max(visitor_id != {NIL}) AS derives
            FROM hitline.pageviews_raw
            WHERE timestamp >= toDateTime64({{before:Date}}, 3, 'UTC')
              AND timestamp < toDateTime64({{to:Date}}, 3, 'UTC')
            GROUP BY site_id HAVING countIf(timestamp >= toDateTime64({{from:Date}}, 3, 'UTC')) > 0
        ) AS stored
        INNER JOIN {known} AS known USING (site_id)
        ORDER BY site_id"""  # noqa: S608 - constants


async def _registered(clickhouse: ClickHouse, name: str) -> Site:
    """Return the site by the registry; one in force that has it as a hostname comes before those that were removed."""
    if claiming := await store.sites_named(clickhouse, [canonical(name)]):
        having_name = [site for site in claiming if site.name == canonical(name)]
        site = (having_name or claiming)[0]
        found = await stored_sites(clickhouse, name) if having_name else []
    else:
        found = await stored_sites(clickhouse, name)
        site = found[0].site
    await _warn_of_others(clickhouse, name, [each for each in found if each.site.site_id != site.site_id])
    return site


async def _warn_of_others(clickhouse: ClickHouse, name: str, others: list[StoredSite]) -> None:
    """Warn of removed sites of this name whose pageviews the report leaves out."""
    removed = [str(UUID(bytes=each.site.site_id)) for each in others if each.removed]
    if not removed:
        return
    stored = await clickhouse.query(
        "SELECT DISTINCT toString(site_id) FROM hitline.pageviews_raw WHERE site_id IN {sites:Array(UUID)} ORDER BY 1",
        {"sites": removed},
    )
    if ids := [row[0] for row in stored.result_rows]:
        warn(
            f"pageviews of {len(ids)} older, removed sites named {name} are left out; report them by id:"
            f" {', '.join(ids)}"
        )


async def _copied(clickhouse: ClickHouse, name: str) -> Asked:
    """Return the newest from the copy that rollups keep: analysts can read that, but not the registry."""
    known = await clickhouse.query(
        "SELECT site_id, name, timezone FROM hitline.sites_raw FINAL WHERE name = {name:String}"
        " OR has(hostnames, {name:String}) OR toString(site_id) = {name:String}"
        " ORDER BY name = {name:String} DESC, version DESC, site_id LIMIT 1",
        {"name": name.lower()},
    )
    if not known.result_rows:
        raise CommandError(
            f"there is no site {name} that this user may see; a new one shows after the next `hitline rollup`"
        )
    return Asked(*known.result_rows[0])
