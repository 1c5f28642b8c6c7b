"""Erasing pageviews for good: by site, session, path or time, from the stored rows and from all rollups.

What an erasure affects is recorded before the first row is deleted, so that it is not lost if the process dies:
`hitline rollup` then recomputes its days every time, and `hitline erase --resume` completes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from deploy.rollups import days, run
from deploy.rollups.days import Days
from deploy.rollups.sql import pairs
from shared.clickhouse import ClickHouse

#: How often deleting is repeated for rows that arrived meanwhile.
_ROUNDS: Final = 5
_IDENTITY: Final = "site_id, timestamp, session_id, page_id"


class NotErased(Exception):
    """Something has not been erased; the message says what and how to go on."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What to erase: pageviews that match all conditions given; at least one must be.

    `path` may end with `*` to match a prefix.  `time_from` is inclusive, `time_to` exclusive.  A condition that is None
    is not given; an empty one is refused, since it would erase more than intended.
    """

    sites: tuple[UUID, ...] | None = None
    session_id: UUID | None = None
    path: str | None = None
    time_from: datetime | None = None
    time_to: datetime | None = None
    erasure_id: UUID | None = None
    site_days: tuple[tuple[UUID, date], ...] = ()

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return the condition on `pageviews_raw` and its parameters; raises `ValueError` for empty conditions."""
        if self.sites == () or self.path in ("", "*"):
            raise ValueError("an erasure of no site, or of an empty path, would erase more than intended")
        begins = self.path is not None and self.path.endswith("*")
        parts = {
            "site_id IN {sites:Array(UUID)}": ("sites", self.sites and [str(site) for site in self.sites]),
            "session_id = {session:UUID}": ("session", self.session_id and str(self.session_id)),
            "startsWith(path, {prefix:String})": ("prefix", self.path[:-1] if self.path and begins else None),
            "path = {path:String}": ("path", None if begins else self.path),
            "timestamp >= {from:DateTime64(3, 'UTC')}": ("from", self.time_from),
            "timestamp < {to:DateTime64(3, 'UTC')}": ("to", self.time_to),
        }
        given = {sql: pair for sql, pair in parts.items() if pair[1] is not None}
        if not given:
            raise ValueError("an erasure needs a condition: a site, a session, a path or a time")
        return " AND ".join(given), dict(given.values())


async def look(clickhouse: ClickHouse, erasure: Erasure) -> tuple[int, list[Days]]:
    """Return how many pageviews would be erased, and the days that they are on."""
    where, parameters = erasure.condition()
    count = await clickhouse.query(f"SELECT count() FROM hitline.pageviews WHERE {where}", parameters)  # noqa: S608
    return count.result_rows[0][0], await days.of_pageviews(clickhouse, where, parameters)


async def erase(clickhouse: ClickHouse, erasure: Erasure) -> int:
    """Erase, recompute the rollups of the affected days, and verify; returns the number of pageviews.

    Raises `NotErased` if something is left, for example because pageviews keep arriving.
    """
    count, found = await look(clickhouse, erasure)
    touched = {site_day for group in found for site_day in group.pageviews} | set(erasure.site_days)
    erasure = replace(erasure, erasure_id=erasure.erasure_id or uuid4(), site_days=tuple(sorted(touched)))
    await _record(clickhouse, erasure, count, done=False)
    for _ in range(_ROUNDS):
        await _find_older_states(clickhouse, erasure)
        await _delete(clickhouse, erasure)
        # Pageviews stored meanwhile may be on other days.
        left, found = await look(clickhouse, erasure)
        touched |= {site_day for group in found for site_day in group.pageviews}
        if not left:
            break
    else:
        raise NotErased(f"{left} pageviews that arrived meanwhile are left: run `hitline erase --resume`")
    groups = await days.by_zone(clickhouse, sorted(touched))
    computed = await run.nothing_before(clickhouse)
    versions = [await run.recompute(clickhouse, group) for group in groups]
    oldest = min((version for version in versions if version is not None), default=0)
    await run.forget_older(clickhouse, sorted(touched), oldest)
    await _verify(clickhouse, erasure)
    for group in groups:
        if differing := await run.differing(clickhouse, group, oldest, computed):
            raise NotErased(f"rollups of {differing} days differ from the pageviews: run `hitline erase --resume`")
    await _record(clickhouse, Erasure(erasure_id=erasure.erasure_id), count, done=True)
    return count


