"""Erasing pageviews on request: by site, session, path or time, from the stored rows and from all rollups.

The sessions that an erasure affects are recorded before the first row is deleted, so that it is not lost if the process
dies: `hitline rollup` then recomputes them every time, and `hitline erase --resume` completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from deploy.bounds import WRITES
from deploy.erasure import record
from deploy.erasure.conditions import GIVEN, IDENTITY, Erasure
from deploy.erasure.deletes import delete_in, partitions, shares_of
from deploy.rollups import touched, visitors
from deploy.rollups.forget import forget_replaced
from deploy.rollups.lease import Lease
from deploy.rollups.progress import moments
from deploy.rollups.settle import finish_begun, settle
from shared.clickhouse import ClickHouse

#: How often deleting is repeated for rows that arrived meanwhile.
_ROUNDS: Final = 5
#: By the pageview, since a client may give all its visitors one session.
_SHARE: Final = "cityHash64(page_id) % {shares:UInt32} = {share:UInt32}"
#: A later state of a pageview has a larger one, as in the view `pageviews`: parts are numbered in the order of inserts.
_PLACE: Final = "(toUInt64(splitByChar('_', _part)[2]), _part_offset)"


class NotErased(Exception):
    """Something has not been erased; the message says what and how to go on."""


class Extent(NamedTuple):
    """How much there is to erase: pageviews, days of sites (in UTC) and sites.

    `altered`: pageviews of which an older state does not match, so that it would become visible; `rows`: those that
    match.
    """

    pageviews: int
    site_days: int
    sites: int
    altered: int
    rows: int


async def look(clickhouse: ClickHouse, erasure: Erasure) -> Extent:
    """Return how much there is to erase."""
    where, given = erasure.condition(GIVEN)

    async def ask(sql: str, **more: int) -> tuple[int, ...]:
        found = await clickhouse.query(sql, {**given, **more}, WRITES, erasure.external())
        return tuple(found.result_rows[0])

    rows, days, sites = await ask(
        "SELECT sum(number), count(), uniqExact(site_id) FROM (SELECT site_id, count() AS number"  # noqa: S608
        f" FROM hitline.pageviews_raw WHERE {where} GROUP BY site_id, toDate(timestamp))"
    )
    shares = shares_of(rows)
    states = (
        f"{_states(where)} HAVING matches"
        if erasure.path
        else f"SELECT true AS all_match FROM hitline.pageviews_raw WHERE {where} AND {_SHARE} GROUP BY {IDENTITY}"  # noqa: S608
    )
    count = f"SELECT count(), countIf(NOT all_match) FROM ({states})"  # noqa: S608
    counts = [await ask(count, share=share, shares=shares) for share in range(shares)]
    return Extent(sum(number for number, _ in counts), days, sites, sum(altered for _, altered in counts), rows)


def _states(where: str, more: str = "1") -> str:
    """Return the query for one share of the pageviews with a matching row: whether the last one matches, and all.

    Only the path can differ between the states of a pageview.  `more`: a further condition on its rows.
    """
    matching = f"SELECT {IDENTITY} FROM hitline.pageviews_raw WHERE {where} AND {_SHARE} AND {more}"  # noqa: S608
    return (
        f"SELECT {IDENTITY}, argMax({where}, {_PLACE}) AS matches, min({where}) AS all_match"  # noqa: S608
        f" FROM hitline.pageviews_raw WHERE ({IDENTITY}) IN ({matching}) AND {more} GROUP BY {IDENTITY}"
    )


async def erase(
    clickhouse: ClickHouse, erasure: Erasure, reference: str = "", say: Callable[[str], None] = lambda _: None
) -> record.Entry:
    """Make pageviews unreadable, correct the rollups of the affected sessions, and verify; returns the record's entry.

    `say` is told how far it is.  Raises `NotErased` if something is left, for example because pageviews keep arriving.
    """
    extent = await look(clickhouse, erasure)
    entry = await record.begin(clickhouse, erasure, reference, extent.pageviews)
    erasure = replace(erasure, erasure_id=entry.erasure_id)
    where, given = erasure.condition()
    # Deletes that an interrupted run has sent may still be under way: those partitions are done again.
    begun = await _begun(clickhouse, given)
    altered = extent.altered > 0
    for _ in range(_ROUNDS):
        found = await partitions(clickhouse, "pageviews_raw", where, given)
        altered = altered or sum(found.values()) != extent.rows
        for partition in sorted({*found, *begun}):
            await _erase_in(clickhouse, erasure, partition, found.get(partition, 0), altered=altered)
        begun, altered = set(), True  # nobody has looked at what has arrived since
        if not found:
            break
        say(f"{extent.pageviews} pageviews are in no answer any more; correcting rollups")
    else:
        raise NotErased("pageviews that arrived meanwhile are left: run `hitline erase --resume`")
    await _correct_rollups(clickhouse, erasure)
    await _verify(clickhouse, erasure)
    entry = await record.unreadable(clickhouse, entry)
    await _forget_lists(clickhouse, given)
    return entry


async def _begun(clickhouse: ClickHouse, given: Mapping[str, Any]) -> set[str]:
    found = await clickhouse.query(
        "SELECT DISTINCT toString(toYYYYMM(day)) FROM hitline_control.erased_sessions"
        " WHERE erasure_id = {erasure:UUID}",
        given,
    )
    return {partition for (partition,) in found.result_rows}


async def _erase_in(clickhouse: ClickHouse, erasure: Erasure, partition: str, rows: int, *, altered: bool) -> None:
    """Record the affected sessions of one partition, and mark its rows; `altered`: some may have other states."""
    where, given = erasure.condition()
    given = {**given, "partition": partition}
    await clickhouse.command(
        "INSERT INTO hitline_control.erased_sessions SELECT {erasure:UUID}, site_id, toDate(timestamp) AS day,"  # noqa: S608
        f" session_id FROM hitline.pageviews_raw WHERE _partition_id = {{partition:String}} AND {where}"
        " GROUP BY site_id, day, session_id",
        given,
        WRITES,
    )
    assert erasure.erasure_id is not None  # noqa: S101 - `erase` has set it
    await visitors.record_erased(clickhouse, erasure.erasure_id)
    if erasure.path:
        if altered:
            await _find_older_states(clickhouse, where, given, shares_of(rows))
        # Found beforehand: the view changes while parts are marked one after the other.
        where = (
            f"({where}) OR ({IDENTITY}) IN"  # noqa: S608
            f" (SELECT {IDENTITY} FROM hitline_control.erased_pageviews WHERE erasure_id = {{erasure:UUID}})"
        )
    await delete_in(clickhouse, "pageviews_raw", partition, where, given)


async def _find_older_states(clickhouse: ClickHouse, where: str, given: Mapping[str, Any], shares: int) -> None:
    """Record pageviews with older rows that the condition does not match: they would become visible."""
    for share in range(shares):
        await clickhouse.command(
            f"INSERT INTO hitline_control.erased_pageviews SELECT {{erasure:UUID}}, {IDENTITY} FROM"  # noqa: S608
            f" ({_states(where, '_partition_id = {partition:String}')} HAVING matches AND NOT all_match)",
            {**given, "share": share, "shares": shares},
            WRITES,
        )


async def _correct_rollups(clickhouse: ClickHouse, erasure: Erasure) -> None:
    """Remove the erased pageviews from the rollups, replaced rows of these included, and verify."""
    assert erasure.erasure_id is not None  # noqa: S101 - `erase` has set it
    scope = touched.erased(erasure.erasure_id)
    async with Lease(clickhouse) as lease:
        await finish_begun(clickhouse)
        computed = (await moments(clickhouse)).before
        await settle(clickhouse, lease, scope)
        await forget_replaced(clickhouse, erasure.erasure_id)
        again = await settle(clickhouse, lease, scope, counted_to=computed)
    if again.drifted:
        raise NotErased(f"rollups of {again.drifted} sessions differ from the pageviews: run `hitline erase --resume`")


async def _verify(clickhouse: ClickHouse, erasure: Erasure) -> None:
    """Raise `NotErased` if any row is left, replaced ones included."""
    where, given = erasure.condition()
    if left := sum((await partitions(clickhouse, "pageviews_raw", where, given)).values()):
        raise NotErased(f"{left} rows are left: run `hitline erase --resume`")


async def _forget_lists(clickhouse: ClickHouse, given: Mapping[str, Any]) -> None:
    """Delete the lists of affected pageviews and sessions from the disk."""
    for table in ("erased_pageviews", "erased_sessions"):
        await clickhouse.command(
            f"ALTER TABLE hitline_control.{table} DELETE WHERE erasure_id = {{erasure:UUID}}",
            {"erasure": given["erasure"]},
            {"mutations_sync": 2},
        )
