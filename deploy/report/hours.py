"""Hours of Unix time as a condition on `timestamp`, which ClickHouse finds by the sort key."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

#: Spans of hours that a statement names.
_MOST_SPANS: Final = 64


def within(hours: Sequence[int]) -> str:
    """Return the condition that a timestamp is in these hours; many spans are joined where gaps are small."""
    gaps = sorted((after - before for before, after in pairwise(hours)), reverse=True)
    widest = gaps[_MOST_SPANS] if len(gaps) > _MOST_SPANS else 1
    spans: list[list[int]] = []
    for hour in hours:
        if spans and hour - spans[-1][1] <= widest:
            spans[-1][1] = hour
        else:
            spans.append([hour, hour])
    moment = "fromUnixTimestamp64Milli(toInt64({}), 'UTC')"
    return " OR ".join(
        f"timestamp >= {moment.format(first * 3_600_000)} AND timestamp < {moment.format((last + 1) * 3_600_000)}"
        for first, last in spans
    )
