"""Which rows are looked for, in groups that each read only the days of their rows, and what was stored since.

One statement for all would read the whole time between the oldest and the newest row; and what a bloom filter sorts out
for one id, it does not for thousands.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

from worker.delivery import ProcessedMessage
from worker.store.batch import PositionedRow

_DAY_MS: Final = 86_400_000
#: With more groups than this, those of a month are one: a decade has 3,650 days and 120 months.
_MOST_BY_DAY: Final = 64


class SoughtPageview(NamedTuple):
    """A pageview that may be stored."""

    batch_id: bytes
    timestamp_ms: int
    #: When the gateway received it, in seconds or a little before; 0 if unknown.
    received_s: int


@dataclass
class SoughtGroup:
    """Pageviews that one statement looks for."""

    batch_ids: set[bytes] = field(default_factory=set)
    days: set[int] = field(default_factory=set)
    first_ms: int = 2**63
    last_ms: int = 0
    received_s: int = 2**63

    def add(self, other: SoughtGroup) -> None:
        """Add all pageviews of another group."""
        self.batch_ids |= other.batch_ids
        self.days |= other.days
        self.first_ms = min(self.first_ms, other.first_ms)
        self.last_ms = max(self.last_ms, other.last_ms)
        self.received_s = min(self.received_s, other.received_s)

    @property
    def external(self) -> bytes:
        """The batch ids as lines."""
        return "\n".join(str(uuid.UUID(bytes=each)) for each in sorted(self.batch_ids)).encode()


def of_messages(messages: Iterable[ProcessedMessage]) -> Iterable[SoughtPageview]:
    """Yield all pageviews of messages, also what would be dropped now: an earlier delivery may have stored it."""
    for message in messages:
        if message.headers is not None and message.times:
            received_s = min(outcome.minute for outcome in message.outcomes.values())
            batch_id = message.headers.batch_id.bytes
            for time_ms in message.times:
                yield SoughtPageview(batch_id, time_ms, received_s)


def of_rows(rows: Sequence[PositionedRow]) -> Iterable[SoughtPageview]:
    """Yield the pageviews of rows."""
    for row, batch_id, _ in rows:
        yield SoughtPageview(batch_id, row.timestamp_ms, row.received_ms // 1000)


def groups(pageviews: Iterable[SoughtPageview]) -> list[SoughtGroup]:
    """Group pageviews by the day of their time and the day on which they were received, or by those days' months."""
    by_day: defaultdict[tuple[int, int], SoughtGroup] = defaultdict(SoughtGroup)
    for batch_id, time_ms, received_s in pageviews:
        day = time_ms // _DAY_MS
        group = by_day[day, received_s // 86_400]
        group.batch_ids.add(batch_id)
        group.days.add(day)
        group.first_ms = min(group.first_ms, time_ms)
        group.last_ms = max(group.last_ms, time_ms)
        group.received_s = min(group.received_s, received_s)
    if len(by_day) <= _MOST_BY_DAY:
        return list(by_day.values())
    merged = _merge(by_day, lambda day, received: (_month(day), received))
    if len(merged) > _MOST_BY_DAY:
        merged = _merge(by_day, lambda day, received: (_month(day), _month(received)))
    return merged


def _merge(by_day: dict[tuple[int, int], SoughtGroup], key: Callable[[int, int], tuple[int, int]]) -> list[SoughtGroup]:
    merged: defaultdict[tuple[int, int], SoughtGroup] = defaultdict(SoughtGroup)
    for (day, received), group in by_day.items():
        merged[key(day, received)].add(group)
    return list(merged.values())


def as_date(day: int) -> date:
    """Return the date of a day since the epoch."""
    return datetime.fromtimestamp(day * 86_400, UTC).date()


def _month(day: int) -> int:
    found = as_date(day)
    return found.year * 12 + found.month
