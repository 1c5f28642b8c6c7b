"""Quarters of an hour of Unix time as a condition on `timestamp`, which ClickHouse finds by the sort key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

#: The length of one; days of all time zones begin at one.
MS: Final = 900_000
#: Spans that a statement names.
_MOST_SPANS: Final = 64


def within(quarters: Sequence[int]) -> str:
    """Return the condition that a timestamp is in these; many spans are joined where gaps are small."""
    gaps = sorted((after - before for before, after in pairwise(quarters)), reverse=True)
    widest = gaps[_MOST_SPANS] if len(gaps) > _MOST_SPANS else 1
    spans: list[list[int]] = []
    for quarter in quarters:
        if spans and quarter - spans[-1][1] <= widest:
            spans[-1][1] = quarter
        else:
            spans.append([quarter, quarter])
    moment = "fromUnixTimestamp64Milli(toInt64({}), 'UTC')"
    return " OR ".join(
        f"timestamp >= {moment.format(first * MS)} AND timestamp < {moment.format((last + 1) * MS)}"
        for first, last in spans
    )


def between(start: datetime, end: datetime) -> Iterator[int]:
    """Yield those that lie in a span of time, with a part at least."""
    first, last = (round(1000 * moment.timestamp()) for moment in (start, end))
    yield from range(first // MS, (last - 1) // MS + 1)
