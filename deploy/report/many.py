"""Reports of any number of sites: small ones together, since a site by itself takes a dozen statements.

Those of a time zone that are counted together lie near each other in `pageviews_raw`, so that a row is read for few
groups.  A site that derives sessions is by itself: to derive them takes all of its history, unless rollups are read.
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
#: What is counted together at most: sites, pageviews, and of what a statement answers lines of a ranking and days.
_SITES: Final = 1_000
_PAGEVIEWS: Final = 1_000_000
_LINES: Final = 10_000
_DAYS: Final = 100_000


class Site(NamedTuple):
    """A site to report; `pageviews`: about how many it has in the period and in the one before.

    `derives`: some of these have no session of their own.
    """

    site_id: UUID
    name: str
    period: Period
    pageviews: int
    derives: bool


async def collect_many(
    clickhouse: ClickHouse, sites: Iterable[Site], *, with_bots: bool, top: int
) -> AsyncIterator[tuple[Site, Report]]:
    """Yield each with its report, those of a time zone together; `with_bots` and `top` as for `collect`.

    `sites`: in the order in which ClickHouse sorts their ids.
    """
    for group in groups(sites, top):
        if len(group) > 1:
            for site, report in await _together(clickhouse, group, with_bots=with_bots, top=top):
                yield site, report
        else:
            [site] = group
            yield site, await collect(clickhouse, site.name, site.site_id, site.period, with_bots=with_bots, top=top)


def groups(sites: Iterable[Site], top: int) -> Iterator[Sequence[Site]]:
    """Yield sites of one period that are counted together; a large one, and one that derives sessions, by itself."""
    by_zone = sorted(sites, key=lambda site: site.period.zone)
    for period, some in groupby(by_zone, lambda site: site.period):
        most = min(_SITES, max(1, _LINES // top), max(1, _DAYS // period.days))
        group: list[Site] = []
        pageviews = 0
        for site in some:
            if site.pageviews > _SMALL or site.derives:
                yield [site]
                continue
            if group and (len(group) == most or pageviews + site.pageviews > _PAGEVIEWS):
                yield group
                group, pageviews = [], 0
            group.append(site)
            pageviews += site.pageviews
        if group:
            yield group


async def _together(
    clickhouse: ClickHouse, sites: Sequence[Site], *, with_bots: bool, top: int
) -> Iterator[tuple[Site, Report]]:
    ids = [site.site_id for site in sites]
    period, before = sites[0].period, sites[0].period.before()
    now = await exact_rows.count(clickhouse, ids, period, ALL, top, with_bots=with_bots, derived=False)
    earlier = await exact_rows.count(clickhouse, ids, before, OF_BEFORE, top, with_bots=with_bots, derived=False)
    made_at = datetime.now(UTC)
    return (
        (
            site,
            Report(
                site.name,
                period,
                with_bots,
                made_at,
                counted(period, now.get(site.site_id, ())),
                counted(before, earlier.get(site.site_id, ())),
            ),
        )
        for site in sites
    )
