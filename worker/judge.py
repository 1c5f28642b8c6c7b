"""From a delivered message to what is to become of each of its pageviews."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from shared import dead_letters
from shared.message import MAX_PAGEVIEWS, Headers, open_body, read_headers
from shared.outcomes import Outcome
from shared.pageview import QueuedPageview, Unparseable, parse, unpack
from shared.seal import Opener, Unopenable
from worker.drop import Drop
from worker.pipeline import Steps, process
from worker.row import Row

#: Stands for "no site" in `outcomes`.
NIL: Final = bytes(16)
#: What ClickHouse's DateTime can hold, 1970 to 2106, in milliseconds: outcomes are counted by it.
_LATEST_MS: Final = 4_294_967_295_000
#: Failures of this machine rather than of a pageview: a full disk, a registry file that can't be read.
_OURS: Final = (sqlite3.Error, OSError, MemoryError)


class NotNow(Exception):
    """The message can't be judged at present, through no fault of its own; nothing was made of it."""


class Poison(NamedTuple):
    """A pageview, or where `position` is None a whole message, that can't be processed, and why."""

    position: int | None
    item: Any
    reason: str
    #: Already allowed by the `PoisonGuard`.
    admitted: bool = False


class End(NamedTuple):
    """What became of one pageview, as `outcomes` counts it."""

    minute: int  # seconds since the epoch
    site_id: bytes
    client_id: bytes
    outcome: Outcome


class Opened(NamedTuple):
    """A message whose seal was right; its items are yet to be judged."""

    message: Any
    headers: Headers
    items: tuple[Any, ...]
    #: Bytes of the body, opened.
    size: int


@dataclass(slots=True)
class Judged:
    """A message with a verdict on each of its pageviews; `rows` and `ends` go by position in the message."""

    message: Any
    #: None for a message that can't be opened.
    headers: Headers | None
    rows: dict[int, Row] = field(default_factory=dict)
    ends: dict[int, End] = field(default_factory=dict)
    poison: list[Poison] = field(default_factory=list)
    #: Bytes that it takes in memory, about: those of its body, opened where it can be.
    size: int = 0
    #: Span of the pageviews' times, in milliseconds: where in ClickHouse to look for them.
    span: tuple[int, int] | None = None

    @property
    def seen_before(self) -> bool:
        """True when some of it may be stored or counted already, and must be looked up."""
        if self.message.redelivered or (self.headers is not None and self.headers.repeated):
            return True
        return bool(self.message.headers and self.message.headers.get(dead_letters.REPLAYED))

    @property
    def poisoned(self) -> int:
        """How many pageviews are poison: of a message that can't be opened, all that its headers tell of."""
        return len(self.ends) if self.headers is None else len(self.poison)

    def counts(self) -> Counter[End]:
        """Return how many pageviews came to which end."""
        return Counter(self.ends.values())


def accepted_at(message: Any) -> datetime:
    """Return the publisher's clock as the broker passes it on; 1970 where it says nothing that can be counted by."""
    told: datetime | None = message.timestamp
    return told if told is not None and 0 <= told.timestamp() * 1000 <= _LATEST_MS else datetime.fromtimestamp(0, UTC)


def open_message(message: Any, opener: Opener) -> Opened | Judged:
    """Open a message, or judge it whole as poison where it can't be; raises nothing."""
    try:
        headers = read_headers(message)
        body = open_body(message, headers, opener)
        items = unpack(body)
        if len(items) != headers.pageviews:
            raise Unparseable(f"{len(items)} pageviews instead of {headers.pageviews}")
    except (Unopenable, Unparseable) as error:
        return _set_aside_whole(message, str(error))
    return Opened(message, headers, items, len(body))


def judge(opened: Opened, steps: Steps) -> Judged:
    """Take each pageview through the pipeline; what can't be parsed is poison by itself.  Raises `NotNow`."""
    judged = Judged(opened.message, opened.headers, size=opened.size)
    times = []
    for position, item in enumerate(opened.items, opened.headers.first_position):
        try:
            pageview = _parse(item)
        except Unparseable as error:
            _set_aside(judged, position, item, str(error))
            continue
        times.append(pageview.timestamp_ms)
        _judge_one(judged, position, pageview, steps)
    if times:
        judged.span = (min(times), max(times))
    return judged


def _parse(item: Any) -> QueuedPageview:
    pageview = parse(item)
    if not 0 <= pageview.received_ms <= _LATEST_MS:
        raise Unparseable("received_ms is beyond any clock")
    if not 0 <= pageview.timestamp_ms <= _LATEST_MS:  # the gateway takes 1990 to tomorrow
        raise Unparseable("timestamp_ms is out of range")
    return pageview


def _judge_one(judged: Judged, position: int, pageview: QueuedPageview, steps: Steps) -> None:
    minute = pageview.received_ms // 60_000 * 60
    try:
        result = process(pageview, steps)
    except _OURS as error:
        raise NotNow(type(error).__name__) from error
    except Exception as error:  # noqa: BLE001 - a defect of ours must not hold up the rest
        _set_aside(judged, position, tuple(pageview), f"pipeline failed: {type(error).__name__}")
        return
    if isinstance(result, Drop):
        judged.ends[position] = End(minute, result.site_id or NIL, pageview.client_id, result.reason)
    else:
        judged.rows[position] = result
        judged.ends[position] = End(minute, result.site.site_id, pageview.client_id, Outcome.STORED)


def _set_aside(judged: Judged, position: int, item: Any, reason: str) -> None:
    judged.poison.append(Poison(position, item, reason))
    judged.ends[position] = End(*_owner(item), Outcome.DEAD_LETTERED)


def _set_aside_whole(message: Any, reason: str) -> Judged:
    """Make poison of a whole message; how many pageviews were in it is what its headers say."""
    count = message.headers.get("pageviews") if message.headers else None
    minute = int(accepted_at(message).timestamp()) // 60 * 60
    end = End(minute, NIL, NIL, Outcome.DEAD_LETTERED)
    judged = Judged(message, None, poison=[Poison(None, None, reason)], size=len(message.body))
    judged.ends = dict.fromkeys(range(count), end) if type(count) is int and 0 < count <= MAX_PAGEVIEWS else {0: end}
    return judged


def _owner(item: Any) -> tuple[int, bytes, bytes]:
    """Tell minute, site and client of a pageview as far as it can be read."""
    client_id, received_ms = item[:2] if type(item) is tuple and len(item) >= 2 else (NIL, 0)
    if type(client_id) is not bytes or len(client_id) != 16:
        client_id = NIL
    if type(received_ms) is not int or not 0 <= received_ms <= _LATEST_MS:
        received_ms = 0
    return received_ms // 60_000 * 60, NIL, client_id
