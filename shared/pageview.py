"""The stages of a pageview, one frozen type each; nothing mutates a record.

    request (gateway/validate.py) → QueuedPageview → Row (worker/row.py)

They are named tuples, which cost a fifth of a frozen dataclass: one is created for every pageview.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack

#: Version of `QueuedPageview`'s wire format that gateways write.  Workers read it and `OLDEST_SCHEMA_VERSION`, so that
#: they can be upgraded first, and leave newer ones to newer workers.  Version 2 added `has_session`.
SCHEMA_VERSION = 2
OLDEST_SCHEMA_VERSION = 1

#: Number of fields by version; each version appends some.
_FIELDS = {1: 16, 2: 17}

#: Characters of a URL that gateways pass on: 8 KiB, which usual servers take and of which less is stored, behind the
#: longest authority.
LONGEST_URL = 10_240
#: The same of other texts: more than is stored (see `worker/lengths.py`), since workers count what they cut.
LONGEST_REFERRER = 4_096
LONGEST_AGENT = 2_048
LONGEST_LANGUAGE = 512

#: The permission that an API client needs on a site to post its pageviews.
MANAGE_DATA = "site.manage_data"


class QueuedPageview(NamedTuple):
    """A validated pageview as it travels, sealed, through the queue.

    Times are milliseconds since the epoch in UTC, ids are 16 bytes, absent strings are empty and absent sizes 0.
    """

    client_id: bytes
    received_ms: int
    hostname: str  # normalised, see shared/hostnames.py
    url: str
    timestamp_ms: int
    visitor_ip: str  # in canonical form; no step after the worker's geo look-up sees it
    user_agent: str
    dnt: bool
    session_id: bytes
    page_id: bytes
    referrer: str
    language: str
    screen_width: int
    screen_height: int
    viewport_width: int
    viewport_height: int
    #: False: the client sent no `session_id`, and the gateway made up this one.
    has_session: bool = True


FIELD_TYPES: tuple[type, ...] = (
    bytes, int, str, str, int, str, str, bool, bytes, bytes, str, str, int, int, int, int,
    bool,
)  # fmt: skip


class Unparseable(ValueError):
    """A message body or a pageview in it does not follow its schema version; the message says what is wrong."""


_packer = msgpack.Packer(autoreset=True)


def pack(pageview: QueuedPageview) -> bytes:
    """Return one pageview in wire format."""
    packed: bytes = _packer.pack(pageview)
    return packed


def pack_item(item: Any) -> bytes:
    """Return one item of `unpack` in wire format, whether well-formed or not."""
    packed: bytes = _packer.pack(item)
    return packed


def join(packed: Sequence[bytes]) -> bytes:
    """Return the message body that carries these packed pageviews."""
    head: bytes = _packer.pack_array_header(len(packed))
    return head + b"".join(packed)


def unpack(body: bytes) -> tuple[Any, ...]:
    """Split a message body into its pageviews' raw fields, for `parse` to check.

    Raises `Unparseable` if the body is not a single msgpack array.
    """
    try:
        items = msgpack.unpackb(body, use_list=False)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise Unparseable(f"body is not msgpack: {type(error).__name__}") from None
    if type(items) is not tuple:
        raise Unparseable("body is not an array of pageviews")
    return items


def to_item(pageview: QueuedPageview, schema: int = SCHEMA_VERSION) -> tuple[Any, ...]:
    """Return the pageview's fields as a message of that schema version has them, for `pack_item`."""
    return pageview[: _FIELDS[schema]]


def parse(item: Any, schema: int = SCHEMA_VERSION) -> QueuedPageview:
    """Check the shape of one unpacked pageview of a message of that schema version.

    Raises `Unparseable` naming the field that is wrong.
    """
    if type(item) is not tuple or len(item) != _FIELDS[schema]:
        raise Unparseable("pageview does not have the fields of this schema version")
    if schema == 1:  # it did not say, and sessions were never derived
        item = (*item, True)
    if tuple(map(type, item)) != FIELD_TYPES:
        raise Unparseable(_wrong_field(item))
    pageview = tuple.__new__(QueuedPageview, item)  # twice as fast as `_make`, which checks the length again
    if not len(pageview.client_id) == len(pageview.session_id) == len(pageview.page_id) == 16:
        raise Unparseable("an id does not have 16 bytes")
    return pageview


def _wrong_field(item: tuple[Any, ...]) -> str:
    for name, kind, value in zip(QueuedPageview._fields, FIELD_TYPES, item, strict=True):
        if type(value) is not kind:
            return f"{name} is not of type {kind.__name__}"
    return "unknown field"
