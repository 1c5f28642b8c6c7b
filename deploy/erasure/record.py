"""The record of erasures: what was asked when, since when it is unreadable, since when it is off the disk.

The conditions of a request are in it only until its pageviews are unreadable; times, number and reference stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from deploy.erasure.conditions import Erasure
from shared.clickhouse import ClickHouse

_TYPES: Final = {
    "erasure_id": "UUID",
    "kind": "Enum8('request' = 0, 'retention' = 1)",
    "reference": "String",
    "sites": "Array(UUID)",
    "session_id": "Nullable(UUID)",
    "path": "String",
    "paths": "Array(String)",
    "prefixes": "Array(String)",
    "time_from": "Nullable(DateTime64(3, 'UTC'))",
    "time_to": "Nullable(DateTime64(3, 'UTC'))",
    "pageviews": "UInt64",
    "done": "Bool",
    "requested_at": "Nullable(DateTime64(3, 'UTC'))",
    "unreadable_at": "Nullable(DateTime64(3, 'UTC'))",
    "gone_at": "Nullable(DateTime64(3, 'UTC'))",
    "noted_at": "DateTime64(6, 'UTC')",
}
#: A version that is later than the one before also where the clock was set back.
_CLOCK: Final = (
    "SELECT now64(3, 'UTC'), greatest(now64(6, 'UTC'), max(noted_at) + toIntervalMicrosecond(1))"
    " FROM hitline_control.erasures WHERE erasure_id = {erasure:UUID}"
)
_ENTRIES: Final = (
    "SELECT erasure_id, kind, reference, pageviews, done, coalesce(requested_at, toDateTime64(noted_at, 3, 'UTC')),"
    " if(done AND requested_at IS NULL, toDateTime64(noted_at, 3, 'UTC'), unreadable_at),"
    " if(done AND requested_at IS NULL, toDateTime64(noted_at, 3, 'UTC'), gone_at)"
    " FROM hitline_control.erasures FINAL"
)
_WAITING: Final = "WHERE gone_at IS NULL AND (NOT done OR requested_at IS NOT NULL)"


@dataclass(frozen=True, slots=True)
class Entry:
    """One erasure, without its conditions.  A time is None until it is so far; all are ClickHouse's clock, in UTC."""

    erasure_id: UUID
    kind: str
    reference: str
    pageviews: int
    done: bool
    requested_at: datetime
    unreadable_at: datetime | None = None
    gone_at: datetime | None = None


async def begin(clickhouse: ClickHouse, erasure: Erasure, reference: str, pageviews: int) -> Entry:
    """Record a request with its conditions; one that was begun before keeps its time and reference."""
    erasure_id = erasure.erasure_id or uuid4()
    known = await entries(clickhouse, "WHERE erasure_id = {erasure:UUID}", {"erasure": str(erasure_id)})
    if known:
        before = known[0]
        entry = Entry(
            erasure_id, "request", before.reference, max(pageviews, before.pageviews), False, before.requested_at
        )
    else:
        entry = Entry(erasure_id, "request", reference, pageviews, False, await _now(clickhouse))
    conditions = {
        "sites": list(erasure.sites or ()),
        "session_id": erasure.session_id,
        "path": erasure.path or "",
        "paths": erasure.paths,
        "prefixes": erasure.prefixes,
        "time_from": erasure.time_from,
        "time_to": erasure.time_to,
    }
    await _write(clickhouse, entry, conditions)
    return entry


async def unreadable(clickhouse: ClickHouse, entry: Entry) -> Entry:
    """Record that no reader finds the pageviews any more, without the conditions."""
    now = await _now(clickhouse)
    entry = Entry(entry.erasure_id, entry.kind, entry.reference, entry.pageviews, True, entry.requested_at, now)
    await _write(clickhouse, entry)
    await clickhouse.command("OPTIMIZE TABLE hitline_control.erasures FINAL")  # conditions are not kept
    return entry


async def retained(clickhouse: ClickHouse, reference: str, pageviews: int, requested_at: datetime) -> None:
    """Record what a run of retention has made unreadable."""
    entry = Entry(uuid4(), "retention", reference, pageviews, True, requested_at, await _now(clickhouse))
    await _write(clickhouse, entry)


async def gone(clickhouse: ClickHouse, before: datetime) -> list[Entry]:
    """Record that what was unreadable `before` is off the disk; returns those erasures."""
    waiting = [
        entry
        for entry in await entries(clickhouse, f"{_WAITING} AND done")
        if entry.unreadable_at is not None and entry.unreadable_at < before
    ]
    for entry in waiting:
        await _write(clickhouse, entry, {"gone_at": await _now(clickhouse)})
    return waiting


async def entries(clickhouse: ClickHouse, where: str = "", parameters: dict[str, Any] | None = None) -> list[Entry]:
    """Return the record, the latest request first."""
    found = await clickhouse.query(f"{_ENTRIES} {where} ORDER BY 6 DESC", parameters)
    return [Entry(*row) for row in found.result_rows]


async def waiting_s(clickhouse: ClickHouse) -> float:
    """Return for how long the oldest erasure has been waiting to be off the disk, in seconds; 0 if none is."""
    now = await _now(clickhouse)
    waiting = [entry.requested_at for entry in await entries(clickhouse, _WAITING)]
    return max(0.0, (now - min(waiting)).total_seconds()) if waiting else 0.0


async def unfinished(clickhouse: ClickHouse) -> list[Erasure]:
    """Return the erasures that were begun and whose pageviews may still be readable."""
    found = await clickhouse.query(
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
        for sites, session, path, start, end, erasure_id in found.result_rows
    ]


async def _now(clickhouse: ClickHouse) -> datetime:
    now: datetime = (await clickhouse.query("SELECT now64(3, 'UTC')")).result_rows[0][0]
    return now


async def _write(clickhouse: ClickHouse, entry: Entry, more: dict[str, Any] | None = None) -> None:
    clock = await clickhouse.query(_CLOCK, {"erasure": str(entry.erasure_id)})
    row = (
        {name: getattr(entry, name) for name in Entry.__slots__} | {"noted_at": clock.result_rows[0][1]} | (more or {})
    )
    names = [name for name in _TYPES if name in row]
    await clickhouse.insert(
        "hitline_control.erasures",
        names,
        [[row[name] for name in names]],
        token=f"{entry.erasure_id} {row['noted_at']}",
        column_type_names=[_TYPES[name] for name in names],
    )
