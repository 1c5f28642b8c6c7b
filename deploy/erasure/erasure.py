"""Erasing pageviews for good: by site, session, path or time, from the stored rows and from all rollups.

The sessions that an erasure affects are recorded before the first row is deleted, so that it is not lost if the process
dies: `hitline rollup` then recomputes them every time, and `hitline erase --resume` completes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from deploy.rollups import touched
from deploy.rollups.forget import forget_replaced
from deploy.rollups.lease import Lease
from deploy.rollups.run import nothing_before
from deploy.rollups.settle import finish_begun, settle
from shared.clickhouse import ClickHouse
from worker.lookups.escapes import decoded
from worker.lookups.paths import canonical

#: How often deleting is repeated for rows that arrived meanwhile.
_ROUNDS: Final = 5
_IDENTITY: Final = "site_id, timestamp, session_id, page_id"


class NotErased(Exception):
    """Something has not been erased; the message says what and how to go on."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What to erase: pageviews that match all conditions given; at least one must be.

    `path` may end with `*` to match a prefix; it is looked up in its canonical form and as given, since rows from
    before paths were canonical have theirs as sent.  `time_from` is inclusive, `time_to` exclusive.  A condition that
    is None is not given; an empty one is refused, since it would erase more than intended.
    """

    sites: tuple[UUID, ...] | None = None
    session_id: UUID | None = None
    path: str | None = None
    time_from: datetime | None = None
    time_to: datetime | None = None
    erasure_id: UUID | None = None

    def condition(self) -> tuple[str, dict[str, Any]]:
        """Return the condition on `pageviews_raw` and its parameters; raises `ValueError` for empty conditions."""
        if self.sites == () or self.path in ("", "*"):
            raise ValueError("an erasure of no site, or of an empty path, would erase more than intended")
        begins = self.path is not None and self.path.endswith("*")
        parts = {
            "site_id IN {sites:Array(UUID)}": ("sites", self.sites and [str(site) for site in self.sites]),
            "session_id = {session:UUID}": ("session", self.session_id and str(self.session_id)),
            "arrayExists(p -> startsWith(path, p), {prefixes:Array(String)})": (
                "prefixes",
                _spellings(self.path[:-1], is_prefix=True) if self.path and begins else None,
            ),
            "path IN {paths:Array(String)}": ("paths", _spellings(self.path) if self.path and not begins else None),
            "timestamp >= {from:DateTime64(3, 'UTC')}": ("from", self.time_from),
            "timestamp < {to:DateTime64(3, 'UTC')}": ("to", self.time_to),
        }
        given = {sql: pair for sql, pair in parts.items() if pair[1] is not None}
        if not given:
            raise ValueError("an erasure needs a condition: a site, a session, a path or a time")
        return " AND ".join(given), dict(given.values())


def _spellings(path: str, *, is_prefix: bool = False) -> list[str]:
    """Return a path as given, canonical and decoded; a prefix with dot segments as given: without, it is wider."""
    if is_prefix and "/." in path:
        return [path]
    form = canonical(path)
    return sorted({path, form, decoded(form)})


class Extent(NamedTuple):
    """How much there is to erase: pageviews, days of sites (in UTC) and sites."""

    pageviews: int
    site_days: int
    sites: int


async def look(clickhouse: ClickHouse, erasure: Erasure) -> Extent:
    """Return how much there is to erase."""
    where, parameters = erasure.condition()
    found = await clickhouse.query(
        "SELECT count(), uniqExact(site_id, toDate(timestamp)), uniqExact(site_id) FROM hitline.pageviews"  # noqa: S608
        f" WHERE {where}",
        parameters,
    )
    return Extent(*found.result_rows[0])


async def erase(clickhouse: ClickHouse, erasure: Erasure) -> int:
    """Erase, recompute the rollups of the affected sessions, and verify; returns the number of pageviews.

    Raises `NotErased` if something is left, for example because pageviews keep arriving.
    """
    count = (await look(clickhouse, erasure)).pageviews
    erasure = replace(erasure, erasure_id=erasure.erasure_id or uuid4())
    await _record(clickhouse, erasure, count, done=False)
    for _ in range(_ROUNDS):
        await _record_sessions(clickhouse, erasure)
        await _find_older_states(clickhouse, erasure)
        await _delete(clickhouse, erasure)
        # Pageviews stored meanwhile may belong to other sessions.
        left = (await look(clickhouse, erasure)).pageviews
        if not left:
            break
    else:
        raise NotErased(f"{left} pageviews that arrived meanwhile are left: run `hitline erase --resume`")
    await _correct_rollups(clickhouse, erasure)
    await _verify(clickhouse, erasure)
    await _record(clickhouse, Erasure(erasure_id=erasure.erasure_id), count, done=True)
    return count


async def _correct_rollups(clickhouse: ClickHouse, erasure: Erasure) -> None:
    """Remove the erased pageviews from the rollups and replaced rows from the disk, and verify."""
    assert erasure.erasure_id is not None  # noqa: S101 - `erase` has set it
    scope = touched.erased(erasure.erasure_id)
    async with Lease(clickhouse) as lease:
        await finish_begun(clickhouse)
        computed = await nothing_before(clickhouse)
        await settle(clickhouse, lease, scope)
        await forget_replaced(clickhouse, erasure.erasure_id)
        again = await settle(clickhouse, lease, scope, counted_to=computed)
    if again.drifted:
        raise NotErased(f"rollups of {again.drifted} sessions differ from the pageviews: run `hitline erase --resume`")


async def unfinished(clickhouse: ClickHouse) -> list[Erasure]:
    """Return the erasures that were started and not completed."""
    result = await clickhouse.query(
        "SELECT sites, session_id, path, time_from, time_to, erasure_id"
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
        )
        for sites, session, path, start, end, erasure_id in result.result_rows
    ]


async def _record_sessions(clickhouse: ClickHouse, erasure: Erasure) -> None:
    where, parameters = erasure.condition()
    await clickhouse.command(
        "INSERT INTO hitline_control.erased_sessions SELECT DISTINCT {erasure:UUID}, site_id, toDate(timestamp),"  # noqa: S608
        f" session_id FROM hitline.pageviews_raw WHERE {where}",
        {**parameters, "erasure": str(erasure.erasure_id)},
    )


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
        f"INSERT INTO hitline_control.erasures ({columns}) SELECT {values}",
        {name: value for name, (_, value) in given.items()},
    )
    if done:  # delete the recorded conditions at once
        for table in ("erased_pageviews", "erased_sessions"):
            await clickhouse.command(
                f"ALTER TABLE hitline_control.{table} DELETE WHERE erasure_id = {{erasure:UUID}}",
                {"erasure": str(erasure.erasure_id)},
                {"mutations_sync": 2},
            )
        await clickhouse.command("OPTIMIZE TABLE hitline_control.erasures FINAL")
