"""Which rows are old: those go in inserts of their own, beside today's.

ClickHouse writes a part for each month of an insert, each with its own fsync: a pageview a month since 1990 is hundreds
of them, which nobody else's pageviews should wait for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from worker.delivery import ProcessedMessage

_DAY_MS: Final = 86_400_000
#: Rows whose time is further back than this are old.
OLD_MS: Final = 31 * _DAY_MS
#: Workers' clocks differ by less: what is younger than this is in no insert of old rows, whoever made it.
SURELY_RECENT_MS: Final = OLD_MS - _DAY_MS


def now_ms() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def has_old(message: ProcessedMessage, boundary_ms: int) -> bool:
    """Return whether any row of the message is from before the boundary."""
    if message.times and min(message.times) >= boundary_ms:  # of all of its pageviews, also those without a row
        return False
    return any(row.timestamp_ms < boundary_ms for row in message.rows.values())


def only(message: ProcessedMessage, wanted: Callable[[int], bool]) -> ProcessedMessage:
    """Return the message with only those rows to insert whose time is wanted; all outcomes stay."""
    rows = {position: row for position, row in message.rows.items() if wanted(row.timestamp_ms)}
    return replace(message, rows=rows)
