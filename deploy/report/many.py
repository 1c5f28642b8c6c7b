"""Reports of any number of sites: small ones together, since a site by itself takes a dozen statements.

Sites that are counted together lie side by side in `pageviews_raw`, so that each of its rows is read for few of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, NamedTuple
from uuid import UUID

from deploy.report import exact_rows
from deploy.report.answers import ALL, OF_BEFORE, counted
from deploy.report.collect import collect
from deploy.report.figures import Period, Report
from shared.clickhouse import ClickHouse

#: Pageviews, in the period and the one before, up to which exact rows take no longer than rollups do for a site.
_SMALL: Final = 20_000
#: What is counted together at most: of sites, whose reports are kept until they are shown, and of pageviews.
_SITES: Final = 1_000
_PAGEVIEWS: Final = 1_000_000


class Site(NamedTuple):
    """A site to report; `pageviews`: about how many it has in the period and in the one before."""

    site_id: UUID
    name: str
    period: Period
    pageviews: int


async def collect_many(
    clickhouse: ClickHouse, sites: Iterable[Site], *, with_bots: bool, top: int
) -> AsyncIterator[Report]:
    """Yield the report of each, those of a time zone together; `with_bots` and `top` as for `collect`.

    `sites`: in the order in which ClickHouse sorts their ids.
    """
    for group in groups(sites):
        if len(group) > 1:
            for report in await _together(clickhouse, group, with_bots=with_bots, top=top):
                yield report
        else:
            [site] = group
            yield await collect(clickhouse, site.name, site.site_id, site.period, with_bots=with_bots, top=top)


def groups(sites: Iterable[Site]) -> Iterator[Sequence[Site]]:
    """Yield sites of one period that are counted together; a large one by itself."""
    by_zone = sorted(sites, key=lambda site: site.period.zone)
    for _, some in groupby(by_zone, lambda site: site.period):
        group: list[Site] = []
        pageviews = 0
        for site in some:
            if site.pageviews > _SMALL:
                yield [site]
                continue
            if len(group) == _SITES or pageviews + site.pageviews > _PAGEVIEWS:
                yield group
                group, pageviews = [], 0
            group.append(site)
            pageviews += site.pageviews
        if group:
            yield group


async def _together(clickhouse: ClickHouse, sites: Sequence[Site], *, with_bots: bool, top: int) -> Iterator[Report]:
    ids = [site.site_id for site in sites]
    period, before = sites[0].period, sites[0].period.before()
    now = await exact_rows.count(clickhouse, ids, period, ALL, top, with_bots=with_bots)
    earlier = await exact_rows.count(clickhouse, ids, before, OF_BEFORE, top, with_bots=with_bots)
    made_at = datetime.now(UTC)
    return (
        Report(
            site.name,
            period,
            with_bots,
            made_at,
            counted(period, now.get(site.site_id, ())),
            counted(before, earlier.get(site.site_id, ())),
        )
        for site in sites
    )
