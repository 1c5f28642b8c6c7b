"""A pageview with everything that the steps added, and the conversion of many rows to ClickHouse columns.

The parts of a row are shared between rows (each comes from a cache), so a row costs one small tuple, and columns are
made of many rows by transposing tuples, which Python does in C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from shared.pageview import QueuedPageview
from shared.registry import Site
from worker.lookups.agents import Agent
from worker.lookups.geo_records import Location
from worker.lookups.sources import Source
from worker.steps.put_page import Page
from worker.steps.put_referrer import Referrer
from worker.steps.put_visitor import Visitor


class Row(NamedTuple):
    """A pageview and what the steps added to it.  The visitor's address stays in `pageview`: no column has it."""

    pageview: QueuedPageview
    site: Site
    location: Location
    agent: Agent
    referrer: Referrer
    source: Source
    page: Page
    language: str
    visitor: Visitor


_LOW: Final = "LowCardinality(String)"
_TIME: Final = "DateTime64(3, 'UTC')"

#: Each column that is inserted, in the order of `hitline.pageviews_raw`; the server fills in `stored_at`.
_COLUMNS: Final = {
    "site_id": "UUID", "hostname": _LOW, "timestamp": _TIME, "received_at": _TIME, "session_id": "UUID",
    "visitor_id": "UUID",
    "page_id": "UUID", "path": "String", "query": "String", "referrer": "String", "referrer_host": _LOW,
    "source": _LOW, "channel": _LOW,
    "utm_source": _LOW, "utm_medium": _LOW, "utm_campaign": _LOW, "utm_term": _LOW, "utm_content": _LOW,
    "qr_id": "Nullable(UUID)", "user_agent": _LOW, "browser": _LOW, "browser_version": _LOW, "os": _LOW,
    "os_version": _LOW, "device": _LOW, "is_bot": "Bool", "bot_kind": _LOW, "language": _LOW, "country": _LOW,
    "region": _LOW,
    "city": _LOW, "provider": _LOW, "asn": "UInt32", "asn_org": _LOW, "screen_width": "UInt16",
    "screen_height": "UInt16", "viewport_width": "UInt16", "viewport_height": "UInt16", "client_id": "UUID",
    "batch_id": "UUID", "position": "UInt16",
}  # fmt: skip

COLUMNS: Final = tuple(_COLUMNS)
COLUMN_TYPES: Final = tuple(_COLUMNS.values())

#: DateTime64's range, 1900 to 2299 (ClickHouse documentation, "DateTime64"), in milliseconds since the epoch.
_EARLIEST_MS: Final = -2_208_988_800_000
_LATEST_MS: Final = 10_413_791_999_999
_LARGEST_SIZE: Final = 65_535

Column = Sequence[Any]


def to_columns(rows: Sequence[tuple[Row, bytes, int]]) -> list[Column]:
    """Turn rows into the columns `COLUMNS`, for clickhouse-connect's `insert(..., column_oriented=True)`.

    Each row comes with its place in the queue's messages: batch id (16 bytes) and position.  What a lookup or step
    found is stored in the column that has the name of its field.

    Values have the forms that the client's native serialiser writes fastest: UUIDs as integers, times as ticks.
    Numbers beyond a column's range, which no gateway accepts, are set to its nearest bound rather than fail all rows.
    """
    if not rows:
        return [[] for _ in COLUMNS]
    bare, batch_ids, positions = zip(*rows, strict=True)
    row = _transpose(bare)
    pageview = _transpose(row["pageview"])
    columns = {
        **_transpose(row["page"]),
        **_transpose(row["referrer"]),
        **_transpose(row["source"]),
        **_transpose(row["agent"]),
        **_transpose(row["location"]),
        **_transpose(row["visitor"]),
        "language": row["language"],
        "site_id": _repeated_uuids([site.site_id for site in row["site"]]),
        "hostname": pageview["hostname"],
        "timestamp": _within(pageview["timestamp_ms"], _EARLIEST_MS, _LATEST_MS),
        "received_at": _within(pageview["received_ms"], _EARLIEST_MS, _LATEST_MS),
        "session_id": _uuids(pageview["session_id"]),
        "page_id": _uuids(pageview["page_id"]),
        "screen_width": _within(pageview["screen_width"], 0, _LARGEST_SIZE),
        "screen_height": _within(pageview["screen_height"], 0, _LARGEST_SIZE),
        "viewport_width": _within(pageview["viewport_width"], 0, _LARGEST_SIZE),
        "viewport_height": _within(pageview["viewport_height"], 0, _LARGEST_SIZE),
        "client_id": _repeated_uuids(pageview["client_id"]),
        "batch_id": _repeated_uuids(batch_ids),
        "position": positions,
    }
    return [columns[name] for name in COLUMNS]


def _transpose(records: Sequence[Any]) -> dict[str, Column]:
    """Return a column for each field of these named tuples, all of one type."""
    return dict(zip(records[0]._fields, zip(*records, strict=True), strict=True))


def _uuids(ids: Sequence[bytes]) -> Column:
    return list(map(int.from_bytes, ids))


def _repeated_uuids(ids: Sequence[bytes]) -> Column:
    known = {id: int.from_bytes(id) for id in set(ids)}
    return [known[id] for id in ids]


def _within(numbers: Sequence[int], low: int, high: int) -> Column:
    if min(numbers) >= low and max(numbers) <= high:
        return numbers
    return [min(max(number, low), high) for number in numbers]
