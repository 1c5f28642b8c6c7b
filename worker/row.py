"""What is stored of a pageview, with everything that the steps added, and the conversion of many rows to columns.

The parts of a row are shared between rows (each comes from a cache), so a row costs one small tuple, and columns are
made of many rows by transposing tuples, which Python does in C.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
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
    """What is stored of a pageview, and its site.  The visitor's address is not in it.

    Tens of thousands of rows wait while others are inserted, and what their small objects leave scattered in Python's
    allocator stays resident.  So a row is one tuple that holds no more than its columns need, and what many rows have
    is one object.
    """

    site: Site
    location: Location
    agent: Agent
    referrer: Referrer
    source: Source
    page: Page
    language: str
    visitor: Visitor
    hostname: str
    timestamp_ms: int
    received_ms: int
    #: Ids are integers, as the client's serialiser takes them.
    session_id: int
    page_id: int
    client_id: int
    screen_width: int
    screen_height: int
    viewport_width: int
    viewport_height: int


def make_row(
    pageview: QueuedPageview,
    site: Site,
    location: Location,
    agent: Agent,
    referrer: Referrer,
    source: Source,
    page: Page,
    language: str,
    visitor: Visitor,
) -> Row:
    """Return the row of a pageview and of what the steps added to it."""
    client_id, received_ms, hostname, _, at_ms, _, _, _, session_id, page_id, _, _, wide, high, in_w, in_h, _ = pageview
    parts = (
        site, location, agent, referrer, source, page, language, visitor, _same(hostname), at_ms, received_ms,
        _number(session_id), _number(page_id), _client_number(client_id), wide, high, in_w, in_h,
    )  # fmt: skip
    return _new(Row, parts)


# Found in fewer steps than by their full names, for every row.
_new: Final = tuple.__new__  # half the cost of `Row(...)`, which takes them as arguments first
_number: Final = int.from_bytes
#: Returns the same object each time: few clients send all pageviews.
_client_number = lru_cache(maxsize=1_024)(int.from_bytes)
#: Returns one object for equal hostnames.  Not `intern`: Python 3.12.0 to 3.12.6 never forget an interned text.
_same = lru_cache(maxsize=4_096)(str)

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
    columns = {
        **row,  # as they are: hostname, language, and all ids but the site's
        **_transpose(row["page"]),
        **_transpose(row["referrer"]),
        **_transpose(row["source"]),
        **_transpose(row["agent"]),
        **_transpose(row["location"]),
        **_transpose(row["visitor"]),
        "site_id": _repeated_uuids([site.site_id for site in row["site"]]),
        "timestamp": _within(row["timestamp_ms"], _EARLIEST_MS, _LATEST_MS),
        "received_at": _within(row["received_ms"], _EARLIEST_MS, _LATEST_MS),
        "screen_width": _within(row["screen_width"], 0, _LARGEST_SIZE),
        "screen_height": _within(row["screen_height"], 0, _LARGEST_SIZE),
        "viewport_width": _within(row["viewport_width"], 0, _LARGEST_SIZE),
        "viewport_height": _within(row["viewport_height"], 0, _LARGEST_SIZE),
        "batch_id": _repeated_uuids(batch_ids),
        "position": positions,
    }
    return [columns[name] for name in COLUMNS]


def _transpose(records: Sequence[Any]) -> dict[str, Column]:
    """Return a column for each field of these named tuples, all of one type."""
    return dict(zip(records[0]._fields, zip(*records, strict=True), strict=True))


def _repeated_uuids(ids: Sequence[bytes]) -> Column:
    known = {id: int.from_bytes(id) for id in set(ids)}
    return [known[id] for id in ids]


def _within(numbers: Sequence[int], low: int, high: int) -> Column:
    if min(numbers) >= low and max(numbers) <= high:
        return numbers
    return [min(max(number, low), high) for number in numbers]
