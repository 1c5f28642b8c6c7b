"""Quarters of an hour of Unix time as a condition on `timestamp`, which ClickHouse finds by the sort key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

#: The length of one; days of all time zones begin at one.
MS: Final = 900_000
#: The external table of them: there may be any number, as of the midnights of years.
QUARTERS: Final = "quarters"
#: That a timestamp is in these.
WITHIN: Final = f"toStartOfFifteenMinutes(timestamp) IN (SELECT toDateTime({MS // 1000} * key, 'UTC') FROM {QUARTERS})"  # noqa: S608


def between(start: datetime, end: datetime) -> Iterator[int]:
    """Yield those that lie in a span of time, with a part at least."""
    first, last = (round(1000 * moment.timestamp()) for moment in (start, end))
    yield from range(first // MS, (last - 1) // MS + 1)
