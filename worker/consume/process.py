"""From a delivered message to what is to become of each of its pageviews."""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple

from shared.message import MAX_PAGEVIEWS, Headers, open_body, read_headers
from shared.outcomes import Outcome
from shared.pageview import QueuedPageview, Unparseable, parse, unpack
from shared.seal import Opener, Unopenable
from worker.delivery import LATEST_MS, NIL, PageviewOutcome, Poison, ProcessedMessage, accepted_at
from worker.drop import Drop
from worker.pipeline import Steps, process

#: Failures of this machine rather than of a pageview: a full disk, a registry file that can't be read.
_OURS: Final = (sqlite3.Error, OSError, MemoryError)


class CannotProcessNow(Exception):
    """The message can't be processed at present, through no fault of its own; nothing was made of it."""


class OpenedMessage(NamedTuple):
    """A message whose seal was right; its items are yet to be processed."""

    message: Any
    headers: Headers
    items: tuple[Any, ...]
    #: Bytes of the body, opened.
    size: int


def open_message(message: Any, opener: Opener) -> OpenedMessage | ProcessedMessage:
    """Open a message, or judge it whole as poison where it can't be; raises nothing."""
    try:
        headers = read_headers(message)
        body = open_body(message, headers, opener)
        items = unpack(body)
        if len(items) != headers.pageviews:
            raise Unparseable(f"{len(items)} pageviews instead of {headers.pageviews}")
    except (Unopenable, Unparseable) as error:
        return _set_aside_whole(message, str(error))
    return OpenedMessage(message, headers, items, len(body))


def judge(opened: OpenedMessage, steps: Steps) -> ProcessedMessage:
    """Take each pageview through the pipeline; what can't be parsed is poison by itself.  Raises `CannotProcessNow`."""
    processed = ProcessedMessage(opened.message, opened.headers, size=opened.size)
    times = []
    for position, item in enumerate(opened.items, opened.headers.first_position):
        try:
            pageview = _parse(item)
        except Unparseable as error:
            _set_aside(processed, position, item, str(error))
            continue
        times.append(pageview.timestamp_ms)
        _judge_one(processed, position, pageview, steps)
    if times:
        processed.span = (min(times), max(times))
    return processed


def _parse(item: Any) -> QueuedPageview:
    pageview = parse(item)
    if not 0 <= pageview.received_ms <= LATEST_MS:
        raise Unparseable("received_ms is beyond any clock")
    if not 0 <= pageview.timestamp_ms <= LATEST_MS:  # the gateway takes 1990 to tomorrow
        raise Unparseable("timestamp_ms is out of range")
    return pageview


def _judge_one(processed: ProcessedMessage, position: int, pageview: QueuedPageview, steps: Steps) -> None:
    minute = pageview.received_ms // 60_000 * 60
    try:
        result = process(pageview, steps)
    except _OURS as error:
        raise CannotProcessNow(type(error).__name__) from error
    except Exception as error:  # noqa: BLE001 - a defect of ours must not hold up the rest
        _set_aside(processed, position, tuple(pageview), f"pipeline failed: {type(error).__name__}")
        return
    if isinstance(result, Drop):
        processed.outcomes[position] = PageviewOutcome(minute, result.site_id or NIL, pageview.client_id, result.reason)
    else:
        processed.rows[position] = result
        processed.outcomes[position] = PageviewOutcome(minute, result.site.site_id, pageview.client_id, Outcome.STORED)


def _set_aside(processed: ProcessedMessage, position: int, item: Any, reason: str) -> None:
    processed.poison.append(Poison(position, item, reason))
    processed.outcomes[position] = PageviewOutcome(*_owner(item), Outcome.DEAD_LETTERED)


def _set_aside_whole(message: Any, reason: str) -> ProcessedMessage:
    """Make poison of a whole message; how many pageviews were in it is what its headers say."""
    count = message.headers.get("pageviews") if message.headers else None
    minute = int(accepted_at(message).timestamp()) // 60 * 60
    end = PageviewOutcome(minute, NIL, NIL, Outcome.DEAD_LETTERED)
    processed = ProcessedMessage(message, None, poison=[Poison(None, None, reason)], size=len(message.body))
    processed.outcomes = (
        dict.fromkeys(range(count), end) if type(count) is int and 0 < count <= MAX_PAGEVIEWS else {0: end}
    )
    return processed


def _owner(item: Any) -> tuple[int, bytes, bytes]:
    """Tell minute, site and client of a pageview as far as it can be read."""
    client_id, received_ms = item[:2] if type(item) is tuple and len(item) >= 2 else (NIL, 0)
    if type(client_id) is not bytes or len(client_id) != 16:
        client_id = NIL
    if type(received_ms) is not int or not 0 <= received_ms <= LATEST_MS:
        received_ms = 0
    return received_ms // 60_000 * 60, NIL, client_id
