"""Erasing pageviews for good: by site, session, path or time, from the stored rows and from all rollups.

What an erasure touches is written down before the first row goes, so that one whose process died is not forgotten:
`hitline rollup` computes its days anew every time, and `hitline erase --resume` brings it to its end.
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

#: How often rows are deleted that arrived while others were.
_ROUNDS: Final = 5
_IDENTITY: Final = "site_id, timestamp, session_id, page_id"


class NotErased(Exception):
    """Something is still there; the text says what."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What to erase: pageviews that fulfil everything that is given; at least one thing is.

    `path` may end with `*`: whatever begins so.  `time_from` is included, `time_to` is not.  None is what isn't given;
    what is given and empty is refused, as it would widen what goes.
    """

    sites: tuple[UUID, ...] | None = None
    session_id: UUID | None = None
    path: str | None = None
    time_from: datetime | None = None
    time_to: datetime | None = None
    erasure_id: UUID | None = None
    site_days: tuple[tuple[UUID, date], ...] = ()

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return the condition on `pageviews_raw` and its parameters; raises `ValueError` for empty things."""
        if self.sites == () or self.path in ("", "*"):
            raise ValueError("an erasure of no site or of an empty path")
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
            raise ValueError("an erasure needs a site, a session, a path or a time")
        return " AND ".join(given), dict(given.values())


async def look(clickhouse: ClickHouse, erasure: Erasure) -> tuple[int, list[Days]]:
    """Return how many pageviews there are to erase, and the days that they lie in."""
    where, parameters = erasure.condition()
    count = await clickhouse.query(f"SELECT count() FROM hitline.pageviews WHERE {where}", parameters)  # noqa: S608
    return count.result_rows[0][0], await days.of_pageviews(clickhouse, where, parameters)


async def erase(clickhouse: ClickHouse, erasure: Erasure) -> int:
    """Erase, compute the rollups of the days anew, verify; returns the number of pageviews.

    Raises `NotErased` where something is left: pageviews that keep arriving, say.
    """
    count, found = await look(clickhouse, erasure)
    touched = {site_day for group in found for site_day in group.pageviews} | set(erasure.site_days)
    erasure = replace(erasure, erasure_id=erasure.erasure_id or uuid4(), site_days=tuple(sorted(touched)))
    await _note(clickhouse, erasure, count, done=False)
    for _ in range(_ROUNDS):
        await _find_older_states(clickhouse, erasure)
        await _delete(clickhouse, erasure)
        # What was stored meanwhile lies in days of its own.
        left, found = await look(clickhouse, erasure)
        touched |= {site_day for group in found for site_day in group.pageviews}
        if not left:
            break
    else:
        raise NotErased(f"{left} pageviews arrived meanwhile and are left: run `hitline erase --resume`")
    groups = await days.by_zone(clickhouse, sorted(touched))
    computed = await run.nothing_before(clickhouse)
    versions = [await run.recompute(clickhouse, group) for group in groups]
    oldest = min((version for version in versions if version is not None), default=0)
    await run.forget_older(clickhouse, sorted(touched), oldest)
    await _verify(clickhouse, erasure)
    for group in groups:
        if differing := await run.differing(clickhouse, group, oldest, computed):
            raise NotErased(f"rollups of {differing} days differ from the pageviews: run `hitline erase --resume`")
    await _note(clickhouse, Erasure(erasure_id=erasure.erasure_id), count, done=True)
    return count


async def unfinished(clickhouse: ClickHouse) -> list[Erasure]:
    """Return the erasures that were begun and not brought to their end."""
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
    """Note the pageviews of which rows are stored that the condition does not hold for: only the path may differ."""
    if not erasure.path:
        return
    where, parameters = erasure.condition()
    await clickhouse.command(
        f"INSERT INTO hitline_control.erased_pageviews SELECT {{erasure:UUID}}, {_IDENTITY} FROM hitline.pageviews"  # noqa: S608
        f" WHERE {where} AND ({_IDENTITY}) IN (SELECT {_IDENTITY} FROM hitline.pageviews_raw WHERE NOT ({where}))",
        {**parameters, "erasure": str(erasure.erasure_id)},
    )


async def _delete(clickhouse: ClickHouse, erasure: Erasure) -> None:
    """Rewrite the parts that hold such rows without them; returns once that is done on every replica."""
    where, parameters = erasure.condition()
    if erasure.path:
        # A list that was made before: while parts are rewritten, one after the other, the pageviews change.
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
    """See that no row is left, replaced ones included."""
    where, parameters = erasure.condition()
    left = await clickhouse.query(f"SELECT count() FROM hitline.pageviews_raw WHERE {where}", parameters)  # noqa: S608
    if left.result_rows[0][0]:
        raise NotErased(f"{left.result_rows[0][0]} rows are left: run `hitline erase --resume`")


async def _note(clickhouse: ClickHouse, erasure: Erasure, count: int, *, done: bool) -> None:
    """Write down what is under way; once it is done, nothing of what was asked for is kept."""
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
    if done:  # the rows with what was asked for go at once
        await clickhouse.command(
            "ALTER TABLE hitline_control.erased_pageviews DELETE WHERE erasure_id = {erasure:UUID}",
            {"erasure": str(erasure.erasure_id)},
            {"mutations_sync": 2},
        )
        await clickhouse.command("OPTIMIZE TABLE hitline_control.erasures FINAL")
