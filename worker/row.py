"""A pageview with all that was found out about it, and many of them as ClickHouse columns.

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
from worker.steps.put_page import Page
from worker.steps.put_referrer import Referrer


class Row(NamedTuple):
    """What is stored of a pageview; the visitor's address stays behind in `pageview` and is in no column."""

    pageview: QueuedPageview
    site: Site
    location: Location
    agent: Agent
    referrer: Referrer
    page: Page
    language: str


_LOW: Final = "LowCardinality(String)"
_TIME: Final = "DateTime64(3, 'UTC')"

#: Each column that is inserted, in the order of `hitline.pageviews_raw`; `stored_at` is the server's.
_COLUMNS: Final = {
    "site_id": "UUID", "hostname": _LOW, "timestamp": _TIME, "received_at": _TIME, "session_id": "UUID",
    "page_id": "UUID", "path": "String", "query": "String", "referrer": "String", "referrer_host": _LOW,
    "utm_source": _LOW, "utm_medium": _LOW, "utm_campaign": _LOW, "utm_term": _LOW, "utm_content": _LOW,
    "qr_id": "Nullable(UUID)", "user_agent": _LOW, "browser": _LOW, "browser_version": _LOW, "os": _LOW,
    "os_version": _LOW, "device": _LOW, "is_bot": "Bool", "language": _LOW, "country": _LOW, "region": _LOW,
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

    Each row comes with its place in the queue's messages: batch id (16 bytes) and position.

    In the forms that its native serialiser writes fastest: UUIDs as integers, times as ticks.  Numbers beyond a
    column's range, which no gateway lets through, are set to its nearest bound rather than fail all rows with them.
    """
    if not rows:
        return [[] for _ in COLUMNS]
    bare, batch_ids, positions = zip(*rows, strict=True)
    pageviews, sites, locations, agents, referrers, pages, languages = zip(*bare, strict=True)
    (
        client_ids, received, hostnames, _, timestamps, _, _, _, session_ids, page_ids, _, _, *sizes
    ) = zip(*pageviews, strict=True)  # fmt: skip
    *page_columns, _ = zip(*pages, strict=True)
    path, query, *parameters = page_columns
    return [
        _repeated_uuids([site.site_id for site in sites]),
        hostnames,
        _within(timestamps, _EARLIEST_MS, _LATEST_MS),
        _within(received, _EARLIEST_MS, _LATEST_MS),
        _uuids(session_ids),
        _uuids(page_ids),
        path,
        query,
        *zip(*referrers, strict=True),
        *parameters,
        *zip(*agents, strict=True),
        languages,
        *zip(*locations, strict=True),
        *(_within(column, 0, _LARGEST_SIZE) for column in sizes),
        _repeated_uuids(client_ids),
        _repeated_uuids(batch_ids),
        positions,
    ]


def _uuids(ids: Sequence[bytes]) -> Column:
    return list(map(int.from_bytes, ids))


def _repeated_uuids(ids: Sequence[bytes]) -> Column:
    known = {id: int.from_bytes(id) for id in set(ids)}
    return [known[id] for id in ids]


def _within(numbers: Sequence[int], low: int, high: int) -> Column:
    if min(numbers) >= low and max(numbers) <= high:
        return numbers
    return [min(max(number, low), high) for number in numbers]
