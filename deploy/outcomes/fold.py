"""Folding the outcomes of whole months, once none of their messages can return.

Folding days inserts their sums together with a marker for each message, which replaces the message's row: readers see
the old rows or the new ones, never both and never neither, and a process may die anywhere, since what is left to do
shows in the table.  Markers win over whatever a worker writes later.  When a month is folded it becomes one part, in
which nothing stands behind a marker any more, and the markers are deleted.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

from deploy.bounds import MEMORY
from deploy.outcomes import statements
from deploy.rollups.lease import Lease
from shared.clickhouse import ClickHouse

#: A message can't return after this many days on which workers counted others: not from the queue, whose messages come
#: in order, and not from a worker, which the broker allows half an hour.
KEEP_DAYS: Final = 35
#: Messages that one statement folds: what bounds its memory.
SHARE = 500_000
#: As far back as days are counted; an instance that had fewer than `KEEP_DAYS` of them since has little to fold.
_LOOK_BACK: Final = timedelta(days=1_000)
#: ClickHouse orders UUIDs by their second half, which in those that gateways make begins with the bits 10.
_FIRST, _AFTER_LAST, _HALF = 0x8000, 0xC000, (1 << 64) - 1
#: One block, so one part, which is seen as a whole or not at all.
_ONE_BLOCK: Final = {"min_insert_block_size_rows": 1 << 40, "min_insert_block_size_bytes": 0, "max_insert_threads": 1}
_SETTINGS: Final = {
    **_ONE_BLOCK,
    "async_insert": 0,
    "insert_deduplicate": 0,  # what was lost with a server is inserted again, whatever it remembers of it
    "insert_quorum": "auto",
    "do_not_merge_across_partitions_select_final": 1,
    **MEMORY,
}


@dataclass(frozen=True, slots=True)
class Folded:
    """What a run did: so many messages of so many days are sums now."""

    messages: int = 0
    days: int = 0

    def __add__(self, other: Folded) -> Folded:
        """Add up months."""
        return Folded(self.messages + other.messages, self.days + other.days)


@dataclass(frozen=True, slots=True)
class _Horizon:
    """Messages of days before `before` are due if they were last counted before the version `counted`."""

    before: date
    counted: int


class _Share(NamedTuple):
    """What one statement folds: messages of some days of a month, by their batch ids in ClickHouse's order."""

    first_day: date
    last_day: date
    first: uuid.UUID
    last: uuid.UUID


async def fold(clickhouse: ClickHouse, now: datetime | None = None) -> Folded:
    """Fold what is due: whole months, `KEEP_DAYS` after their last day.

    `now`: this machine's time; of it and ClickHouse's the earlier counts, so that one clock that is ahead folds nothing
    too early.  Raises what `shared.clickhouse.failure_of` classifies, and `LeaseLost`.
    """
    horizon = await _horizon(clickhouse, now or datetime.now(UTC))
    months = await _months(clickhouse, horizon) if horizon else []
    total = Folded()
    if horizon and months:
        async with Lease(clickhouse, "hitline_control.fold_lease", statements.INTO) as lease:
            await clickhouse.catch_up("hitline.outcomes_raw")
            for month in months:
                total += await _fold_month(clickhouse, lease, horizon, month)
                await _unmark(clickhouse, month)
    return total


async def _horizon(clickhouse: ClickHouse, now: datetime) -> _Horizon | None:
    """Return what is due by both clocks and by the days that were counted since; None if that is nothing."""
    server: datetime = (await clickhouse.query("SELECT now64(6, 'UTC')")).result_rows[0][0]
    now = min(now, server)
    past = now - timedelta(days=KEEP_DAYS)
    horizon = _Horizon(past.date().replace(day=1), int(past.timestamp() * 1_000_000))
    if not await _months(clickhouse, horizon):
        return None
    # Workers may have stood still since: then their messages are still to be delivered again.
    given = {"after": past.date() - _LOOK_BACK, "today": now.date(), "days": KEEP_DAYS}
    days = (await clickhouse.query(statements.DAYS, given)).result_rows
    if len(days) < KEEP_DAYS:
        return None
    return replace(horizon, before=min(horizon.before, days[-1][0].replace(day=1)))


async def _months(clickhouse: ClickHouse, horizon: _Horizon) -> list[int]:
    given = {"before": horizon.before, "counted": horizon.counted}
    found = await clickhouse.query(statements.MONTHS, given)
    return [month for month, messages, markers in found.result_rows if messages or markers]


async def _fold_month(clickhouse: ClickHouse, lease: Lease, horizon: _Horizon, month: int) -> Folded:
    found = await clickhouse.query(statements.DUE, {"month": month, "counted": horizon.counted})
    due: list[tuple[date, int]] = [(day, messages) for day, messages in found.result_rows]
    for share in _shares(due):
        await _fold(clickhouse, lease, horizon, share)
    return Folded(sum(messages for _, messages in due), len(due))


def _shares(messages_by_day: Sequence[tuple[date, int]]) -> Iterator[_Share]:
    """Yield shares of about `SHARE` messages at most: some days, or a part of one that has more."""
    days: list[date] = []
    number = 0
    for day, messages in messages_by_day:
        if days and number + messages > SHARE:
            yield from _of_days(days, number)
            days, number = [], 0
        days.append(day)
        number += messages
    if days:
        yield from _of_days(days, number)


def _of_days(days: Sequence[date], messages: int) -> Iterator[_Share]:
    parts = -(-messages // SHARE)
    width = _AFTER_LAST - _FIRST
    ends = [_FIRST + width * part // parts << 48 for part in range(1, parts)]
    firsts, lasts = [0, *ends], [*(end - 1 for end in ends), _HALF]
    for first, last in zip(firsts, lasts, strict=True):
        yield _Share(days[0], days[-1], uuid.UUID(int=first), uuid.UUID(int=_HALF << 64 | last))


async def _fold(clickhouse: ClickHouse, lease: Lease, horizon: _Horizon, share: _Share) -> None:
    number = lease.next_number()
    held, given = lease.held
    parameters: dict[str, Any] = {
        **given,
        "first_day": share.first_day,
        "last_day": share.last_day,
        "first": str(share.first),
        "last": str(share.last),
        "counted": horizon.counted,
        "version": statements.FOLDED + number,
        "id": str(uuid.uuid4()),
    }
    await clickhouse.command(statements.fold(held), parameters, _SETTINGS)


async def _unmark(clickhouse: ClickHouse, month: int) -> None:
    """Delete a month's markers, unless something stands behind one: then the next run tries again."""
    await clickhouse.command(statements.merge(month), settings={"optimize_throw_if_noop": 1})
    given = {"month": month}
    rows, version = (await clickhouse.query(statements.ROWS, given)).result_rows[0]
    keys = (await clickhouse.query(statements.KEYS, given)).result_rows[0][0]
    if rows == keys:
        await clickhouse.command(statements.UNMARK, {**given, "version": version}, {"mutations_sync": 2})