async def unfinished(clickhouse: ClickHouse) -> list[Erasure]:
    """Return the erasures that were started and not completed."""
    result = await clickhouse.query(
        "SELECT sites, session_id, path, time_from, time_to, erasure_id, days.site_id, days.day"
        " FROM hitline_control.erasures FINAL WHERE NOT done ORDER BY noted_at"
    )
    return [
        Erasure(
            tuple(sites) or None,  # the table has no NULL for these two
            session,
            None if path in ("", "*") else path,
            start,
            end,
            erasure_id,
            tuple(zip(site_ids, dates, strict=True)),
        )
        for sites, session, path, start, end, erasure_id, site_ids, dates in result.result_rows
    ]


async def _find_older_states(clickhouse: ClickHouse, erasure: Erasure) -> None:
    """Record pageviews with older rows that the condition does not match; only the path can differ between them."""
    if not erasure.path:
        return
    where, parameters = erasure.condition()
    await clickhouse.command(
        f"INSERT INTO hitline_control.erased_pageviews SELECT {{erasure:UUID}}, {_IDENTITY} FROM hitline.pageviews"  # noqa: S608
        f" WHERE {where} AND ({_IDENTITY}) IN (SELECT {_IDENTITY} FROM hitline.pageviews_raw WHERE NOT ({where}))",
        {**parameters, "erasure": str(erasure.erasure_id)},
    )


async def _delete(clickhouse: ClickHouse, erasure: Erasure) -> None:
    """Rewrite parts without the matching rows; returns once that is done on every replica."""
    where, parameters = erasure.condition()
    if erasure.path:
        # Recorded beforehand: the view changes while parts are rewritten one after the other.
        where += (
            f" OR ({_IDENTITY}) IN"  # noqa: S608
            f" (SELECT {_IDENTITY} FROM hitline_control.erased_pageviews WHERE erasure_id = {{erasure:UUID}})"
        )
    await clickhouse.command(
        f"ALTER TABLE hitline.pageviews_raw DELETE WHERE {where}",
        {**parameters, "erasure": str(erasure.erasure_id)},
        {"mutations_sync": 2, "allow_nondeterministic_mutations": 1},
    )


async def _verify(clickhouse: ClickHouse, erasure: Erasure) -> None:
    """Raise `NotErased` if any row is left, replaced ones included."""
    where, parameters = erasure.condition()
    left = await clickhouse.query(f"SELECT count() FROM hitline.pageviews_raw WHERE {where}", parameters)  # noqa: S608
    if left.result_rows[0][0]:
        raise NotErased(f"{left.result_rows[0][0]} rows are left: run `hitline erase --resume`")


async def _record(clickhouse: ClickHouse, erasure: Erasure, count: int, *, done: bool) -> None:
    """Record the erasure; once it is done, none of its conditions are kept."""
    given = {
        "erasure_id": ("UUID", str(erasure.erasure_id)),
        "sites": ("Array(UUID)", [str(site) for site in erasure.sites or ()]),
        "session_id": ("Nullable(UUID)", erasure.session_id and str(erasure.session_id)),
        "path": ("String", erasure.path or ""),
        "time_from": ("Nullable(DateTime64(3, 'UTC'))", erasure.time_from),
        "time_to": ("Nullable(DateTime64(3, 'UTC'))", erasure.time_to),
        "pageviews": ("UInt64", count),
        "done": ("Bool", done),
    }
    columns = ", ".join(given)
    values = ", ".join(f"{{{name}:{kind}}}" for name, (kind, _) in given.items())
    await clickhouse.command(
        f"INSERT INTO hitline_control.erasures ({columns}, days) SELECT {values}, {pairs(erasure.site_days)}",
        {name: value for name, (_, value) in given.items()},
    )
    if done:  # delete the recorded conditions at once
        await clickhouse.command(
            "ALTER TABLE hitline_control.erased_pageviews DELETE WHERE erasure_id = {erasure:UUID}",
            {"erasure": str(erasure.erasure_id)},
            {"mutations_sync": 2},
        )
        await clickhouse.command("OPTIMIZE TABLE hitline_control.erasures FINAL")
